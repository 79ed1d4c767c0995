"""How n4ax's programs end when they are told to: at once, and with nothing half-written.

By a handler that leaves, not by an exception: one that is raised inside a compiler (numba's,
JAX's) leaves the compiler's locks taken, and other threads wait for them for ever.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from n4ax.files import discard_unfinished

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_SHOW_CURSOR = b"\x1b[?25h\n"  # which a live progress line hides


def leave_when_told() -> None:
    """End this process on an interrupt (Ctrl-C), on SIGTERM and when its terminal closes.

    The exit status is 128 plus the signal's number, as a shell gives it. A signal that is
    ignored, as under ``nohup``, stays so. For programs; a library leaves signals alone.
    """
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


@contextmanager
def time_to_clean_up() -> Iterator[None]:
    """Have the first such signal end the block with ``SystemExit``; the next one ends at once.

    For work that is done by other processes or machines, which have to be told. Nothing may be
    compiled in this process meanwhile.
    """

    def leave(number: int, _frame: object) -> None:
        _restore(before)
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold off Ctrl-C for a moment, also from processes that are started meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _leave(number: int, _frame: object) -> None:
    discard_unfinished()
    with suppress(Exception):  # what is printed may be what was interrupted
        sys.stdout.flush()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)
    os._exit(128 + number)
