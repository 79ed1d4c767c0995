"""The plan in shared memory that says which system calls fail; ``preload.c`` reads it."""

import ctypes
import errno
import mmap
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers import ROOT

SOURCE = Path(__file__).with_name("preload.c")

KINDS = (
    "open", "create", "read", "write", "sync", "close", "chmod", "rename", "link", "unlink",
    "mkdir", "rmdir", "lock", "stat", "list", "truncate", "copy", "utime", "access",
)  # fmt: skip
"""Kinds of system calls, in the order of ``preload.c``."""

ANY = -1
KILL = -1
"""Instead of an errno: the process is killed at the call."""
SHORT = 0
"""Instead of an errno: half of what is given is read or written."""

_SPACE = ("ENOSPC", "EDQUOT")
ERRORS: dict[str, tuple[str, ...]] = {
    "open": ("EMFILE", "EIO", "ESTALE", "EINTR"),
    "create": (*_SPACE, "EMFILE", "EIO", "EROFS", "ESTALE", "EINTR"),
    "read": ("EIO", "ESTALE", "EINTR", "SHORT"),
    "write": (*_SPACE, "EIO", "ESTALE", "EINTR", "SHORT"),
    "sync": (*_SPACE, "EIO", "ESTALE", "EINTR"),
    "close": (*_SPACE, "EIO", "ESTALE"),
    "chmod": ("EPERM", "EIO", "EROFS"),
    "rename": (*_SPACE, "EIO", "EPERM", "EROFS", "ESTALE"),
    "link": (*_SPACE, "EPERM", "EIO", "ESTALE"),
    "unlink": ("EIO", "EPERM", "EROFS", "ESTALE"),
    "mkdir": (*_SPACE, "EPERM", "EIO", "EROFS", "ESTALE"),
    "rmdir": ("EIO", "EPERM", "ESTALE"),
    "lock": ("ENOLCK", "EIO", "ESTALE", "EINTR"),
    "stat": ("EIO", "ESTALE"),
    "list": ("EMFILE", "EIO", "ESTALE"),
    "truncate": ("EIO", "ENOSPC"),
    "copy": ("EIO", "ENOSPC"),
    "utime": ("EPERM", "EIO"),
    "access": ("EIO", "ESTALE"),
}
"""The errors that are plausible for each kind."""

_NAME, _LOGGED = 320, 16384


class _Call(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("path", ctypes.c_char * _NAME)]


class _Layout(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in (
            "armed", "kind", "first", "last", "error", "total", "failed", "refill",
        )),
        ("space", ctypes.c_long),
        ("jump", ctypes.c_long),
        ("counts", ctypes.c_int * 32),
        ("folder", ctypes.c_char * _NAME),
        ("hit_kind", ctypes.c_int),
        ("hit", ctypes.c_char * _NAME),
        ("hit_other", ctypes.c_char * _NAME),
        ("logs", ctypes.c_int),
        ("logged", ctypes.c_int),
        ("log", _Call * _LOGGED),
    ]  # fmt: skip


class Fault(NamedTuple):
    """Which calls are to fail, and how.

    Attributes
    ----------
    kind
        The kind of call; ``"any"`` numbers the calls of all kinds together.
    number
        The first call that fails, from 1.
    error
        The name of an errno, ``"SHORT"`` or ``"KILL"``.
    lasts
        Whether all later calls fail too, as after a mount was lost.
    space
        Bytes that fit on the disk, instead of ``kind`` and ``number``; negative for no limit.
    refill
        So many calls fail until the disk has space again; 0 for never.
    jump
        Seconds that the clock jumps by at the call, which itself does not fail.
    """

    kind: str
    number: int
    error: str
    lasts: bool = False
    space: int = -1
    refill: int = 0
    jump: int = 0


class Hit(NamedTuple):
    """The first call that failed: its kind and its paths."""

    kind: str
    paths: tuple[str, ...]
    count: int


def build_library() -> Path:
    """Compile ``preload.c`` if it has changed."""
    library = ROOT / "build" / "faults" / "preload.so"
    if not library.exists() or library.stat().st_mtime < SOURCE.stat().st_mtime:
        library.parent.mkdir(parents=True, exist_ok=True)
        new = library.with_name(f"{os.getpid()}-{threading.get_ident()}.so")
        flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", *flags, "-o", str(new), str(SOURCE), "-ldl"], check=True)
        new.replace(library)
    return library


class Plan:
    """The plan of a group of processes that are started with :meth:`environment`.

    Parameters
    ----------
    path
        The file that they share.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(ctypes.sizeof(_Layout)))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._layout = _Layout.from_buffer(self._memory)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which processes are started."""
        return {"LD_PRELOAD": str(build_library()), "N4AX_FAULTS": str(self.path)}

    def clear(self, folder: Path) -> None:
        """Forget all, and count nothing until it is armed."""
        self._layout.armed = 0
        logged = min(self._layout.logged, _LOGGED)
        size = _Layout.log.offset + logged * ctypes.sizeof(_Call)
        ctypes.memset(ctypes.addressof(self._layout), 0, size)
        self._layout.folder = os.fsencode(folder)
        self._layout.space = -1
        self._layout.first = self._layout.last = -1

    @contextmanager
    def armed(self, folder: Path, fault: Fault | None = None) -> Iterator[None]:
        """Let calls on files in ``folder`` fail inside the block; list them without a fault."""
        self.clear(folder)
        plan = self._layout
        plan.logs = fault is None
        if fault is not None:
            plan.kind = ANY if fault.kind == "any" else KINDS.index(fault.kind)
            plan.first = fault.number
            plan.last = 2**31 - 1 if fault.lasts else fault.number
            plan.error = {"SHORT": SHORT, "KILL": KILL}.get(fault.error) if fault.error in (
                "SHORT", "KILL") else getattr(errno, fault.error)  # fmt: skip
            plan.space, plan.refill, plan.jump = fault.space, fault.refill, fault.jump
        plan.armed = 1
        try:
            yield
        finally:
            plan.armed = 0

    def list_calls(self) -> list[tuple[str, str]]:
        """The calls of the last block without a fault: kinds and paths."""
        count = min(self._layout.logged, _LOGGED)
        return [(KINDS[call.kind], os.fsdecode(call.path)) for call in self._layout.log[:count]]

    @property
    def hit(self) -> Hit | None:
        """What failed in the last block; ``None`` if nothing did."""
        plan = self._layout
        if not plan.failed:
            return None
        paths = tuple(os.fsdecode(path) for path in (plan.hit, plan.hit_other) if path)
        return Hit(KINDS[plan.hit_kind], paths, plan.failed)
