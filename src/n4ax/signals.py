"""How n4ax's programs end on a signal: at once, and with nothing half-written.

The signal handler exits the process and raises no exception: an exception that is raised inside a
compiler (Numba's or JAX's) leaves the compiler's locks held, and other threads then wait for them
forever.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from n4ax.files import discard_unfinished
from n4ax.messages import make_one_line

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_last_words: list[Callable[[], str]] = []
"""What is printed when a signal ends the program."""

_SHOW_CURSOR = b"\x1b[?25h\n"  # because a live progress line hides the cursor


def exit_on_signals() -> None:
    """End this process on an interrupt (Ctrl-C), on SIGTERM, and when its terminal closes.

    The exit status is 128 plus the number of the signal, as shells report it. A signal that is
    ignored, as under ``nohup``, stays ignored. Only programs call this; a library leaves signals
    alone.
    """
    for number in _signals():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)


@contextmanager
def clean_up_on_signals() -> Iterator[None]:
    """Let the first signal end the block with ``SystemExit``; the next one ends the process.

    This is for work that other processes or machines do, since they must be told to stop. Nothing
    may be compiled in this process inside the block. Outside of the main thread, which alone can
    handle signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave_block(number: int, _frame: FrameType | None) -> None:
        _restore(before)
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in _signals()}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, leave_block)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C inside the block, also in the processes that are started in it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set signal handlers
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def say_when_stopped(describe: Callable[[], str]) -> Iterator[None]:
    """Print a line on standard error if a signal ends the program inside the block.

    Parameters
    ----------
    describe
        Says what was done and what was not. It is called by the handler of the signal.
    """
    _last_words.append(describe)
    try:
        yield
    finally:
        _last_words.remove(describe)


def _signals() -> list[int]:
    """The signals that end a program, as far as the system has them (Windows has no SIGHUP)."""
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _exit(number: int, _frame: FrameType | None) -> None:
    discard_unfinished()
    with suppress(Exception):  # the signal may have interrupted a print
        sys.stdout.flush()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)
    for describe in _last_words[-1:]:
        with suppress(Exception):
            os.write(2, f"n4ax: {make_one_line(describe())}\n".encode(errors="replace"))
    os._exit(128 + number)
