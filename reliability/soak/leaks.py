"""What a process holds: memory, file handles, threads, semaphores, temporary files and children."""

import ctypes
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from reliability.soak.hook import is_hooked, load_hook


class Holding(NamedTuple):
    """What a process holds at a moment.

    Attributes
    ----------
    resident
        Memory that the system counts, in bytes.
    allocated
        Bytes that malloc has given and not got back; 0 without the library that counts them.
    blocks, objects
        Python's own pieces of memory, and the objects that its collector knows.
    handles, threads, children
        Open file handles, threads and child processes.
    shared
        Semaphores and shared memory under ``/dev/shm`` that are this process's.
    temporary
        Files in the folder for temporary files.
    """

    resident: int
    allocated: int
    blocks: int
    objects: int
    handles: int
    threads: int
    children: int
    shared: int
    temporary: int


ALLOWED = Holding(
    resident=4 << 20, allocated=128 << 10, blocks=2000, objects=200,
    handles=0, threads=0, children=0, shared=0, temporary=0,
)  # fmt: skip
"""What may be more at the end than after the first third. 10,000 solves that lose 16 bytes or one
object each would lose more."""


def look() -> Holding:
    """Collect what nobody needs, and count the rest."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    own = Path("/proc/self")
    pages = int((own / "statm").read_text().split()[1])
    children = [(task / "children").read_text().split() for task in (own / "task").iterdir()]
    return Holding(
        resident=pages * os.sysconf("SC_PAGE_SIZE"),
        allocated=load_hook().soak_live() if is_hooked() else 0,
        blocks=sys.getallocatedblocks(),
        objects=len(gc.get_objects()),
        handles=len(os.listdir(own / "fd")),
        threads=len(os.listdir(own / "task")),
        children=sum(map(len, children)),
        shared=_count_shared(own),
        temporary=sum(len(files) for _, _, files in os.walk(tempfile.gettempdir())),
    )


def _count_shared(own: Path) -> int:
    """Count what of ``/dev/shm`` this process holds, or has named after itself."""
    mapped = (own / "maps").read_text().count("/dev/shm/")
    pieces = [name.replace(".", "_").split("_") for name in os.listdir("/dev/shm")]
    return mapped + sum(str(os.getpid()) in words for words in pieces)


def find_leaks(before: Holding, after: Holding) -> dict[str, int]:
    """What is held more than is allowed, and how much more."""
    more = {name: getattr(after, name) - getattr(before, name) for name in Holding._fields}
    return {name: grown for name, grown in more.items() if grown > getattr(ALLOWED, name)}


def _look_until_settled(before: Holding, patience: float = 10.0) -> Holding:
    """Count what is held, once threads that are about to end have had some seconds to do so."""
    end = time.monotonic() + patience
    while True:
        after = look()
        if not find_leaks(before, after) or time.monotonic() > end:
            return after
        time.sleep(0.1)


def repeat(work: Callable[[int], object], times: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Do some work many times, and compare the first third with the end."""
    third = max(1, times // 3)
    for n in range(third):
        work(n)
    before = look()
    step = max(1, times // 10)
    for n in range(third, times):
        work(n)
        if n % step == 0:
            say(f"{n} of {times}")
    after = _look_until_settled(before)
    return {
        "times": times,
        "before": before._asdict(), "after": after._asdict(), "leaks": find_leaks(before, after),
    }  # fmt: skip


def leave_out(measured: dict[str, Any], of_others: dict[str, Any]) -> dict[str, Any]:
    """Leave out of the leaks what a library leaves behind by itself, as often as here.

    Half as much again is left out, since no two runs leave the same.
    """
    after, before = Holding(**of_others["after"]), Holding(**of_others["before"])
    grown = {name: getattr(after, name) - getattr(before, name) for name in Holding._fields}
    leaks = {
        name: more
        for name, more in measured["leaks"].items()
        if more > getattr(ALLOWED, name) + 1.5 * max(0, grown[name])
    }
    return measured | {"leaks": leaks, "of_others": grown}
