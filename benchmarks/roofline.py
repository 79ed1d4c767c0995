"""What each kernel of the CPU engine takes, beside what the machine allows.

Counted on paper: the bytes that must be read and written if nothing but a row and the tables of
the mesh stays in a cache, and the operations. One operation is one addition, multiplication,
division, comparison, selection, shift or conversion of a float32 or int32; of a float64 it
counts as two, as half as many fit into a register. P are packed voxels (masked ones, gaps and
padding), N voxels of the image, S bytes of the expanded lattice ("sheets"), T stretches of rows.

    kernel              bytes                operations
    a row of the field  (cached)             7 a voxel: 4 products, 3 sums
    expand_planes       S written            2 for each place that a control point reaches
    find_extremes       4 P + S + 56 T       17 P: row, difference, 3 to order the bits, 6 to
                                             compare and choose
    fill_histogram      4 P + S + 40 T       21 P: row, 3 to the position (a true quotient), 4 to
                                             drop, 7 to split and place; a scattered pair each
    sum_residuals       4 P + S + 32 T       30 P: row, 3 + 4 + 3 as above, 2 to map, 3 for the
                        + its sums           residual, 8 to spread over four control rows; a
                                             gathered pair each; sums along x in double
    join_planes         the sums             4 for each sum and plane of control points (double)
    sum_pieces          4 P + 2 S + 40 T     85 P: as compute_ratios, and 22 to round and to sum
                                             what a voxel adds to the measure
    compute_ratios      4 P + 2 S + 40 T     63 P: two rows, difference, norm, and 43 for the
                        + 4 per masked voxel exponential, a polynomial of degree 10 in double
    pack_chunks         9 P                  44 P: a logarithm in double counted as 20 products
                                             and sums
    stretches           2 N + 96 T           4 N: where stretches begin, by one thread in NumPy
                                             (with the cut into chunks)
    sum_weights         4 P + 32 T           10 P: 1 or 0, and 8 to spread
    evaluate_planes     4 N + S              7 N
    divide_planes       8 N + S              54 N: row, norm, exponential, quotient

The bound of a kernel is the longest of bytes at the measured rate of copying, operations at the
measured rate of multiply-adds (two each), and pairs at the measured rate of scattered additions
or gathered reads, as if all of these ran beside each other.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

from benchmarks import gpu, plots, volumes
from benchmarks.peers import Worker, prepare_peer
from benchmarks.rounds import spread
from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.engines.cpu import engine as cpu
from n4ax.engines.cpu.field import divide, evaluate
from n4ax.engines.cpu.kernels.fitting import sum_weights
from n4ax.engines.cpu.pieces import make_row_voxels
from n4ax.engines.cpu.rows import pack_rows
from n4ax.engines.cpu.threads import Job, Jobs, Threads
from n4ax.inputs import Inputs
from n4ax.method import solver
from n4ax.method.problem import Problem
from n4ax.method.sharpening import bin_width
from n4ax.method.solver import Parameters, State, make_start_state, solve, summarise
from n4ax.pipeline import pose_image
from n4ax.settings import N4Settings

THREADS = 2
LEVEL = 3
"""The kernels by themselves are timed on the mesh of the last of SimpleITK's four levels."""

REPEATS = 40
"""Of the loops that tell what the machine can do, the fastest counts."""

FEW, MANY = (3, 3, 3, 3), (9, 9, 9, 9)
"""Iterations of the two runs by XLA from whose difference the time per iteration is taken."""


OUTSIDE_KERNELS = [
    (solver, "fit_quotient"),
    (cpu, "refine"),
]
"""Parts of an iteration that are functions on one thread."""

REST = "rest: Python, handing out"

BLUE, GREY = plots.COLOURS["n4ax"], "0.55"

ONCE = ("sum_weights", "stretches", "pack_chunks", "evaluate_planes", "divide_planes")
"""Kernels that run once a volume, or once a level, and not in every iteration."""


class Work(NamedTuple):
    """What a kernel has to do for the whole volume; ``pairs`` are scattered or gathered."""

    bytes: float
    operations: float
    pairs: str = ""
    number: float = 0


