"""How kernels are compiled with numba: they release the GIL, and the result is kept on disk.

Compiled code is kept beside the package, or in the user's cache folder if the package's folder
cannot be written to. If neither can be written to, or the disk is full, every process compiles
the kernels again.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numba

_LOGGER = logging.getLogger("n4ax")


def compile_kernel(*fastmath: str, inline: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Make a decorator that compiles a function for each new kind of arguments, or loads it.

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
            kernel = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba found no folder that it may write to
            kernel = numba.njit(**options)(function)
        _compile_aside(kernel)
        _survive_full_disk(kernel)
        return kernel

    return decorate


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


def _compile_aside(kernel: Any) -> None:
    """Have a kernel compiled in a thread of its own when the main thread calls it.

    Python raises an interrupt (Ctrl-C) in the main thread only. If it were raised inside the
    compiler, the compiler's locks would stay locked, and the next thread that compiles would wait
    for ever. numba calls this method whenever it meets arguments of new types.
    """
    compile_here = kernel._compile_for_args

    def compile_anywhere(*arguments: Any, **named: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return compile_here(*arguments, **named)
        with ThreadPoolExecutor(1) as compiler:
            return compiler.submit(compile_here, *arguments, **named).result()

    kernel._compile_for_args = compile_anywhere


def _survive_full_disk(kernel: Any) -> None:
    """Have a kernel work in this process even where what was compiled cannot be kept."""
    save = kernel._cache.save_overload

    def save_if_possible(*arguments: Any) -> None:
        try:
            save(*arguments)
        except OSError as error:
            _warn_of_full_disk(str(error))

    kernel._cache.save_overload = save_if_possible


@cache
def _warn_of_full_disk(reason: str) -> None:
    _LOGGER.warning(
        "n4ax: cannot keep its compiled kernels (%s), so that every process compiles them again; "
        "set NUMBA_CACHE_DIR to a folder with some MB of space",
        reason,
    )
