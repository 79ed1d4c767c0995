"""Both engines against plain NumPy; the CPU engine has the same bits with any threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.engines.cpu.engine import CpuEngine
from n4ax.engines.cpu.kernels.histogram import fill_histogram
from n4ax.engines.cpu.kernels.layout import IS_OUTSIDE
from n4ax.engines.cpu.pieces import make_row_voxels
from n4ax.engines.cpu.recurrence import itk_variation
from n4ax.engines.cpu.rows import BRIDGED_GAP, CHUNK_VOXELS
from n4ax.engines.cpu.threads import Threads
from n4ax.engines.itk.engine import ItkEngine
from n4ax.engines.xla import programs
from n4ax.engines.xla.engine import XlaEngine
from n4ax.engines.xla.histogram import count_by_chunks, count_in_order
from n4ax.engines.xla.rounding import binade
from n4ax.method.bspline import axis_basis, refine
from n4ax.method.convergence import FINE, ROUGH, Samples
from n4ax.method.problem import Problem
from n4ax.posing import pose
from n4ax.settings import N4Settings
from tests.method.test_convergence import one_by_one

Array = npt.NDArray[Any]

SHAPES = {2: (70, 83), 3: (19, 24, 37), 4: (8, 9, 14, 23)}


def posed(
    ndim: int, order: int, weights: bool, seed: int = 3, fill: float = 0.6, **keywords: Any
) -> tuple[Problem, N4Settings, Array, Array]:
    """A problem with a fragmented mask, and its dense log image and confidences."""
    random = np.random.default_rng(seed)
    shape = SHAPES[ndim]
    image = random.gamma(4.0, 30.0, shape).astype(np.float32)
    mask = random.random(shape) < fill
    mask[..., shape[-1] // 3 : shape[-1] // 3 + BRIDGED_GAP // 4] = False
    confidence = random.random(shape).astype(np.float32) if weights else None
    keywords = {"iters": (1,)} | keywords  # with one level, lattices need no padding
    settings = N4Settings(spline_order=order, control_points=order + 2, **keywords)
    problem = pose(image, mask, confidence, None, settings).problem
    c = np.where(mask, 1.0 if confidence is None else confidence, 0.0)
    return problem, settings, np.log(image.astype(np.float64)), c


def dense_bases(problem: Problem, order: int) -> list[Array]:
    """The full matrix of basis weights (control points, n) of each axis, float64."""
    bases = [
        axis_basis(n, count, order)
        for n, count in zip(problem.intensities.shape, problem.control_points, strict=True)
    ]
    return [basis.dense(basis.weights).astype(np.float64) for basis in bases]


def evaluated(lattice: Array, bases: list[Array]) -> Array:
    for axis, basis in enumerate(bases):
        lattice = np.moveaxis(np.tensordot(basis, lattice, (0, axis)), 0, axis)
    return lattice


def summed(values: Array, bases: list[Array]) -> Array:
    for axis, basis in enumerate(bases):
        values = np.moveaxis(np.tensordot(basis, values, (1, axis)), 0, axis)
    return values


@contextmanager
def cpu_engine(problem: Problem, settings: N4Settings) -> Iterator[CpuEngine]:
    with Threads(2) as threads:
        yield CpuEngine(problem, settings, threads)


@contextmanager
def xla_engine(problem: Problem, settings: N4Settings) -> Iterator[XlaEngine]:
    with jax.enable_x64(True):
        device = {
            name: jnp.asarray(value)
            for name in ("intensities", "included", "weights")
            if (value := getattr(problem, name)) is not None
        }
        yield programs.make_engine(*programs.prepare(replace(problem, **device), settings))


ENGINES = {"cpu": cpu_engine, "xla": xla_engine}


@pytest.fixture(params=ENGINES)
def engine_on(request: pytest.FixtureRequest) -> Any:
    return ENGINES[request.param]


CASES = [(3, False, 0.6), (3, True, 0.25), (1, True, 0.6), (2, False, 0.25), (5, False, 0.6)]
"""Order of the spline, whether there are weights, and how much of the image the mask fills."""


@pytest.mark.parametrize(
    ("engine_on", "ndim", "order", "weights", "fill"),
    [
        # The XLA engine compiles a program for each.
        pytest.param(engine, ndim, *case, marks=pytest.mark.slow)
        if engine == "xla" and ndim != 3 and case != CASES[0]
        else (engine, ndim, *case)
        for engine in ENGINES
        for ndim in (2, 3, 4)
        for case in CASES
    ],
    indirect=["engine_on"],
)
def test_primitives_equal_dense_sums_in_double(
    engine_on: Any, ndim: int, order: int, weights: bool, fill: float
) -> None:
    problem, settings, log, confidence = posed(ndim, order, weights, fill=fill)
    included = problem.included
    bases = dense_bases(problem, order)
    random = np.random.default_rng(0)
    lattice = random.normal(0, 0.2, problem.control_points).astype(np.float32)
    u = (log - evaluated(lattice.astype(np.float64), bases))[included]

    with engine_on(problem, settings) as engine:
        mesh = engine.mesh(0)
        squares = [basis**2 for basis in bases]
        np.testing.assert_allclose(mesh.omega, summed(confidence, squares), rtol=1e-5, atol=1e-6)

        field = engine.expand(mesh, lattice)
        low, high = engine.extremes(field)
        np.testing.assert_allclose([low, high], [u.min(), u.max()], rtol=1e-6)

        width = np.float32((high - low) / 199)
        position = (u - float(low)) / float(width)
        lower = np.clip(position.astype(int), 0, 198)
        expected = np.bincount(lower, 1 - (position - lower), 200)
        expected[1:] += np.bincount(lower, position - lower, 200)[:-1]
        binned = engine.binned(field, low, width)
        found = np.asarray(engine.histogram(binned))
        # As in ITK, the brightest voxel is dropped from the histogram if its position rounds up.
        np.testing.assert_allclose(found[:-1], expected[:-1], atol=2e-2)
        assert min(abs(found[-1] - expected[-1]), abs(found[-1] - expected[-1] + 1)) < 2e-2

        centres = np.linspace(float(low), float(high), 200)
        tops = (centres + 0.1 * np.sin(9 * centres)).astype(np.float32)
        residual = np.zeros(included.shape)
        residual[included] = u - np.interp(position, np.arange(200), tops)
        cubes = [basis**3 / (basis**2).sum(axis=0) for basis in bases]
        np.testing.assert_allclose(
            engine.residual_fit(mesh, binned, tops),
            summed(residual * confidence, cubes),
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize("fill", [0.6, 0.25])
@pytest.mark.parametrize("convergence", ["itk", "exact"])
def test_change_of_the_field_is_measured(engine_on: Any, fill: float, convergence: str) -> None:
    problem, settings, _, _ = posed(3, 3, False, fill=fill, convergence=convergence)
    random = np.random.default_rng(1)
    lattice = random.normal(0, 0.2, problem.control_points).astype(np.float32)
    other = lattice + random.normal(0, 0.01, lattice.shape).astype(np.float32)
    change = evaluated((lattice - other).astype(np.float64), dense_bases(problem, 3))
    ratios = np.exp(change[problem.included])
    measure = {
        "itk": one_by_one(ratios.astype(np.float32)),
        "exact": ratios.std(ddof=1) / ratios.mean(),
    }
    with engine_on(problem, settings) as engine:
        mesh = engine.mesh(0)
        before, after = engine.expand(mesh, lattice), engine.expand(mesh, other)
        found = engine.change(after, before, np.float64(np.inf))
        assert found == pytest.approx(measure[convergence], rel=1e-4)
        # A measure far above the threshold is not computed; near the threshold it is.
        few = isinstance(engine, CpuEngine) and engine.voxels <= 2 * ROUGH
        far = engine.change(after, before, np.float64(found / 9))
        assert far == (found if few else np.inf)
        assert engine.change(after, before, np.float64(found)) == found


def test_ratios_of_the_fields_are_those_of_double() -> None:
    problem, settings, _, _ = posed(3, 3, False)
    random = np.random.default_rng(1)
    lattice = random.normal(0, 0.2, problem.control_points).astype(np.float32)
    other = lattice + random.normal(0, 0.01, lattice.shape).astype(np.float32)
    change = evaluated((lattice - other).astype(np.float64), dense_bases(problem, 3))
    truth = np.exp(change[problem.included])
    with cpu_engine(problem, settings) as engine:
        mesh = engine.mesh(0)
        before, after = engine.expand(mesh, lattice), engine.expand(mesh, other)
        fields = after.sheets, before.sheets
        voxels = make_row_voxels(engine._laid_rows, engine._jobs)
        pieces = len(voxels.number) - 1
        np.testing.assert_allclose(voxels.compute_ratios(0, pieces, fields), truth, rtol=3e-7)
        index = np.random.default_rng(2).permutation(engine.voxels)
        places = voxels.locate(Samples(index, np.ones_like(index)))
        steps = np.empty(len(index), np.float32)
        voxels.compute_steps(places, fields, steps)
        np.testing.assert_allclose(np.exp(steps.astype(np.float64)), truth[index], rtol=3e-7)


@pytest.mark.parametrize("arithmetic", ["limit", "itk"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_measure_by_pieces_is_the_replay_of_all_ratios(arithmetic: str, threads: int) -> None:
    random = np.random.default_rng(4)
    image = random.gamma(4.0, 30.0, (60, 70, 80)).astype(np.float32)
    settings = N4Settings(iters=(1,), control_points=6, arithmetic=arithmetic)  # type: ignore[arg-type]
    problem = pose(image, random.random(image.shape) < 0.7, None, None, settings).problem
    lattice = random.normal(0, 0.2, problem.control_points).astype(np.float32)
    other = lattice + random.normal(0, 0.001, lattice.shape).astype(np.float32)
    with Threads(threads) as pool:
        engine: Any = (ItkEngine if arithmetic == "itk" else CpuEngine)(problem, settings, pool)
        mesh = engine.mesh(0)
        before, after = engine.expand(mesh, lattice), engine.expand(mesh, other)
        fields = (after[-1], before[-1])
        voxels = engine._meter._voxels
        ratios = voxels.compute_ratios(0, len(voxels.number) - 1, fields)
        assert len(ratios) == np.count_nonzero(problem.included) > 200_000
        assert engine.change(after, before, np.inf) == itk_variation(ratios)
        assert engine._meter.predict(FINE, fields)[0].measure == pytest.approx(
            itk_variation(ratios), rel=0.05
        )


@pytest.mark.parametrize("version", [5, 6])
def test_refinement_is_the_same_on_both_engines(version: int) -> None:
    problem, settings, _, _ = posed(3, 3, False, iters=(1, 1, 1), itk_version=version)
    lattice = np.random.default_rng(1).normal(0, 0.2, problem.control_points).astype(np.float32)
    with cpu_engine(problem, settings) as cpu, xla_engine(problem, settings) as xla:
        assert cpu.no_lattice().shape == problem.control_points
        padded = np.zeros_like(xla.no_lattice())
        padded[tuple(slice(n) for n in lattice.shape)] = lattice
        for level in range(3):
            before = lattice
            lattice, padded = cpu.refine(level, lattice), np.asarray(xla.refine(level, padded))
            if level:
                np.testing.assert_array_equal(lattice, refine(before, 3, version))
            corner = tuple(slice(n) for n in lattice.shape)
            np.testing.assert_allclose(padded[corner], lattice, atol=1e-7)
            assert np.abs(padded).sum() == pytest.approx(np.abs(padded[corner]).sum())
        assert padded.shape == lattice.shape


@pytest.mark.parametrize("version", [5, 6])
def test_extremes_found_through_bounds_are_those_of_a_full_scan(version: int) -> None:
    problem, settings, _, _ = posed(3, 3, False, itk_version=version)
    random = np.random.default_rng(5)
    with cpu_engine(problem, settings) as engine:
        mesh = engine.mesh(0)
        lattice = np.zeros(problem.control_points, np.float32)
        for step in range(30):
            lattice = lattice + random.normal(0, 0.003, lattice.shape).astype(np.float32)
            # A new engine has no bounds yet, so it looks at all stretches.
            with cpu_engine(problem, settings) as fresh:
                full = fresh.extremes(fresh.expand(fresh.mesh(0), lattice))
            assert engine.extremes(engine.expand(mesh, lattice)) == full, step


@pytest.mark.parametrize("version", [5, 6])
@pytest.mark.parametrize("fill", [1.0, 0.2])
def test_rising_start_of_the_image_sets_the_minimum_in_itk_6_alone(
    engine_on: Any, fill: float, version: Any
) -> None:
    image = np.full((40, 40), 50.0, np.float32)
    image += np.random.default_rng(0).random(image.shape).astype(np.float32)
    image[0, :3] = 1.0, 2.0, 3.0
    mask = np.random.default_rng(1).random(image.shape) < fill
    mask[0, :5] = True
    settings = N4Settings(itk_version=version)
    problem = pose(image, mask, None, None, settings).problem
    with engine_on(problem, settings) as engine:
        field = engine.expand(engine.mesh(0), engine.no_lattice())
        low, _ = engine.extremes(field)
        again, _ = engine.extremes(field)
    risen = image[0, 4] > image[0, 3]  # then one more voxel belongs to the rising start
    rest = image[mask][5 if risen else 4 :]
    least = rest.min() if version == 5 else 1.0
    assert low == again == np.float32(np.log(np.float64(least)))


def test_histogram_off_the_cpu_is_rounded_as_itks_float32_counts_are() -> None:
    random = np.random.default_rng(0)
    position = np.concatenate([random.normal(60, 2, 400_000), random.uniform(0, 199, 400_000)])
    position = np.append(position, [199.0, 200.0, 200.0]).astype(np.float32)
    random.shuffle(position)
    in_order = np.zeros(202, np.float32)
    below = position.astype(int)
    share = position - below.astype(np.float32)
    # As in ITK, the two counts of each voxel are added one after the other, in float32.
    bins = np.stack([below, below + 1], axis=1).ravel()
    np.add.at(in_order, bins, np.stack([np.float32(1) - share, share], axis=1).ravel())
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        cpu = np.asarray(count_in_order(jnp.asarray(position), bins=202))
        other = np.asarray(count_by_chunks(jnp.asarray(position), bins=202))
    np.testing.assert_array_equal(cpu, in_order.astype(np.float64))
    truth = np.bincount(position.astype(int), 1 - position % 1, 202)
    truth[1:] += np.bincount(position.astype(int), position % 1, 202)[:-1]
    lost = np.abs(in_order - truth)[:200]
    assert lost.max() > 0.3  # otherwise there would be nothing to reproduce
    missed = np.abs(other - in_order)[:200]
    assert missed.max() < 0.15 * lost.max()
    assert np.square(missed).mean() < 0.1**2 * np.square(lost).mean()


@pytest.mark.parametrize("order", [1, 3])
def test_histogram_on_the_cpu_is_counted_in_float32_in_turn(order: int) -> None:
    problem, settings, _, _ = posed(3, order, False, nbins=20)
    random = np.random.default_rng(4)
    with cpu_engine(problem, settings) as engine:
        rows = engine.rows
        field = engine.expand(engine.mesh(0), np.zeros(problem.control_points, np.float32))
        inside = rows.log[rows.log < IS_OUTSIDE]
        lowest, width = np.quantile(inside, 0.1), np.ptp(inside) / np.float32(25)
        chunks = len(rows.chunk) - 1
        running = random.uniform(0, 2**22, (chunks, 20)).astype(np.float32)
        gained = np.empty((chunks, 20))
        bins = np.array([lowest, width], np.float32)
        fill_histogram(0, chunks, rows, field.sheets, bins, running, gained)
    for c in range(chunks):
        cells = np.zeros((22, 4), np.float32)
        cells[:20] = running[c, :, None]
        for i in range(rows.chunk[c], rows.chunk[c + 1]):
            with np.errstate(over="ignore"):  # where a voxel of a gap is
                position = (rows.log[rows.start[i] :][: rows.length[i]] - lowest) / width
            position[(position < 0) | (position > 19)] = 20
            lower = position.astype(int)
            part = position - lower.astype(np.float32)
            turn = np.arange(len(lower)) % 4
            places = np.stack([lower, lower + 1], axis=1), np.stack([turn, turn], axis=1)
            np.add.at(cells, places, np.stack([np.float32(1) - part, part], axis=1))
        more = cells[:20].astype(np.float64) - running[c, :, None]
        np.testing.assert_array_equal(gained[c], sum(more[:, turn] for turn in range(4)))


def test_chunks_cover_the_mask_once_and_are_of_even_size() -> None:
    image = np.random.default_rng(0).gamma(4.0, 30.0, (40, 70, 90)).astype(np.float32)
    settings = N4Settings()
    problem = pose(image, image > 60, None, None, settings).problem
    with Threads(1) as threads:
        rows = CpuEngine(problem, settings, threads).rows
    sizes = np.diff(rows.start[rows.chunk])
    assert rows.chunk[0] == 0
    assert rows.chunk[-1] == len(rows.x)
    assert len(sizes) > 3
    assert sizes.max() <= 2.5 * CHUNK_VOXELS
    kept = rows.log[rows.log < IS_OUTSIDE]
    np.testing.assert_allclose(kept, np.log(image[image > 60].astype(np.float64)), rtol=1e-7)


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_bits_do_not_depend_on_the_number_of_threads(ndim: int) -> None:
    random = np.random.default_rng(2)
    shape = {2: (300, 400), 3: (50, 60, 70), 4: (8, 30, 40, 30)}[ndim]
    image = random.gamma(4.0, 30.0, shape).astype(np.float32)
    keywords: dict[str, Any] = {"iters": (4, 4, 3), "conv_threshold": 0}
    keywords["series"] = "4d" if ndim == 4 else None
    results = [n4ax.fit(image, image > 40, num_threads=n, **keywords) for n in (1, 2, 3, 8)]
    for other in results[1:]:
        assert np.array_equal(other.field.control_points, results[0].field.control_points)
        assert np.array_equal(other.corrected, results[0].corrected)
        assert np.array_equal(other.log_bias, results[0].log_bias)
        assert other.convergence == results[0].convergence


def test_histogram_off_the_cpu_keeps_every_voxel_of_a_constant_image_and_of_many_bins() -> None:
    random = np.random.default_rng(1)
    with jax.enable_x64(True):
        for position, bins in (
            (np.full(5000, 7.0), 12),  # whole chunks whose voxels all have one bin
            (np.full(5000, 7.75), 12),
            (random.uniform(0, 4000, 30_000), 4096),  # more bins than a chunk of 1024 has voxels
        ):
            single = position.astype(np.float32)
            counts = np.asarray(count_by_chunks(jnp.asarray(single), bins=bins))
            truth = np.bincount(single.astype(int), 1 - single % 1, bins)
            truth[1:] += np.bincount(single.astype(int), single % 1, bins)[:-1]
            np.testing.assert_allclose(counts, truth, rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binade_is_a_power_of_two_to_the_bit(dtype: type) -> None:
    values = np.random.default_rng(2).lognormal(0, 8, 1000).astype(dtype)
    with jax.enable_x64(True):
        found = np.asarray(binade(jnp.asarray(values)))
    np.testing.assert_array_equal(found, np.exp2(np.floor(np.log2(values.astype(np.float64)))))
    assert found.dtype == dtype
