"""Goals of speed, each with what was measured and whether it is met.

The figures are of this run: calls in memory (``calls.py``), whole programs (``programs.py``) and
what other sections have measured (``reused.py``). ``judgement.py`` makes the table of them.
"""

import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import calls, programs, reused, volumes
from benchmarks.peers import Worker, prepare_peer


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Measure whatever the goals are about; a part that fails says why, and the others go on."""
    head = volumes.load_head(quick)
    with tempfile.TemporaryDirectory() as place, Worker(prepare_peer("n4ax")) as worker:
        folder = Path(place)
        path = head.save(folder)
        parts: dict[str, Callable[[], Any]] = {
            "defaults": lambda: calls.compare_defaults(worker, path, rounds),
            "small": lambda: calls.time_small_iteration(worker, folder, rounds),
            "threads": lambda: compare_threads(worker, folder, rounds),
            "programs": lambda: programs.measure(quick, rounds),
            "shrunken": lambda: reused.compare_shrunken(quick, rounds),
            "fast": lambda: reused.compare_fast(quick, rounds),
            "iterations": lambda: reused.compare_iterations(head, quick, rounds),
            "studies": lambda: reused.read_studies(quick),
            "gpu": reused.read_gpu,
        }
        found = {name: attempt(name, part) for name, part in parts.items()}
    return {"volume": head.describe(), **found}


def attempt(name: str, part: Callable[[], Any]) -> Any:
    """The result of a part, or why there is none."""
    print(f" {name}", flush=True)
    try:
        return part()
    except Exception as error:  # the other goals can still be judged
        traceback.print_exc()
        return {"why": str(error).strip().splitlines()[-1] if str(error) else repr(error)}


def compare_threads(worker: Worker, folder: Path, rounds: int) -> Any:
    processors = len(os.sched_getaffinity(0))
    if processors < 2:
        return {"why": "this machine has one processor"}
    return calls.compare_threads(worker, folder, rounds)


def draw(result: dict[str, Any], folder: Path) -> None:
    """Nothing: the goals are a table."""
