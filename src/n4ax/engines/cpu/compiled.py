"""How functions are compiled (numba): without the GIL, and kept on disk.

Compiled code is kept beside the package, or in the user's cache folder where that cannot be
written to. Where nothing can be written it is compiled anew in every process.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba

_LOGGER = logging.getLogger("n4ax")


def compile_kernel(*fastmath: str) -> Any:
    """A decorator; ``fastmath`` names what LLVM may assume or reorder in the function."""

    def decorate(function: Any) -> Any:
        options = {
            "nogil": True,
            "error_model": "numpy",
            "boundscheck": False,
            "fastmath": set(fastmath),
        }
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba found no folder that it may write to
            return numba.njit(**options)(function)

    return decorate


def call_compiled(function: Any, *arguments: Any) -> Any:
    """``function(*arguments)``, the first time in a thread of its own.

    The first call compiles, or reads from disk. An interrupt (Ctrl-C) is raised in the main
    thread alone; raised inside the compiler it would leave the compiler's locks taken, and the
    next thread that compiles would wait for ever.
    """
    if function.overloads:
        return function(*arguments)
    with ThreadPoolExecutor(1) as compiler:
        return compiler.submit(function, *arguments).result()


def warn_if_compiling(kernel: Any) -> None:
    """Log one line if ``kernel`` is neither loaded nor on disk: all will be compiled now."""
    if kernel.signatures:
        return
    source = Path(kernel.py_func.__code__.co_filename)
    folder = kernel.stats.cache_path
    pattern = f"{source.stem}.{kernel.py_func.__name__}-*.nbi"
    kept = Path(folder).glob(pattern) if folder else ()
    if not any(file.stat().st_mtime > source.stat().st_mtime for file in kept):
        _LOGGER.warning("n4ax: compiling its kernels, once on this machine (about 10 s)")
