"""An iteration, and a whole volume, in memory: at full resolution and at shrink factor 4."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.peers import Worker, cold, peer
from benchmarks.rounds import ratio, spread, take_turns
from benchmarks.volumes import FLAIR, PACKAGED, T1W, Volume, difference, is_there, volume

OLD = "n4ax 0.1.1"
PEERS = ("SimpleITK", OLD, "n4ax", "n4ax by XLA")
SHRINK = 4
FEW_MANY = {
    ("SimpleITK", 1): ((1,), (3,)),
    ("SimpleITK", SHRINK): ((2,) * 4, (6,) * 4),
    ("others", 1): ((6,) * 4, (18,) * 4),
    ("others", SHRINK): ((10,) * 4, (210,) * 4),
}
"""Iterations of the two runs from whose difference the time of one is taken."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    names = [PACKAGED] if quick else [name for name in (T1W, FLAIR) if is_there(name)] or [PACKAGED]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        workers = {name: stack.enter_context(Worker(peer(name))) for name in PEERS}
        volumes = [volume(name, 2 if quick else 1) for name in names]
        found = [measure_volume(each, workers, rounds, folder) for each in volumes]
        return {"volumes": found, "starts": starts(volumes[-1], min(rounds, 2), folder)}


def measure_volume(
    given: Volume, workers: dict[str, Worker], rounds: int, folder: Path
) -> dict[str, Any]:
    print(f" {given.described()}", flush=True)
    path = given.saved(folder)
    found: dict[str, Any] = given.described()
    for shrink, label in ((1, "full"), (SHRINK, "shrunken")):
        asked = {name: w for name, w in workers.items() if name != OLD or shrink == 1}
        found[label] = {
            "iteration": iterations(path, asked, shrink, rounds),
            "whole": whole(given, path, asked, shrink, rounds),
        }
    return found


def iterations(
    path: str, workers: dict[str, Worker], shrink: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """Seconds of an iteration, warm."""

    def runner(name: str, worker: Worker) -> Callable[[], float]:
        few, many = FEW_MANY["SimpleITK" if name == "SimpleITK" else "others", shrink]

        def run(iters: tuple[int, ...]) -> float:
            keywords = {"iters": iters, "conv_threshold": 0.0} | shrinking(shrink)
            return worker.ask(do="correct", input=path, keywords=keywords)["seconds"]

        if name != "SimpleITK":
            run(few)  # compiles
        return lambda: (run(many) - run(few)) / (sum(many) - sum(few))

    taken = take_turns(rounds, {name: runner(name, w) for name, w in workers.items()})
    return compared({name: {"seconds": values} for name, values in taken.items()})


def whole(
    given: Volume, path: str, workers: dict[str, Worker], shrink: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """Seconds and error of a volume at the defaults, warm, and peak memory.

    SimpleITK at full resolution, which takes minutes, runs once.
    """
    outputs = {name: str(Path(path).with_name(f"{name}-{shrink}.npy")) for name in workers}

    def ask(name: str) -> dict[str, Any]:
        return workers[name].ask(
            do="correct", input=path, keywords=shrinking(shrink), output=outputs[name]
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
            "peak_bytes": peak(name, path, shrink),
            "error": None
            if name == "SimpleITK"
            else difference(outputs[name], outputs["SimpleITK"], given.mask),
        }
    return compared(found)


def peak(name: str, path: str, shrink: int) -> int:
    """Peak bytes of a call in a new process: one that has worked before has memory to spare.

    Of the second call, as the first loads or compiles code, and with an iteration a level: more
    of them need no more.
    """
    keywords = {"iters": (1,) * 4, "conv_threshold": 0.0} | shrinking(shrink)
    with Worker(peer(name)) as worker:
        if name != "SimpleITK":
            worker.ask(do="correct", input=path, keywords=keywords)
        return worker.ask(do="correct", input=path, keywords=keywords)["peak_bytes"]


def compared(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """With how many times faster each is than SimpleITK, and ours than each."""
    ours = found["n4ax"]["seconds"]
    for each in found.values():
        times = each["seconds"]
        each["spread"] = spread(times)
        each["ours_faster_by"] = ratio(times * len(ours) if len(times) == 1 else times, ours)
    return found


def shrinking(shrink: int) -> dict[str, int]:
    return {} if shrink == 1 else {"shrink_factor": shrink}


def starts(given: Volume, rounds: int, folder: Path) -> dict[str, dict[str, Any]]:
    """New processes, from their start to their first answer, and the calls within.

    At shrink factor 4; 0.1.1, which has none, at its own defaults at full resolution.
    """
    path = given.saved(folder)

    def start(name: str, variables: dict[str, str] | None) -> dict[str, float]:
        keywords = {} if name == OLD else shrinking(SHRINK)
        begun = time.perf_counter()
        with Worker(peer(name), environment=variables) as worker:
            first = worker.ask(do="correct", input=path, keywords=keywords)
            process = time.perf_counter() - begun
            if variables:
                return {"process": process, "first": first["seconds"]}
            warm = worker.ask(do="correct", input=path, keywords=keywords)
        return {"process": process, "first": first["seconds"], "warm": warm["seconds"]}

    def emptied(name: str) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as empty:
            return start(name, cold(Path(empty)))

    calls = {(name, "cold"): lambda name=name: emptied(name) for name in PEERS}
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
    """Time of a volume against its error: below and to the left is better."""
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
