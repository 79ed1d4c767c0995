"""Several heads at once: ``n4ax.n4_batch`` compared with loops of single calls."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.peers import Worker, prepare_peer
from benchmarks.rounds import ratio, spread, take_turns
from benchmarks.volumes import PACKAGED, T1W, Volume, load_volume, volume_exists

OURS = ("n4ax", "n4ax by XLA")
HEADS, QUICK_HEADS = 8, 4


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Time all heads with each engine, as a batch and in a loop, and one head with SimpleITK."""
    name = PACKAGED if quick or not volume_exists(T1W) else T1W
    first = load_volume(name, every=2)
    count = QUICK_HEADS if quick else HEADS
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        paths = [head.save(Path(folder)) for head in make_heads(first, count)]
        ours = {name: stack.enter_context(Worker(prepare_peer(name))) for name in OURS}
        simpleitk = stack.enter_context(Worker(prepare_peer("SimpleITK")))
        calls = {
            f"{name}, {kind}": lambda worker=worker, do=do: worker.ask(
                do=do, inputs=paths, keywords={}
            )["seconds"]
            for name, worker in ours.items()
            for kind, do in (("a loop", "correct_loop"), ("n4_batch", "correct_batch"))
        }
        for call in calls.values():
            call()  # compiles
        taken = take_turns(rounds, calls)
        theirs = take_turns(
            1, {"SimpleITK": lambda: simpleitk.ask(do="correct", input=paths[0], keywords={})}
        )
    alone = [theirs["SimpleITK"][0]["seconds"] * count] * rounds
    return {
        "volume": first.describe(),
        "heads": count,
        "seconds": taken,
        "simpleitk_extrapolated": alone[0],
        "spread": {name: spread(values) for name, values in taken.items()},
        "faster_than_simpleitk_by": {name: ratio(alone, values) for name, values in taken.items()},
        "batch_faster_by": {
            name: ratio(taken[f"{name}, a loop"], taken[f"{name}, n4_batch"]) for name in OURS
        },
    }


def make_heads(first: Volume, count: int) -> list[Volume]:
    """Copies of one head, mirrored along different axes and scaled."""
    made = []
    for number in range(count):
        axes = [axis for axis in range(first.image.ndim) if number >> axis & 1]
        image = np.flip(first.image, axes) * np.float32(1 + 0.05 * number)
        mask = np.flip(first.mask, axes)
        made.append(first._replace(image=np.ascontiguousarray(image), mask=mask.copy()))
    return made


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draw the seconds of each way as bars."""
    figure = Figure(figsize=(7, 2.8))
    axes = figure.subplots()
    seconds = {"SimpleITK, a loop (from one head)": result["simpleitk_extrapolated"]}
    seconds |= {name: found["median"] for name, found in result["spread"].items()}
    for number, (name, value) in enumerate(seconds.items()):
        axes.barh(number, value, color=plots.COLOURS[name.split(",")[0]])
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xscale("log")
    axes.set(xlim=(0.1, None), xlabel=f"seconds for {result['heads']} heads")
    plots.save(figure, folder / "performance-batches.svg")
