"""The time of an iteration and of a whole volume in memory, at full resolution and shrunken."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.peers import Worker, empty_caches, prepare_peer
from benchmarks.rounds import ratio, spread, take_turns
from benchmarks.volumes import (
    FLAIR,
    PACKAGED,
    T1W,
    Volume,
    compare_files,
    load_volume,
    volume_exists,
)

OLD = "n4ax 0.1.1"
PEERS = ("SimpleITK", OLD, "n4ax", "n4ax by XLA")
SHRINK = 4
FEW_MANY = {
    ("SimpleITK", 1): ((1,), (3,)),
    ("SimpleITK", SHRINK): ((2,) * 4, (6,) * 4),
    ("others", 1): ((6,) * 4, (18,) * 4),
    ("others", SHRINK): ((10,) * 4, (210,) * 4),
}
"""Iterations per level of the two runs; their difference gives the time of one iteration."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Measure all peers on the volumes, warm and from a new process."""
    there = [name for name in (T1W, FLAIR) if volume_exists(name)]
    names = [PACKAGED] if quick or not there else there
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        workers = {name: stack.enter_context(Worker(prepare_peer(name))) for name in PEERS}
        volumes = [load_volume(name, 2 if quick else 1) for name in names]
        found = [measure_volume(each, workers, rounds, folder) for each in volumes]
        return {"volumes": found, "starts": time_starts(volumes[-1], min(rounds, 2), folder)}


def measure_volume(
    given: Volume, workers: dict[str, Worker], rounds: int, folder: Path
) -> dict[str, Any]:
    """An iteration and the whole volume, at full resolution and at ``SHRINK``."""
    print(f" {given.describe()}", flush=True)
    path = given.save(folder)
    found: dict[str, Any] = given.describe()
    for shrink, label in ((1, "full"), (SHRINK, "shrunken")):
        asked = {name: w for name, w in workers.items() if name != OLD or shrink == 1}
        found[label] = {
            "iteration": time_iterations(path, asked, shrink, rounds),
            "whole": measure_whole(given, path, asked, shrink, rounds),
        }
    return found


