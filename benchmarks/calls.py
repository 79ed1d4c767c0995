"""Calls in memory that the section of goals compares: each with another call of n4ax itself."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import accelerated, gpu, scaling
from benchmarks.peers import Worker, prepare_peer
from benchmarks.rounds import take_turns
from benchmarks.volumes import Volume, load_volume

DEFAULT, AT_ZERO = "defaults", "threshold 0"
FUNCTIONS = ("n4", "fit", "solve")

TINY = (24, 16, 24)
"""Shape of the phantom whose voxels take next to no time."""
FEW, MANY = (10,) * 4, (60,) * 4
"""Iterations per level of the two runs whose difference gives an iteration of it."""

VOXELS = (50_000, 100_000, 200_000)
"""Voxels in the mask, about, of the phantoms on which one thread and two are compared."""
MASKED_SHARE = 0.16
ITERATIONS = (20,) * 4


def compare(times: dict[str, list[float]], one: str, other: str) -> dict[str, Any]:
    """How many times as long ``one`` takes as ``other``: the ratio of the two medians."""
    first, second = median(times[one]), median(times[other])
    return {"seconds": first, "beside": second, "ratio": first / second, "runs": len(times[one])}


def compare_defaults(worker: Worker, path: str, rounds: int) -> dict[str, Any]:
    """The default call beside the same iterations with threshold 0, and ``fit`` beside ``n4``.

    The mask is left to n4ax, as it is in ``n4(head)``; the solver alone does not look for it.
    """

    def ask(function: str, keywords: dict[str, Any]) -> dict[str, Any]:
        masked = function == "solve"
        return worker.ask(
            do="call", function=function, input=path, keywords=keywords, masked=masked
        )

    iterations = ask("fit", {})["iterations"]
    ways = {DEFAULT: {}, AT_ZERO: {"iters": iterations, "conv_threshold": 0.0}}
    calls: dict[str, Callable[[], float]] = {
        f"{function}, {way}": lambda f=function, k=keywords: ask(f, k)["seconds"]
        for function in FUNCTIONS
        for way, keywords in ways.items()
    }
    for call in calls.values():
        call()  # loads the compiled code
    times = take_turns(2 * rounds + 1, calls)
    return {
        "iterations": iterations,
        "call": compare(times, f"n4, {DEFAULT}", f"n4, {AT_ZERO}"),
        "solve": compare(times, f"solve, {DEFAULT}", f"solve, {AT_ZERO}"),
        "fit at threshold 0": compare(times, f"fit, {AT_ZERO}", f"n4, {AT_ZERO}"),
        "fit at the defaults": compare(times, f"fit, {DEFAULT}", f"n4, {DEFAULT}"),
    }


def save_phantom(folder: Path, shape: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    """Write a phantom for the workers; its path and what it is."""
    phantom = Volume("phantom", *gpu.phantom(shape), spacing=(1.0,) * len(shape))
    return phantom.save(folder), phantom.describe()


def time_small_iteration(worker: Worker, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of an iteration on a very small image, over SimpleITK's four levels."""
    path, described = save_phantom(folder, TINY)

    def run(iterations: tuple[int, ...]) -> float:
        keywords = {"iters": iterations, "conv_threshold": 0.0}
        request = {"do": "call", "function": "solve", "masked": True}
        return worker.ask(**request, input=path, keywords=keywords)["seconds"]

    run(FEW)  # loads the compiled code
    times = take_turns(5 * rounds, {"few": lambda: run(FEW), "many": lambda: run(MANY)})
    seconds = median(times["many"]) - median(times["few"])
    return described | {"seconds": seconds / (sum(MANY) - sum(FEW)), "runs": 5 * rounds}


def compare_threads(worker: Worker, folder: Path, rounds: int) -> list[dict[str, Any]]:
    """One thread beside two on images of some ten thousands of voxels that count."""
    found = []
    for voxels in VOXELS:
        shape = scaling.scale_shape(round(voxels / MASKED_SHARE))
        path, described = save_phantom(folder, shape)

        def run(threads: int, path: str = path) -> float:
            keywords = {"iters": ITERATIONS, "conv_threshold": 0.0}
            request = {"do": "call", "function": "solve", "masked": True, "num_threads": threads}
            return worker.ask(**request, input=path, keywords=keywords)["seconds"]

        calls = {"1 thread": lambda run=run: run(1), "2 threads": lambda run=run: run(2)}
        for call in calls.values():
            call()
        times = take_turns(3 * rounds, calls)
        found.append(described | compare(times, "1 thread", "2 threads"))
    return found


def compare_fast(names: list[str], folder: Path, rounds: int) -> list[dict[str, Any]]:
    """``N4Settings.fast()`` beside all iterations, on each head by its name."""
    found = []
    both = {name: accelerated.VARIANTS[name] for name in (accelerated.FAST, accelerated.ALL)}
    with Worker(prepare_peer("n4ax")) as worker:
        for number, name in enumerate(names):
            head = load_volume(name)
            path = head.save(folder)

            def run(keywords: dict[str, Any], path: str = path) -> float:
                return worker.ask(do="correct", input=path, keywords=keywords)["seconds"]

            calls = {name: lambda k=keywords, run=run: run(k) for name, keywords in both.items()}
            described = head.describe()
            if number == 0:
                calls[accelerated.FAST]()  # loads the compiled code
            large = described["voxels"] > accelerated.LARGE
            times = take_turns(min(rounds, 2) if large else rounds, calls)
            found.append(described | compare(times, accelerated.FAST, accelerated.ALL))
            Path(path).unlink()
    return found
