"""How n4ax's programs end when they are told to: at once, and with nothing half-written.

By a handler that leaves, not by an exception: one that is raised inside a compiler (numba's,
JAX's) leaves the compiler's locks taken, and other threads wait for them for ever.
"""

import os
import signal
import sys
from contextlib import suppress

from n4ax.atomic import discard_unfinished

_SHOW_CURSOR = b"\x1b[?25h\n"  # which a live progress line hides


def leave_when_told() -> None:
    """End this process on an interrupt (Ctrl-C), on SIGTERM and when its terminal closes.

    The exit status is 128 plus the signal's number, as a shell gives it. A signal that is
    ignored, as under ``nohup``, stays so. For programs; a library leaves signals alone.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    discard_unfinished()
    with suppress(Exception):  # what is printed may be what was interrupted
        sys.stdout.flush()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)
    os._exit(128 + number)
