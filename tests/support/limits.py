"""Files that cannot grow, as on a full disk, but for this process alone."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def limit_files(size: int) -> Iterator[None]:
    """Let no file become larger than ``size`` bytes inside the block: writing fails, EFBIG."""
    resource = pytest.importorskip("resource", reason="only POSIX limits files")
    own, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (own, most))
        signal.signal(signal.SIGXFSZ, before)
