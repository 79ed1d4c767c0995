"""Compiled programs on disk: n4ax's own are kept in its folder, and the user's are left alone.

JAX has one setting for the folder, which holds for the whole process. So it is set only while a
program of n4ax's is compiled, and only if the user has not set it. A program that another thread
compiles in that time is kept in the folder too, which does no harm.
"""

import os
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

CACHE_VARIABLE = "N4AX_CACHE_DIR"
"""Environment variable with the folder for compiled programs. If it is empty, none are kept."""

_SETTING = "jax_compilation_cache_dir"

_lock = threading.Lock()
_compiling = 0
_set_here = False
_compiled: set[Hashable] = set()


@contextmanager
def keep_program(program: Hashable) -> Iterator[None]:
    """Let JAX keep what is compiled inside the block, unless it was given a folder by the user.

    Parameters
    ----------
    program
        Tells the program that the block calls from others. A program is compiled at its first
        call, so that later blocks change no setting.
    """
    folder = _find_folder()
    if program in _compiled or folder is None:
        yield
        return
    _begin(folder)
    try:
        yield
        _compiled.add(program)
    finally:
        _end(folder)


def _find_folder() -> str | None:
    """Find the folder for programs, which the environment may name; ``None`` to keep none."""
    folder = os.environ.get(CACHE_VARIABLE)
    if folder is None:
        from platformdirs import user_cache_path

        folder = str(user_cache_path("n4ax", appauthor=False) / "xla")
    return folder or None


def _begin(folder: str) -> None:
    global _compiling, _set_here
    with _lock:
        if _read_setting() is None:
            _write_setting(folder)
            _set_here = True
        _compiling += 1


def _end(folder: str) -> None:
    """Take the setting back when the last thread has compiled, if the user has not changed it."""
    global _compiling, _set_here
    with _lock:
        _compiling -= 1
        if _compiling == 0 and _set_here:
            _set_here = False
            if _read_setting() == folder:
                _write_setting(None)


def _read_setting() -> str | None:
    return getattr(jax.config, _SETTING)


def _write_setting(folder: str | None) -> None:
    jax.config.update(_SETTING, folder)
    reset_cache()  # JAX would otherwise go on with the folder that it knows
