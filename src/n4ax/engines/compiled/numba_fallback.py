"""How numba compiles kernels, and keeps them on disk.

Compiled code is kept beside the package, or in the user's cache folder if the package's folder
cannot be written to. If neither can be written to, or the disk is full, every process compiles
the kernels again.

numba compiles a kernel again when the file of the kernel has a new time stamp or size, but it does
not notice a change in another file that the kernel calls into. An update of the package replaces
all files, so users never run stale code. After editing a kernel that others call, delete
``engines/**/__pycache__``.
"""

# pyright: reportAttributeAccessIssue=false

import logging
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from n4ax.extras import need_extra
from n4ax.pools import ThreadPool

with need_extra("numba", "a machine for which the kernels of n4ax are not compiled"):
    import numba
    from numba.core.registry import cpu_target
    from numba.extending import intrinsic

_LOGGER = logging.getLogger("n4ax")


def make_dispatcher(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Make numba's function, which compiles for each new kind of arguments, or loads."""
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it may write to
        dispatcher = numba.njit(**options)(function)
    _warn_if_compiling(dispatcher)
    _compile_aside(dispatcher)
    _survive_full_disk(dispatcher)
    return dispatcher


def make_intrinsic(function: Callable[..., Any]) -> Any:
    """Make numba's type of a function that is written in LLVM's language."""
    made = intrinsic(function)
    typing = cpu_target.typing_context
    typing.refresh()
    return typing.resolve_value_type(made)


def _warn_if_compiling(dispatcher: Any) -> None:
    """Log one line in this process if a kernel is not on disk: all kernels are compiled now."""
    source = Path(dispatcher.py_func.__code__.co_filename)
    folder = dispatcher.stats.cache_path
    pattern = f"{source.stem}.{dispatcher.py_func.__name__}-*.nbi"
    kept = Path(folder).glob(pattern) if folder else ()
    if not any(file.stat().st_mtime > source.stat().st_mtime for file in kept):
        _warn_once("n4ax: compiling its kernels, once on this machine (about 10 s)")


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
        with ThreadPool(1) as compiler:
            return compiler.submit(compile_here, *arguments, **named).result()

    kernel._compile_for_args = compile_anywhere


def _survive_full_disk(kernel: Any) -> None:
    """Have a kernel work in this process even where what was compiled cannot be kept."""
    save = kernel._cache.save_overload

    def save_if_possible(*arguments: Any) -> None:
        try:
            save(*arguments)
        except OSError as error:
            _warn_once(
                "n4ax: cannot keep its compiled kernels, so that every process compiles them "
                "again; set NUMBA_CACHE_DIR to a folder with some MB of space",
                str(error),
            )

    kernel._cache.save_overload = save_if_possible


@cache
def _warn_once(message: str, *reason: str) -> None:
    _LOGGER.warning(f"{message}%s", f" ({reason[0]})" if reason else "")
