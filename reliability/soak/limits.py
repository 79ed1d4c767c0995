"""A limit on the memory of a process that rises step by step until the work succeeds."""

import json
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reliability.soak.doors import DOORS, Door, use_size
from reliability.soak.trials import End, Shortage, run_child, summarise, warm_up

MOST_STEPS = 4000


def limit_memory(more: int) -> Shortage:
    """Allow so many bytes more than the process has now."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)

    def begin() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))

    def end() -> int:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        return more

    return Shortage(begin, end)


def raise_limit(door: Door, step: int, *, warm: bool) -> End:
    """Raise the limit by ``step`` bytes until the work succeeds twice in a row.

    Parameters
    ----------
    door
        The work.
    step
        How much more memory each process may have than the last, in bytes.
    warm
        Whether the modules that the work needs are loaded before the limit is set.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm_up(door, folder, loads=warm)
        good = run_child(door, folder, limit_memory(1 << 40))["digest"]
        ends: dict[int, End] = {}
        for n in range(MOST_STEPS):
            ends[n] = run_child(door, folder, limit_memory(n * step))
            if n and all(ends[k]["state"] == "done" for k in (n - 1, n)):
                break
    return {"step": step, **summarise(ends, good)}


def main(words: Sequence[str]) -> None:
    """Raise the limit for a door, and print what came of it."""
    name, step, warm, *size = words
    with use_size(tuple(map(int, size))):
        print(json.dumps(raise_limit(DOORS[name], int(step), warm=warm == "1")))


if __name__ == "__main__":
    main(sys.argv[1:])
