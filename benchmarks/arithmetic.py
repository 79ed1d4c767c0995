"""An iteration in the arithmetic of ITK, beside SimpleITK and beside the default arithmetic."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.peers import Worker, prepare_peer
from benchmarks.rounds import ratio, spread, take_turns
from benchmarks.volumes import count_different_bits, load_head

PROCESSORS = 2
"""The processors of every contestant, and the threads that n4ax computes with."""


class Contestant(NamedTuple):
    """A program, and in how many parts ITK would sum."""

    peer: str
    work_units: int | None
    """Of SimpleITK, which makes one for each of its threads, or of the arithmetic of ITK; ``None``
    for the default arithmetic."""

    @property
    def threads(self) -> int:
        """The number of threads that the program is told to use."""
        return (self.work_units or 1) if self.peer == "SimpleITK" else PROCESSORS

    @property
    def keywords(self) -> dict[str, Any]:
        if self.peer == "SimpleITK" or self.work_units is None:
            return {}
        return {"arithmetic": "itk", "itk_work_units": self.work_units}


LIMIT = "n4ax, default arithmetic"
CONTESTANTS = {
    "SimpleITK, 1 thread": Contestant("SimpleITK", 1),
    "SimpleITK, 2 threads": Contestant("SimpleITK", 2),
    "SimpleITK, 64 threads": Contestant("SimpleITK", 64),
    LIMIT: Contestant("n4ax", None),
    "n4ax, arithmetic of ITK, 64 work units": Contestant("n4ax", 64),
    "n4ax, arithmetic of ITK, 1 work unit": Contestant("n4ax", 1),
}

FEW_MANY = {
    "SimpleITK": ((1,) * 4, (2,) * 4),
    "n4ax": ((6,) * 4, (18,) * 4),
}
"""Iterations per level of the two runs; their difference gives the time of one iteration."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Time an iteration of every contestant on the head, and compare their fields."""
    head = load_head(quick)
    print(f" {head.describe()}", flush=True)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        path = head.save(folder)
        workers = {
            name: stack.enter_context(
                Worker(prepare_peer(one.peer), threads=one.threads, processors=PROCESSORS)
            )
            for name, one in CONTESTANTS.items()
        }
        calls = {name: time_iteration(workers[name], path, CONTESTANTS[name]) for name in workers}
        taken = take_turns(rounds, calls)
        differences = count_differences(workers, path, folder)
    return head.describe() | {
        "rows": {
            name: {
                "seconds": seconds,
                "spread": spread(seconds),
                "faster_by": compare_times(taken, seconds),
                "different": differences.get(name),
            }
            for name, seconds in taken.items()
        }
    }


def time_iteration(worker: Worker, path: str, contestant: Contestant) -> Callable[[], float]:
    """A call that gives the seconds of an iteration with compiled code."""
    few, many = FEW_MANY[contestant.peer]

    def run(iters: tuple[int, ...]) -> float:
        keywords = {"iters": iters, "conv_threshold": 0.0} | contestant.keywords
        return worker.ask(do="correct", input=path, keywords=keywords)["seconds"]

    if contestant.peer != "SimpleITK":
        run(few)  # compiles
    return lambda: (run(many) - run(few)) / (sum(many) - sum(few))


def compare_times(
    taken: dict[str, list[float]], seconds: list[float]
) -> dict[str, dict[str, float]]:
    """How many times longer an iteration of each SimpleITK and of the default takes."""
    return {
        name: ratio(taken[name], seconds)
        for name, one in CONTESTANTS.items()
        if one.peer == "SimpleITK" or name == LIMIT
    }


def count_differences(workers: dict[str, Worker], path: str, folder: Path) -> dict[str, int]:
    """Count the voxels whose log field has other bits than that of as many units of SimpleITK."""
    iters, _ = FEW_MANY["SimpleITK"]
    fields: dict[str, Any] = {}
    for number, (name, worker) in enumerate(workers.items()):
        output = str(folder / f"field-{number}.npy")
        keywords = {"iters": iters, "conv_threshold": 0.0} | CONTESTANTS[name].keywords
        worker.ask(do="correct", input=path, keywords=keywords, output=output)
        fields[name] = np.load(output)
    theirs = {
        one.work_units: fields[name] for name, one in CONTESTANTS.items() if one.peer == "SimpleITK"
    }
    return {
        name: count_different_bits(fields[name], theirs[one.work_units or 64])
        for name, one in CONTESTANTS.items()
        if one.peer != "SimpleITK"
    }


def draw(result: dict[str, Any], folder: Path) -> None:
    """Plot the seconds of an iteration of every contestant."""
    rows = result["rows"]
    figure = Figure(figsize=(8, 0.9 + 0.4 * len(rows)))
    panel = figure.subplots()
    for number, (name, row) in enumerate(rows.items()):
        found = row["spread"]
        colour = plots.COLOURS[CONTESTANTS[name].peer]
        panel.plot([found["least"], found["most"]], [number] * 2, color=colour, lw=2)
        panel.plot(found["median"], number, "o", color=colour, markersize=8)
    panel.set_yticks(range(len(rows)), list(rows))
    panel.invert_yaxis()
    panel.set(xscale="log", xlabel="seconds for an iteration")
    plots.save(figure, folder / "performance-arithmetic.svg")
