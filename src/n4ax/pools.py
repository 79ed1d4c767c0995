"""Threads of Python, also where the system starts fewer of them than are wanted."""

from concurrent.futures import ThreadPoolExecutor


class ThreadPool(ThreadPoolExecutor):
    """Threads that take work, as few as the system starts; without any, :meth:`submit` raises.

    A limit on processes, as in a container, or a lack of memory can leave no room for all of them.
    """

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