class Clock(Threads):
    """Threads that note how long each kernel took, in seconds."""

    def __init__(self, num_threads: int) -> None:
        super().__init__(num_threads)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def prepare(self, parts: int, kernel: Any, *arguments: Any, alone: bool = False) -> Job:
        job = super().prepare(parts, kernel, *arguments, alone=alone)
        return self.timed(kernel.py_func.__name__, job)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, noted under ``name``."""

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            answer = function(*arguments)
            self.seconds[name].append(time.perf_counter() - start)
            return answer

        return timed


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    head = volumes.load_head(quick)
    settings = N4Settings()
    ceilings = machine_ceilings(packed_bytes=4 * int(np.count_nonzero(head.mask)))
    print(f"  the machine: {shown(ceilings)}", flush=True)
    problem = pose_image(settings, Inputs(head.image, head.mask), "cpu").pose.problem
    with Threads(THREADS) as threads:
        engine = cpu.CpuEngine(problem, settings, threads)
        lattice = solved(engine, settings).lattice
        works = counted(engine, head.image.shape)
        alone = times_alone(engine, head, lattice, rounds)
    rows = [row(kernel, works[kernel], alone[kernel], ceilings) for kernel in works]
    print(f"  {len(rows)} kernels by themselves", flush=True)
    iterations, parts = shares_of_an_iteration(problem, rounds)
    whole = sum(part["seconds"] for part in parts)
    print(f"  an iteration: {whole:.4f} s", flush=True)
    xla = by_xla(head, ceilings, rounds)
    print(f"  by XLA: {xla['seconds']['median']:.4f} s", flush=True)
    return {
        "volume": head.describe(),
        "packed": len(engine.rows.log),
        "threads": THREADS,
        "ceilings": ceilings,
        "kernels": rows,
        "iterations": iterations,
        "parts": parts,
        "xla": xla,
        "repeats": REPEATS,
    }


def solved(engine: cpu.CpuEngine, settings: N4Settings) -> State:
    start = make_start_state(engine, len(settings.iters), max(settings.iters))
    return solve(engine, Parameters.of(settings, every_measure=False), start)


def shown(ceilings: dict[str, float]) -> str:
    return ", ".join(f"{name} {rate / 1e9:.1f} G/s" for name, rate in ceilings.items())


# ---- what the machine allows -------------------------------------------------------------------


@compile_kernel("contract")
def _multiply_adds(first, stop, values):
    """32 multiply-adds on each value of each part (parts, n)."""
    factor, addend = np.float32(0.999), np.float32(0.001)
    for part in range(first, stop):
        for _ in range(64):
            for j in range(values.shape[1]):
                v = values[part, j]
                for _ in range(32):
                    v = v * factor + addend
                values[part, j] = v


@compile_kernel()
def _copy(first, stop, source, target):
    for part in range(first, stop):
        for j in range(source.shape[1]):
            target[part, j] = source[part, j]


@compile_kernel()
def _scattered(first, stop, places, values, sums):
    """Pairs of additions to places four apart, as the four interleaved histograms have them."""
    for part in range(first, stop):
        for j in range(places.shape[1]):
            at = np.uint64(np.uint32(places[part, j]))
            sums[part, at] += values[part, j]
            sums[part, at + np.uint64(4)] += values[part, j]


@compile_kernel()
def _gathered(first, stop, places, low, rise, values):
    """Pairs of reads from two tables, as the map has them."""
    for part in range(first, stop):
        for j in range(np.uint64(places.shape[1])):
            at = np.uint64(np.uint32(places[part, j]))
            values[part, j] = low[at] + rise[at] * values[part, j]


def machine_ceilings(packed_bytes: int) -> dict[str, float]:
    """Rates per second at ``THREADS`` threads: bytes copied, operations, pairs.

    Bytes are read and written ones, of an array as large as the packed head (which a large
    cache holds) and of one that no cache holds.
    """
    parts, random = 64, np.random.default_rng(0)
    small = np.zeros((parts, 4096), np.float32)
    cached = np.zeros((parts, packed_bytes // 4 // parts), np.float32)
    large = np.zeros((parts, (256 << 20) // 4 // parts), np.float32)
    bins = random.integers(0, 200, (parts, 32768)).astype(np.int32)
    places = bins * np.int32(4) + np.arange(bins.shape[1], dtype=np.int32) % 4
    some = random.random(bins.shape, np.float32)
    table = random.random(1024, np.float32)
    sums = np.zeros((parts, 1024), np.float32)
    with Threads(THREADS) as threads:

        def rate(amount: float, kernel: Any, *arguments: Any) -> float:
            threads.run(parts, kernel, *arguments)  # compiles
            return amount / min(seconds(lambda: threads.run(parts, kernel, *arguments), REPEATS))

        return {
            "bytes": rate(2 * cached.nbytes, _copy, cached, np.empty_like(cached)),
            "bytes from memory": rate(2 * large.nbytes, _copy, large, np.ones_like(large)),
            "operations": rate(2 * 32 * 64 * small.size, _multiply_adds, small),
            "scattered": rate(bins.size, _scattered, places, some, sums),
            "gathered": rate(bins.size, _gathered, bins, table, table, some),
        }


def seconds(call: Callable[[], Any], repeats: int) -> list[float]:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


# ---- what the kernels have to do, and what they take -------------------------------------------


def counted(engine: cpu.CpuEngine, shape: tuple[int, ...]) -> dict[str, Work]:
    """The module's table for one volume, on the mesh of ``LEVEL``."""
    mesh, rows = engine.mesh(LEVEL), engine.rows
    packed, stretches, voxels = len(rows.log), len(rows.x), float(np.prod(shape))
    basis, sheets = mesh.basis.value, mesh.fields[0].sheets.value.values.nbytes
    planes, control_rows, columns = len(basis.plane_control), *mesh.omega.shape[-2:]
    reached = float(np.diff(basis.x_range, axis=1).sum()) * control_rows
    collapsed = 8.0 * planes * control_rows * columns
    along_x = 4.0 * reached * len(rows.slot_plane)
    sums = mesh.plane_sums.nbytes
    terms = basis.plane_control.shape[1]
    return {
        "expand_planes": Work(sheets, 2.0 * reached * planes + collapsed),
        "find_extremes": Work(4 * packed + sheets + 56 * stretches, 17 * packed),
        "fill_histogram": Work(
            4 * packed + sheets + 40 * stretches, 21 * packed, "scattered", engine.voxels
        ),
        "sum_residuals": Work(
            4 * packed + sheets + 32 * stretches + sums, 30 * packed + along_x, "gathered", packed
        ),
        "join_planes": Work(sums, 4.0 * terms * mesh.plane_sums.size),
        "sum_pieces": Work(4 * packed + 2 * sheets + 40 * stretches, 85 * packed),
        "compute_ratios": Work(
            4 * packed + 2 * sheets + 40 * stretches + 4 * engine.voxels, 63 * packed
        ),
        "sum_weights": Work(4 * packed + 32 * stretches + sums, 10 * packed + along_x),
        "pack_chunks": Work(9 * packed, 44 * packed),
        "stretches": Work(2 * voxels + 96 * stretches, 4 * voxels),
        "evaluate_planes": Work(4 * voxels + sheets, 7 * voxels),
        "divide_planes": Work(8 * voxels + sheets, 54 * voxels),
    }


