"""Time and memory against the size of the volume.

The phantom of ``benchmarks/gpu.py``, a head made of sines, in growing shapes of the same
proportions: about a sixth of the voxels are in the mask at every size. The time per iteration is
the difference of two runs of different lengths over SimpleITK's four levels, threshold 0.
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
from benchmarks.peers import Worker, peer
from benchmarks.rounds import spread
from n4ax.engines.cpu import threads as cpu
from n4ax.engines.cpu.rows import pack_rows

SIZES = [100_000, 400_000, 1_500_000, 5_000_000, 12_000_000, 40_000_000]
"""Voxels of the volumes, about."""

FEW, MANY = (3, 3, 3, 3), (9, 9, 9, 9)
FEW_OF_ITK, MANY_OF_ITK = (1, 1, 1, 1), (2, 2, 2, 2)
SIZES_OF_ITK = 3
"""The smallest ones, for SimpleITK."""

AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""glibc gives arrays of over 1 MiB back when they are freed, so the next call's peak is its own."""

TOLERATED = 0.25
"""Relative difference from the largest volume."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    sizes = SIZES[:4] if quick else SIZES
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate(sizes):
            image, mask = gpu.phantom(shape_of(size))
            path = Path(folder) / "phantom.npz"
            np.savez(path, image=image, mask=mask)
            voxels = int(np.count_nonzero(mask))
            row = {"shape": list(image.shape), "size": image.size, "voxels": voxels}
            row |= packing(image, mask)
            print(f"  {image.size:,} voxels, {voxels:,} in the mask", flush=True)
            del image, mask
            with_itk = number < (SIZES_OF_ITK - 1 if quick else SIZES_OF_ITK)
            rows.append(row | {"peers": one_size(path, row, rounds, with_itk)})
    names = list(rows[-1]["peers"])
    return {
        "threads_from": cpu.FEW_VOXELS,
        "rows": rows,
        "linear": {name: linearity(rows, name) for name in names},
    }


def shape_of(size: int) -> tuple[int, ...]:
    """The shape of the phantom with about ``size`` voxels."""
    factor = (size / np.prod(gpu.FULL)) ** (1 / 3)
    return tuple(round(n * factor) for n in gpu.FULL)


def packing(image: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]) -> dict[str, int]:
    """How many voxels the CPU engine walks, gaps and padding included, in how many stretches."""
    with cpu.Threads(1) as threads:
        rows = pack_rows(image, mask != 0, None, None, threads)
    return {"packed": len(rows.log), "stretches": len(rows.x)}


def one_size(path: Path, row: dict[str, Any], rounds: int, with_itk: bool) -> dict[str, Any]:
    """Of every peer: seconds per iteration, ns per masked voxel of it, peak bytes per voxel."""
    times: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    repeats = max(2, min(9, 3_000_000 // row["voxels"]))
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(peer(name.split(",")[0]), threads, AT_ONCE))
            for name, threads in contestants(with_itk).items()
        }
        for name, worker in workers.items():
            if not name.startswith("SimpleITK"):
                worker.ask(do="correct", input=str(path), keywords={"iters": FEW})  # compiles
        for number in range(rounds):
            for name, worker in workers.items():
                start = time.perf_counter()
                seconds, peak = per_iteration(name, worker, path, repeats)
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


def contestants(with_itk: bool) -> dict[str, int]:
    """Names and threads: ours at 1, 2 and as many threads as there are processors."""
    ours = {f"n4ax, {n} thread{'s' * (n > 1)}": n for n in sorted({1, 2, cpu.available_cpus()})}
    others = {"n4ax by XLA, 2 threads": 2}
    return ours | others | ({"SimpleITK, 2 threads": 2} if with_itk else {})


def per_iteration(name: str, worker: Worker, path: Path, repeats: int) -> tuple[float, float]:
    """Seconds per iteration, and the peak of the longer run in bytes beyond its input.

    Of ``repeats`` calls the fastest counts: a difference of two times bears no disturbance.
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


def linearity(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """How far a peer is from linear in time and memory.

    Of time in seconds against masked voxels, and of memory in bytes against voxels: the line
    nearest to all sizes in relative terms (``fixed`` + ``slope`` times voxels), and the masked
    voxels ``from`` which on all sizes are within ``TOLERATED`` of the largest, per voxel.
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
    """Time per voxel and iteration, and memory per voxel, against voxels."""
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
