"""How kernels are compiled with numba: they release the GIL, and the result is kept on disk.

Compiled code is kept beside the package, or in the user's cache folder if the package's folder
cannot be written to. If neither can be written to, every process compiles the kernels again.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba

_LOGGER = logging.getLogger("n4ax")


def compile_kernel(*fastmath: str, inline: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Make a decorator that compiles a function at its first call, or loads it from disk.

    numba compiles a kernel again when the file of the kernel has a new time stamp or size, but it
    does not notice a change in another file that the kernel calls into. An update of the package
    replaces all files, so users never run stale code. After editing a kernel that others call,
    delete ``engines/cpu/**/__pycache__``.

    Parameters
    ----------
    *fastmath
        LLVM's fast-math flags for the function: what may be assumed of its floating-point
        numbers, and which operations may be reordered or fused.
    inline
        Have numba put the function into its callers, with the flags of the caller. LLVM decides
        for itself about other functions that a kernel calls, and leaves large ones out of line.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        options = {
            "nogil": True,
            "error_model": "numpy",
            "boundscheck": False,
            "fastmath": set(fastmath),
            "inline": "always" if inline else "never",
        }
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba found no folder that it may write to
            return numba.njit(**options)(function)

    return decorate


def call_compiled(function: Any, *arguments: Any) -> Any:
    """Return ``function(*arguments)``; the first call, which compiles, runs in its own thread.

    Python raises an interrupt (Ctrl-C) in the main thread only. If it were raised inside the
    compiler, the compiler's locks would stay locked, and the next thread that compiles would wait
    for ever.
    """
    if function.overloads:
        return function(*arguments)
    with ThreadPoolExecutor(1) as compiler:
        return compiler.submit(function, *arguments).result()


def warn_if_compiling(kernel: Any) -> None:
    """Log one line if ``kernel`` is neither loaded nor on disk: all kernels are compiled now."""
    if kernel.signatures:
        return
    source = Path(kernel.py_func.__code__.co_filename)
    folder = kernel.stats.cache_path
    pattern = f"{source.stem}.{kernel.py_func.__name__}-*.nbi"
    kept = Path(folder).glob(pattern) if folder else ()
    if not any(file.stat().st_mtime > source.stat().st_mtime for file in kept):
        _LOGGER.warning("n4ax: compiling its kernels, once on this machine (about 10 s)")
