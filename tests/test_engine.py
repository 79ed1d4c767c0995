"""The CPU engine against plain NumPy, and its bits against the number of threads."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.bspline import axis_basis
from n4ax.engines.cpu import CpuEngine, Threads
from n4ax.engines.rows import BRIDGED_GAP, CHUNK_VOXELS
from n4ax.problem import Problem, pose
from n4ax.settings import N4Settings

Array = npt.NDArray[Any]

SHAPES = {2: (70, 83), 3: (19, 24, 37), 4: (8, 9, 14, 23)}


def posed(
    ndim: int, order: int, weights: bool, seed: int = 3
) -> tuple[Problem, N4Settings, Array, Array]:
    """A problem with a fragmented mask, and its dense log image and confidences."""
    random = np.random.default_rng(seed)
    shape = SHAPES[ndim]
    image = random.gamma(4.0, 30.0, shape).astype(np.float32)
    mask = random.random(shape) < 0.6
    mask[..., shape[-1] // 3 : shape[-1] // 3 + BRIDGED_GAP // 4] = False
    confidence = random.random(shape).astype(np.float32) if weights else None
    settings = N4Settings(spline_order=order, control_points=order + 2)
    problem = pose(image, mask, confidence, None, settings)
    c = np.where(mask, 1.0 if confidence is None else confidence, 0.0)
    return problem, settings, np.log(image.astype(np.float64)), c


def dense_bases(problem: Problem, order: int) -> list[Array]:
    """Per axis, the full matrix of basis weights (control points, n), float64."""
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


@pytest.mark.parametrize("ndim", [2, 3, 4])
@pytest.mark.parametrize(
    ("order", "weights"), [(3, False), (3, True), (1, True), (2, False), (5, False)]
)
def test_primitives_equal_dense_sums_in_double(ndim: int, order: int, weights: bool) -> None:
    problem, settings, log, confidence = posed(ndim, order, weights)
    included = problem.included
    bases = dense_bases(problem, order)
    random = np.random.default_rng(0)
    lattice = random.normal(0, 0.2, problem.control_points).astype(np.float32)
    u = (log - evaluated(lattice.astype(np.float64), bases))[included]

    with Threads(2) as threads:
        engine = CpuEngine(problem, settings, threads)
        engine.set_mesh(problem.control_points)
        assert engine.voxels == included.sum()
        squares = [basis**2 for basis in bases]
        np.testing.assert_allclose(engine.omega, summed(confidence, squares), rtol=1e-5, atol=1e-6)

        field = engine.expand(lattice)
        low, high = engine.extremes(field)
        np.testing.assert_allclose([low, high], [u.min(), u.max()], rtol=1e-6)

        width = np.float32((high - low) / 199)
        position = (u - float(low)) / float(width)
        lower = np.clip(position.astype(int), 0, 198)
        expected = np.bincount(lower, 1 - (position - lower), 200)
        expected[1:] += np.bincount(lower, position - lower, 200)[:-1]
        found = engine.histogram(field, low, width)
        # The brightest voxel falls out of the histogram where its position rounds up (ITK).
        np.testing.assert_allclose(found[:-1], expected[:-1], atol=2e-2)
        assert min(abs(found[-1] - expected[-1]), abs(found[-1] - expected[-1] + 1)) < 2e-2

        centres = np.linspace(float(low), float(high), 200)
        tops = (centres + 0.1 * np.sin(9 * centres)).astype(np.float32)
        residual = np.zeros(included.shape)
        residual[included] = u - np.interp(position, np.arange(200), tops)
        cubes = [basis**3 / (basis**2).sum(axis=0) for basis in bases]
        np.testing.assert_allclose(
            engine.residual_fit(field, low, width, tops),
            summed(residual * confidence, cubes),
            rtol=1e-4,
            atol=1e-4,
        )

        other = lattice + random.normal(0, 0.01, lattice.shape).astype(np.float32)
        after = engine.expand(other)
        change = evaluated((lattice - other).astype(np.float64), bases)[included]
        np.testing.assert_allclose(engine.ratios(after, field), np.exp(change), rtol=3e-7)
        truth = np.exp(change).std() / np.exp(change).mean()
        assert engine.variation(after, field) == pytest.approx(truth, rel=0.2)


def test_extremes_found_through_bounds_are_those_of_a_full_scan() -> None:
    problem, settings, _, _ = posed(3, 3, False)
    random = np.random.default_rng(5)
    with Threads(1) as threads:
        engine, fresh = (CpuEngine(problem, settings, threads) for _ in range(2))
        for machine in (engine, fresh):
            machine.set_mesh(problem.control_points)
        lattice = np.zeros(problem.control_points, np.float32)
        for step in range(30):
            lattice = lattice + random.normal(0, 0.003, lattice.shape).astype(np.float32)
            fresh.set_mesh(problem.control_points)  # forgets what it has seen
            assert engine.extremes(engine.expand(lattice)) == fresh.extremes(
                fresh.expand(lattice)
            ), step


def test_rising_start_of_the_image_never_sets_the_minimum() -> None:
    image = np.full((8, 40), 50.0, np.float32)
    image += np.random.default_rng(0).random(image.shape).astype(np.float32)
    image[0, :3] = 1.0, 2.0, 3.0
    settings = N4Settings()
    problem = pose(image, "all", None, None, settings)
    with Threads(1) as threads:
        engine = CpuEngine(problem, settings, threads)
        engine.set_mesh(problem.control_points)
        field = engine.expand(np.zeros(problem.control_points, np.float32))
        low, _ = engine.extremes(field)
        again, _ = engine.extremes(field)
    assert low == again == np.float32(np.log(np.float64(image.ravel()[4:].min())))


def test_chunks_cover_the_mask_once_and_are_of_even_size() -> None:
    image = np.random.default_rng(0).gamma(4.0, 30.0, (40, 70, 90)).astype(np.float32)
    settings = N4Settings()
    problem = pose(image, image > 60, None, None, settings)
    with Threads(1) as threads:
        rows = CpuEngine(problem, settings, threads).rows
    sizes = np.diff(rows.start[rows.chunk])
    assert rows.chunk[0] == 0
    assert rows.chunk[-1] == len(rows.x)
    assert len(sizes) > 3
    assert sizes.max() <= 2.5 * CHUNK_VOXELS
    kept = rows.log[rows.log < 1e30]
    np.testing.assert_allclose(kept, np.log(image[image > 60].astype(np.float64)), rtol=1e-7)


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_bits_do_not_depend_on_the_number_of_threads(ndim: int) -> None:
    random = np.random.default_rng(2)
    shape = {2: (300, 400), 3: (50, 60, 70), 4: (8, 30, 40, 30)}[ndim]
    image = random.gamma(4.0, 30.0, shape).astype(np.float32)
    results = [
        n4ax.fit(image, image > 40, iters=(4, 4, 3), conv_threshold=0, num_threads=n)
        for n in (1, 2, 3, 8)
    ]
    for other in results[1:]:
        assert np.array_equal(other.field.control_points, results[0].field.control_points)
        assert np.array_equal(other.corrected, results[0].corrected)
        assert np.array_equal(other.log_bias, results[0].log_bias)
        assert other.convergence == results[0].convergence


def test_several_corrections_at_once_do_not_disturb_each_other() -> None:
    from concurrent.futures import ThreadPoolExecutor

    images = [np.random.default_rng(k).gamma(4.0, 30.0, (20, 30, 40)) for k in range(4)]
    alone = [n4ax.n4(image, "all", iters=(5, 5)) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: n4ax.n4(image, "all", iters=(5, 5)), images))
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a, b)