def time_iterations(
    path: str, workers: dict[str, Worker], shrink: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """The seconds of an iteration with compiled code."""

    def runner(name: str, worker: Worker) -> Callable[[], float]:
        few, many = FEW_MANY["SimpleITK" if name == "SimpleITK" else "others", shrink]

        def run(iters: tuple[int, ...]) -> float:
            keywords = {"iters": iters, "conv_threshold": 0.0} | shrink_keywords(shrink)
            return worker.ask(do="correct", input=path, keywords=keywords)["seconds"]

        if name != "SimpleITK":
            run(few)  # compiles
        return lambda: (run(many) - run(few)) / (sum(many) - sum(few))

    taken = take_turns(rounds, {name: runner(name, w) for name, w in workers.items()})
    return add_ratios({name: {"seconds": values} for name, values in taken.items()})


def measure_whole(
    given: Volume, path: str, workers: dict[str, Worker], shrink: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """The seconds, the error and the peak memory of a volume at the defaults, with compiled code.

    SimpleITK takes minutes at full resolution, so it runs only once there.
    """
    outputs = {name: str(Path(path).with_name(f"{name}-{shrink}.npy")) for name in workers}

    def ask(name: str) -> dict[str, Any]:
        return workers[name].ask(
            do="correct", input=path, keywords=shrink_keywords(shrink), output=outputs[name]
        )

    for name in workers:
        if name != "SimpleITK":
            ask(name)  # compiles
    often = {name: lambda name=name: ask(name) for name in workers}
    once = {"SimpleITK": often.pop("SimpleITK")} if shrink == 1 else {}
    answers = take_turns(1, once) | take_turns(rounds, often)
    found = {}
    for name in workers:
        each = answers[name]
        found[name] = {
            "seconds": [one["seconds"] for one in each],
            "iterations": each[-1]["iterations"],
            "peak_bytes": measure_peak(name, path, shrink),
            "error": None
            if name == "SimpleITK"
            else compare_files(outputs[name], outputs["SimpleITK"], given.mask),
        }
    return add_ratios(found)


def measure_peak(name: str, path: str, shrink: int) -> int:
    """The peak bytes of a call in a new process, since an older process has memory to spare.

    It is the second call, because the first loads or compiles code. One iteration per level is
    enough, because more iterations need no more memory.
    """
    keywords = {"iters": (1,) * 4, "conv_threshold": 0.0} | shrink_keywords(shrink)
    with Worker(prepare_peer(name)) as worker:
        if name != "SimpleITK":
            worker.ask(do="correct", input=path, keywords=keywords)
        return worker.ask(do="correct", input=path, keywords=keywords)["peak_bytes"]


def add_ratios(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add the spread of each peer's times, and how many times faster n4ax is."""
    ours = found["n4ax"]["seconds"]
    for each in found.values():
        times = each["seconds"]
        each["spread"] = spread(times)
        each["ours_faster_by"] = ratio(times * len(ours) if len(times) == 1 else times, ours)
    return found


def shrink_keywords(shrink: int) -> dict[str, int]:
    return {} if shrink == 1 else {"shrink_factor": shrink}


def time_starts(given: Volume, rounds: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Time new processes from their start to their first answer, and the calls in them.

    The shrink factor is ``SHRINK``. Version 0.1.1 has none, so it runs with its own defaults at
    full resolution.
    """
    path = given.save(folder)

    def start(name: str, variables: dict[str, str] | None) -> dict[str, float]:
        keywords = {} if name == OLD else shrink_keywords(SHRINK)
        begun = time.perf_counter()
        with Worker(prepare_peer(name), environment=variables) as worker:
            first = worker.ask(do="correct", input=path, keywords=keywords)
            process = time.perf_counter() - begun
            if variables:
                return {"process": process, "first": first["seconds"]}
            warm = worker.ask(do="correct", input=path, keywords=keywords)
        return {"process": process, "first": first["seconds"], "warm": warm["seconds"]}

    def start_cold(name: str) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as empty:
            return start(name, empty_caches(Path(empty)))

    calls = {(name, "cold"): lambda name=name: start_cold(name) for name in PEERS}
    calls |= {(name, "kept"): lambda name=name: start(name, None) for name in PEERS}
    taken = take_turns(rounds, {" ".join(key): call for key, call in calls.items()})
    return {
        name: {
            f"{kind}_{what}": spread([each[what] for each in taken[f"{name} {kind}"]])
            for kind in ("cold", "kept")
            for what in taken[f"{name} {kind}"][0]
        }
        for name in PEERS
    }


def draw(result: dict[str, Any], folder: Path) -> None:
    """Plot the time of a volume against its error; lower left is better."""
    figure = Figure(figsize=(9, 4.6))
    panels = figure.subplots(1, 2, sharey=True)
    titles = (("full", "full resolution"), ("shrunken", f"shrink factor {SHRINK}"))
    for panel, (label, title) in zip(panels, titles, strict=True):
        for number, each in enumerate(result["volumes"]):
            _draw_volume(panel, each[label]["whole"], each["name"], "os"[number])
        panel.set(xscale="log", yscale="log", title=title, xlim=(1e-8, 3))
        panel.set_xlabel("mean difference of the log field to SimpleITK")
    panels[0].set_ylabel("seconds for a volume")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    plots.save(figure, folder / "performance-iterations.svg")


def _draw_volume(panel: Any, peers: dict[str, Any], title: str, marker: str) -> None:
    for name, found in peers.items():
        seconds, colour = found["spread"]["median"], plots.COLOURS[name]
        if found["error"] is None:
            panel.axhline(seconds, color=colour, ls="--" if marker == "o" else ":", lw=1)
            label = f"{name} (the reference): {title}"
            panel.annotate(label, (1.5e-8, seconds * 1.06), fontsize=8, color=colour)
            continue
        panel.plot(
            max(found["error"]["mean"], 1e-8),
            seconds,
            marker,
            color=colour,
            markersize=8,
            label=f"{name}, {title}",
        )