def times_alone(
    engine: cpu.CpuEngine, head: volumes.Volume, lattice: npt.NDArray[np.float32], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each kernel over the whole volume, the kernels in turn."""
    mesh, inside = engine.mesh(LEVEL), head.mask != 0
    field, before = engine.expand(mesh, lattice * np.float32(1.001)), engine.expand(mesh, lattice)
    lowest, highest = engine.search_everywhere(before)
    binned = engine.binned(before, lowest, bin_width(lowest, highest, engine.nbins))
    engine.histogram(binned)  # from here on every chunk starts from the right counts
    expected = np.linspace(lowest, highest, engine.nbins, dtype=np.float32)
    bases = [a.sample_basis(n, 3) for a, n in zip(engine._axes, mesh.omega.shape, strict=True)]
    fields = field.sheets, before.sheets
    with (
        Clock(THREADS) as clock,
        patch.object(engine, "_threads", clock),
        patch.object(engine, "_jobs", Jobs(clock)),
    ):
        voxels = make_row_voxels(engine._laid_rows, engine._jobs)
        pieces = len(voxels.number) - 1
        running, units = np.array([1e5, 1.0, 0.1]), np.full(pieces, 2.0**-27)
        for _ in range(5 * rounds + 1):
            engine.expand(mesh, lattice)
            engine.search_everywhere(before)
            engine.histogram(binned)
            engine.residual_fit(mesh, binned, expected)
            voxels.compute_ratios(0, pieces, fields)
            voxels.sum_pieces(fields, 0, running, units)
            weights = (engine.rows, mesh.projection, mesh.plane_sums)
            clock.run(engine._chunks, sum_weights, *weights)
        pack = clock.timed("pack_rows", pack_rows)
        for _ in range(2 * rounds + 1):
            pack(head.image, inside, None, None, clock)
            evaluate(lattice, bases, clock)
            divide(lattice, head.image, bases, clock)
    found = {kernel: times[1:] for kernel, times in clock.seconds.items()}
    packing = zip(found.pop("pack_rows"), found["pack_chunks"], strict=True)
    return found | {"stretches": [whole - chunks for whole, chunks in packing]}


def row(kernel: str, work: Work, times: list[float], ceilings: dict[str, float]) -> dict[str, Any]:
    """A kernel's work, its bound in seconds, and what it took.

    The share is that of the fastest run, as the machine's rates are those of the fastest.
    """
    bounds = {
        "bytes": work.bytes / ceilings["bytes"],
        "operations": work.operations / ceilings["operations"],
    }
    if work.pairs:
        bounds[work.pairs] = work.number / ceilings[work.pairs]
    limit = max(bounds, key=lambda name: bounds[name])
    return {
        "kernel": kernel,
        "bytes": work.bytes,
        "operations": work.operations,
        "seconds": spread(times),
        "limit": limit,
        "bound": bounds[limit],
        "share": bounds[limit] / min(times),
    }


# ---- an iteration as it runs -------------------------------------------------------------------


def shares_of_an_iteration(problem: Problem, rounds: int) -> tuple[int, list[dict[str, Any]]]:
    """Iterations of SimpleITK's defaults; seconds and calls per iteration of every part of them."""
    settings = N4Settings()
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    iterations = 0
    for _ in range(rounds + 1):
        with ExitStack() as stack:
            clock = stack.enter_context(Clock(THREADS))
            for module, function in OUTSIDE_KERNELS:
                timed = clock.timed(function, getattr(module, function))
                stack.enter_context(patch.object(module, function, timed))
            engine = cpu.CpuEngine(problem, settings, clock)
            clock.seconds.clear()
            start = time.perf_counter()
            state = solved(engine, settings)
            total = time.perf_counter() - start
        iterations = sum(summarise(state, settings).iterations)
        noted = sum(map(sum, clock.seconds.values()))
        for name, times in [*clock.seconds.items(), (REST, [total - noted])]:
            found[name].append((sum(times) / iterations, len(times) / iterations))
    parts = []
    for name, values in found.items():
        taken = [value[0] for value in values[1:]]
        calls = None if name == REST else values[-1][1]
        parts.append({"part": name, "seconds": median(taken), "calls": calls})
    return iterations, sorted(parts, key=lambda part: -part["seconds"])


def by_xla(head: volumes.Volume, ceilings: dict[str, float], rounds: int) -> dict[str, Any]:
    """An iteration of the XLA engine as a whole, and the least of bytes that it could move."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Worker(prepare_peer("n4ax by XLA"), THREADS) as worker,
    ):
        path = head.save(Path(folder))

        def seconds_of(iterations: tuple[int, ...]) -> float:
            keywords = {"iters": iterations, "conv_threshold": 0.0}
            return min(worker.ask(do="correct", input=path, keywords=keywords, repeats=3)["all"])

        seconds_of(FEW)  # compiles
        count = sum(MANY) - sum(FEW)
        times = [(seconds_of(MANY) - seconds_of(FEW)) / count for _ in range(rounds)]
    moved = gpu.bytes_per_iteration(head.mask)
    bound = moved / ceilings["bytes from memory"]
    return {"bytes": moved, "seconds": spread(times), "bound": bound, "share": bound / min(times)}


# ---- plot ---------------------------------------------------------------------------------------


def draw(result: dict[str, Any], folder: Path) -> None:
    """The roofline, and what an iteration is made of."""
    figure, (roof, bars) = plt.subplots(1, 2, figsize=(11, 4.6))
    ceilings = result["ceilings"]
    intensity = np.geomspace(0.2, 60, 200)
    for name, label, style in [
        ("bytes", "copies in cache", "-"), ("bytes from memory", "copies in memory", "--")
    ]:  # fmt: skip
        roof.plot(
            intensity, np.minimum(intensity * ceilings[name], ceilings["operations"]) / 1e9,
            style, color="0.4", label=f"{label}, {ceilings[name] / 1e9:.0f} GB/s",
        )  # fmt: skip
    for number, kernel in enumerate(result["kernels"], start=1):
        x = kernel["operations"] / kernel["bytes"]
        y = kernel["operations"] / kernel["seconds"]["least"] / 1e9
        roof.plot(x, y, "o", color=GREY if kernel["kernel"] in ONCE else BLUE)
        roof.annotate(str(number), (x, y), xytext=(4, 3), fontsize=7, textcoords="offset points")
    roof.plot([], [], "o", color=BLUE, label="kernels of an iteration")
    roof.plot([], [], "o", color=GREY, label="once a volume or level")
    roof.set(
        xscale="log", yscale="log", xlabel="operations per byte",
        ylabel="10⁹ operations per second", title="Kernels by themselves",
    )  # fmt: skip
    roof.legend(fontsize=7, loc="lower right")
    parts = result["parts"][::-1]
    bars.barh(
        [part["part"] for part in parts], [1e3 * part["seconds"] for part in parts], color=BLUE
    )
    bars.set(xlabel="ms per iteration", title="What an iteration is made of")
    bars.tick_params(axis="y", labelsize=8)
    plots.save(figure, folder / "performance-roofline.svg")
    plt.close(figure)
