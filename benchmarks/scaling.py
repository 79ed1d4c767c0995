"""Time and memory for volumes of different sizes.

The volumes are the phantom of ``benchmarks/gpu.py``, a head made of sines, in growing shapes of the
same proportions; about a sixth of the voxels are in the mask at every size. The time per iteration
is the difference of two runs of different lengths over SimpleITK's four levels with threshold 0.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

from benchmarks import gpu, plots
from benchmarks.peers import Worker, prepare_peer
from benchmarks.rounds import spread
from n4ax.engines.cpu import threads as cpu
from n4ax.engines.cpu.rows import pack_rows
from n4ax.processors import count_processors

SIZES = [100_000, 400_000, 1_500_000, 5_000_000, 12_000_000, 40_000_000]
"""The approximate numbers of voxels of the volumes."""

FEW, MANY = (3, 3, 3, 3), (9, 9, 9, 9)
FEW_OF_ITK, MANY_OF_ITK = (1, 1, 1, 1), (2, 2, 2, 2)
SIZES_OF_ITK = 3
"""SimpleITK runs on this many of the smallest volumes."""

AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""With this, glibc returns freed arrays of more than 1 MiB to the system.

So the peak of the next call contains nothing of the calls before it.
"""

TOLERATED = 0.25
"""Largest difference in time or memory per voxel, relative to the largest volume."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Time all contestants on all sizes."""
    sizes = SIZES[:4] if quick else SIZES
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate(sizes):
            image, mask = gpu.phantom(scale_shape(size))
            path = Path(folder) / "phantom.npz"
            np.savez(path, image=image, mask=mask)
            voxels = int(np.count_nonzero(mask))
            row = {"shape": list(image.shape), "size": image.size, "voxels": voxels}
            row |= count_packed(image, mask)
            print(f"  {image.size:,} voxels, {voxels:,} in the mask", flush=True)
            del image, mask
            with_itk = number < (SIZES_OF_ITK - 1 if quick else SIZES_OF_ITK)
            rows.append(row | {"peers": measure_size(path, row, rounds, with_itk)})
    names = list(rows[-1]["peers"])
    return {
        "threads_from": cpu.FEW_VOXELS,
        "rows": rows,
        "linear": {name: fit_lines(rows, name) for name in names},
    }


def scale_shape(size: int) -> tuple[int, ...]:
    """The shape of the phantom with about ``size`` voxels."""
    factor = (size / np.prod(gpu.FULL)) ** (1 / 3)
    return tuple(round(n * factor) for n in gpu.FULL)


def count_packed(image: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]) -> dict[str, int]:
    """How many voxels the CPU engine walks, with gaps and padding, and in how many stretches."""
    with cpu.Threads(1) as threads:
        rows = pack_rows(image, mask != 0, None, None, threads)
    return {"packed": len(rows.log), "stretches": len(rows.x)}


def measure_size(path: Path, row: dict[str, Any], rounds: int, with_itk: bool) -> dict[str, Any]:
    """Seconds per iteration, also per voxel in the mask, and peak bytes per voxel of each peer."""
    times: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    repeats = max(2, min(9, 3_000_000 // row["voxels"]))
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(prepare_peer(name.split(",")[0]), threads, AT_ONCE))
            for name, threads in list_contestants(with_itk).items()
        }
        for name, worker in workers.items():
            if not name.startswith("SimpleITK"):
                worker.ask(do="correct", input=str(path), keywords={"iters": FEW})  # compiles
        for number in range(rounds):
            for name, worker in workers.items():
                start = time.perf_counter()
                seconds, peak = time_iteration(name, worker, path, repeats)
                times.setdefault(name, []).append(seconds)
                peaks.setdefault(name, []).append(peak)
                print(
                    f"  {number + 1}/{rounds} {name}: {seconds:.6f} s an iteration "
                    f"({time.perf_counter() - start:.1f} s)",
                    flush=True,
                )
    return {
        name: {
            "seconds": spread(taken),
            "ns": spread([1e9 * seconds / row["voxels"] for seconds in taken]),
            "peak": median(peaks[name]),
            "peak_per_voxel": median(peaks[name]) / row["size"],
        }
        for name, taken in times.items()
    }


