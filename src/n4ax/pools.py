"""Threads of Python, also where the system starts fewer of them than are wanted.

A limit on processes, as in a container, or a lack of memory can leave no room for all threads.
"""

import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

_ROOM = 1 << 22
"""Bytes that must be free before a thread is started. If a thread has no memory for its first
steps, Python waits for ever until it has begun."""

_NO_ROOM = "can't start new thread: there is no memory for it"


def start_thread(work: Callable[[], None]) -> Thread:
    """Start a thread that does not keep the program from ending.

    Raises
    ------
    RuntimeError
        The system does not start it.
    """
    _check_room()
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


class ThreadPool(ThreadPoolExecutor):
    """Threads that take work, as few as the system starts; without any, :meth:`submit` raises."""

    def _adjust_thread_count(self) -> None:
        try:
            _check_room()
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def _check_room() -> None:
    try:
        mmap.mmap(-1, _ROOM).close()
    except (OSError, MemoryError) as error:
        raise RuntimeError(_NO_ROOM) from error