def list_contestants(with_itk: bool) -> dict[str, int]:
    """The names and threads: n4ax runs with 1, 2 and as many threads as there are processors."""
    ours = {f"n4ax, {n} thread{'s' * (n > 1)}": n for n in sorted({1, 2, count_processors()})}
    others = {"n4ax by XLA, 2 threads": 2}
    return ours | others | ({"SimpleITK, 2 threads": 2} if with_itk else {})


def time_iteration(name: str, worker: Worker, path: Path, repeats: int) -> tuple[float, float]:
    """The seconds per iteration, and the peak of the longer run in bytes beyond its input.

    The fastest of ``repeats`` calls counts, because a disturbance of either run would distort the
    difference.
    """
    by_itk = name.startswith("SimpleITK")
    few, many = (FEW_OF_ITK, MANY_OF_ITK) if by_itk else (FEW, MANY)
    seconds, peak = [], 0.0
    for iterations in (few, many):
        answer = worker.ask(
            do="correct",
            input=str(path),
            keywords={"iters": iterations, "conv_threshold": 0.0},
            repeats=1 if by_itk else repeats,
        )
        seconds.append(min(answer["all"]))
        peak = answer["peak_bytes"]
    return (seconds[1] - seconds[0]) / (sum(many) - sum(few)), peak


def fit_lines(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Fit lines to a peer's time in seconds and memory in bytes.

    Time is fitted against voxels in the mask and memory against voxels of the volume, by ``fixed``
    + ``slope`` times voxels with the least relative errors. From ``from`` voxels in the mask on,
    all sizes are within ``TOLERATED`` of the largest volume, per voxel.
    """
    masked = np.array([row["voxels"] for row in rows], float)
    sizes = np.array([row["size"] for row in rows], float)
    seconds = np.array([row["peers"][name]["seconds"]["median"] for row in rows])
    peaks = np.array([row["peers"][name]["peak"] for row in rows])
    found = {}
    for what, values, voxels in (("time", seconds, masked), ("memory", peaks, sizes)):
        slope, fixed = np.polyfit(voxels, values, 1, w=1 / values)
        per_voxel = values / voxels
        outside = np.flatnonzero(np.abs(per_voxel / per_voxel[-1] - 1) > TOLERATED)
        first = outside[-1] + 1 if len(outside) else 0
        found[what] = {"fixed": float(fixed), "slope": float(slope), "from": int(masked[first])}
    return found


def draw(result: dict[str, Any], folder: Path) -> None:
    """Plot the time per voxel and iteration, and the memory, against the number of voxels."""
    rows = result["rows"]
    panels = [
        ("ns", "voxels", "voxels in the mask", "ns per masked voxel and iteration"),
        ("peak", "size", "voxels of the volume", "peak beyond the input, MB"),
    ]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    for axis, (what, against, x_label, y_label) in zip(axes, panels, strict=True):
        for name in rows[0]["peers"]:
            here = [row for row in rows if name in row["peers"]]
            values = [row["peers"][name][what] for row in here]
            values = [v["median"] if what == "ns" else v / 1e6 for v in values]
            threads = name.split(", ")[1].split()[0]
            line = {"1": "o--", "2": "o-"}.get(threads, "o-.")
            colour = plots.COLOURS[name.split(",")[0]]
            axis.plot([row[against] for row in here], values, line, color=colour, label=name)
        axis.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    axes[0].axvline(result["threads_from"], color="0.6", linestyle=":")
    axes[0].legend(fontsize=8)
    plots.save(figure, folder / "performance-scaling.svg")
    plt.close(figure)
