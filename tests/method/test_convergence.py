"""The stopping measure: ITK's float32 recurrence, replayed in blocks."""

from collections.abc import Callable
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from n4ax.engines.cpu.change import ChangeMeter
from n4ax.engines.cpu.kernels.recurrence import replay as take_in
from n4ax.engines.cpu.kernels.recurrence import sum_voxels
from n4ax.engines.cpu.prediction import Course, Predictor
from n4ax.engines.cpu.recurrence import (
    exact_variation,
    finish_running,
    itk_variation,
    start_running,
)
from n4ax.engines.xla import recurrence as xla_recurrence
from n4ax.engines.xla.prediction import predict as xla_predict
from n4ax.method.convergence import (
    BIAS,
    COARSE,
    FINE,
    MEDIUM,
    ROUGH,
    STAGES,
    Prediction,
    Samples,
    choose_samples,
    is_above,
    is_below,
    may_decide,
)
from n4ax.method.solver import State, summarise
from n4ax.settings import N4Settings

replay = jax.jit(xla_recurrence.itk_variation, static_argnames=("packed", "block"))
"""Compiled once for each size, as the engine does it, and not at every call."""


Ratios = npt.NDArray[np.float32]


def predict(
    steps: npt.NDArray[np.float32], samples: Samples, exact: bool
) -> tuple[Prediction, Course]:
    predictor = Predictor(samples, exact)
    predictor.steps[:] = steps
    return predictor.predict()


def one_by_one(ratios: npt.NDArray[np.float32]) -> float:
    """The recurrence of :mod:`n4ax.method.convergence`, one voxel at a time."""
    mu, sigma, count = np.float32(0), np.float32(0), np.float32(0)
    for p in ratios:
        count = np.float32(float(count) + 1.0)
        n = float(count)
        if n > 1:
            gap = np.float32(p - mu)
            sigma = np.float32(float(sigma) + float(gap * gap) * (n - 1.0) / n)
        mu = np.float32(float(mu) * (1.0 - 1.0 / n) + float(np.float32(p / count)))
    return float(np.float32(np.sqrt(float(sigma) / (float(count) - 1.0))) / mu)


@pytest.mark.parametrize("spread", [1e-5, 1e-3, 3e-2])
@pytest.mark.parametrize("centre", [0.999, 1.0, 1.002])
def test_replay_in_blocks_equals_the_recurrence_voxel_by_voxel(
    spread: float, centre: float
) -> None:
    random = np.random.default_rng(7)
    drift = np.linspace(-1, 1, 120_000) * spread  # the first slices differ from the last ones
    ratios = (centre + drift + random.normal(0, spread, 120_000)).astype(np.float32)
    assert itk_variation(ratios) == pytest.approx(one_by_one(ratios), rel=1e-6)


def test_replay_differs_from_the_true_variation_where_the_mean_freezes() -> None:
    ratios = np.concatenate([np.full(200_000, 1.001), np.full(200_000, 0.999)]).astype(np.float32)
    assert exact_variation(ratios) == pytest.approx(1e-3, rel=1e-4)
    assert itk_variation(ratios) > 1.3 * exact_variation(ratios)


def test_exact_variation_is_that_of_numpy() -> None:
    ratios = np.random.default_rng(1).normal(1, 0.01, 50_001).astype(np.float32)
    wide = ratios.astype(np.float64)
    assert exact_variation(ratios) == pytest.approx(wide.std(ddof=1) / wide.mean(), rel=1e-12)


def test_a_single_voxel_has_no_variation_to_speak_of() -> None:
    assert np.isnan(itk_variation(np.ones(1, np.float32)))


def test_equal_ratios_have_no_variation() -> None:
    assert itk_variation(np.ones(70_000, np.float32)) == 0.0


def test_ranges_of_samples_double_up_to_the_longest() -> None:
    index, weight = choose_samples(1000, 16)
    doubling = [length for length in (1, 2, 4, 8, 16, 32) for _ in range(4 if length == 1 else 2)]
    assert weight.tolist() == [*doubling, *[62] * 14, 4]
    assert index.tolist()[:12] == [0, 1, 2, 3, 4, 6, 10, 13, 23, 28, 34, 60]


@pytest.mark.parametrize("voxels", [1, 5, 511, 4097, 100_000, 5_000_000])
@pytest.mark.parametrize("count", STAGES)
def test_samples_stand_for_all_voxels_in_their_order(voxels: int, count: int) -> None:
    index, weight = choose_samples(voxels, count)
    stop = np.cumsum(weight)
    assert stop[-1] == voxels
    assert (index < stop).all()
    assert (index >= stop - weight).all()
    assert weight.max() <= max(1, voxels // count)
    assert min(voxels, count) <= len(index) <= 3 * count
    assert (weight[: count // 4] == 1).all()


@pytest.mark.parametrize(
    ("measure", "error", "threshold", "above"),
    [
        (2e-3, 0.01, 1e-3, True),
        (1.2e-3, 0.01, 1e-3, True),
        (1.2e-3, 0.05, 1e-3, False),  # the sampling may be off by more
        (1.05e-3, 0.0, 1e-3, False),
        (1e-3, 0.01, 0.0, True),
        (1e-7, 0.0, 0.0, False),  # near the rounding errors of the fields
        (0.0, np.nan, 0.0, False),
        (np.nan, np.nan, 1e-3, False),
        (np.inf, np.nan, 1e-3, False),
        (5.0, 0.0, 1e-3, False),  # the exponentials may overflow elsewhere
        (2e-3, 0.0, np.inf, False),
    ],
)
def test_only_a_clear_prediction_spares_the_measure(
    measure: float, error: float, threshold: float, above: bool
) -> None:
    prediction = Prediction(np.float64(measure), np.float64(error), np.float64(measure))
    assert bool(is_above(prediction, threshold, voxels=100_000)) is above


def test_finer_prediction_is_made_only_if_the_one_before_is_not_clear() -> None:
    asked: list[int] = []

    def predict_as(*measures: float) -> Callable[[int], Prediction]:
        left = iter(measures)
        asked.clear()

        def predict(count: int) -> Prediction:
            asked.append(count)
            measure = next(left)
            return Prediction(measure, 0.005, measure)

        return predict

    assert not may_decide(predict_as(2e-3), 1e-3, 10**6)
    assert asked == [ROUGH]
    assert not may_decide(predict_as(1.05e-3, 1.3e-3), 1e-3, 10**6)
    assert asked == [ROUGH, COARSE]
    assert not may_decide(predict_as(1.05e-3, 1.05e-3, 1.3e-3), 1e-3, 10**6)
    assert asked == [ROUGH, COARSE, MEDIUM]
    assert not may_decide(predict_as(1.05e-3, 1.3e-3), 1e-3, 10**6, begin=MEDIUM)
    assert asked == [MEDIUM, FINE]
    assert may_decide(predict_as(*[1.05e-3] * 4), 1e-3, 10**6)
    assert asked == [*STAGES]
    assert may_decide(predict_as(2e-3), np.inf, 10**6)  # asked for in any case
    assert asked == []


def make_steps(voxels: int, spread: float, offset: float) -> Ratios:
    """A change of the field that is smooth, as changes are, in a volume of rows of 200 voxels."""
    at = np.arange(voxels)
    x, y, z = at % 200 / 200, at // 200 % 150 / 150, at / voxels
    waves = np.sin(5 * x + 1) + np.cos(4 * y - 2 * z) + 0.7 * np.sin(3 * z + 2 * x * y)
    return (spread * (waves + offset)).astype(np.float32)


@pytest.mark.parametrize(
    ("voxels", "spread"),
    [
        *product((3000, 60_000, 700_000), (2e-4, 1e-3, 2e-2)),
        (20_000_000, 1e-3),
    ],
)
@pytest.mark.parametrize("offset", [-1.0, 0.0, 1.0])
def test_prediction_is_close_to_the_measure(voxels: int, spread: float, offset: float) -> None:
    steps = make_steps(voxels, spread, offset)
    ratios = np.exp(steps.astype(np.float64)).astype(np.float32)
    for exact, measure in ((False, itk_variation(ratios)), (True, exact_variation(ratios))):
        for count in STAGES:
            samples = choose_samples(voxels, count)
            found, course = predict(steps[samples.voxel], samples, exact)
            assert found.measure == pytest.approx(measure, rel=BIAS + 2 * found.error)
            assert not is_above(found, measure * (1 - 1e-9), voxels)
            assert course.number[-1] == voxels


def make_random_steps(seed: int) -> Ratios:
    """A smooth change of the field of a small head, around some mean."""
    random = np.random.default_rng(seed)
    at = np.arange(28_817)
    x, y, z = at % 40 / 40, at // 40 % 30 / 30, at / len(at)
    heights = random.normal(0, 1, 6)
    shifts = random.uniform(0, 6, 4)
    waves = heights[0] * np.sin(5 * x + shifts[0]) + heights[1] * np.cos(4 * y + shifts[1])
    waves += heights[2] * np.sin(3 * z + shifts[2]) + heights[3] * np.cos(6 * z + shifts[3])
    return (3e-4 * (waves + heights[4])).astype(np.float32)


@pytest.mark.parametrize(
    ("seed", "count"), [(1965, MEDIUM), (2945, MEDIUM), (3410, COARSE), (5256, COARSE)]
)
def test_mean_that_may_stand_at_1_or_not_is_no_clear_case(seed: int, count: int) -> None:
    steps = make_random_steps(seed)
    threshold = itk_variation(np.exp(steps.astype(np.float64)).astype(np.float32))
    samples = choose_samples(len(steps), count)
    found, _ = predict(steps[samples.voxel], samples, exact=False)
    assert found.measure > 1.2 * threshold  # the mean of the sample stands above 1
    assert not is_above(found, threshold, len(steps))
    with jax.enable_x64(True):
        arrays = jnp.asarray(steps[samples.voxel]), jnp.asarray(samples.weight, jnp.float64)
        assert not is_above(xla_predict(*arrays, exact=False), threshold, len(steps))


def test_no_random_change_is_above_its_own_measure() -> None:
    for seed in range(300):
        steps = make_random_steps(seed)
        threshold = itk_variation(np.exp(steps.astype(np.float64)).astype(np.float32))
        for count in STAGES:
            samples = choose_samples(len(steps), count)
            found, _ = predict(steps[samples.voxel], samples, exact=False)
            assert not is_above(found, threshold, len(steps))


def test_prediction_by_xla_is_that_of_the_cpu() -> None:
    samples = choose_samples(400_000, FINE)
    steps = make_steps(400_000, 1e-3, 0.5)[samples.voxel]
    for exact in (False, True):
        with jax.enable_x64(True):
            arrays = jnp.asarray(steps), jnp.asarray(samples.weight, jnp.float64)
            found = xla_predict(*arrays, exact)
        expected, _ = predict(steps, samples, exact)
        assert float(found.measure) == pytest.approx(expected.measure, rel=5e-3)
        assert float(found.error) == pytest.approx(expected.error, rel=5e-2)


class RatioVoxels:
    """Voxels in pieces, whose ratios are given; each piece is summed on its own."""

    def __init__(self, ratios: Ratios, piece: int) -> None:
        self.ratios = ratios
        self.number = np.append(np.arange(0, len(ratios), piece), len(ratios))
        self.replayed = 0

    def locate(self, samples: Samples) -> Any:
        return samples.voxel

    def compute_steps(self, places: Any, fields: Any, steps: Ratios) -> None:
        steps[:] = np.log(self.ratios[places].astype(np.float64))

    def compute_ratios(self, first: int, stop: int, fields: Any) -> Ratios:
        self.replayed += int(self.number[stop] - self.number[first])
        return self.ratios[self.number[first] : self.number[stop]]

    def sum_pieces(self, fields: Any, first: int, running: Any, units: Any) -> Any:
        added = np.empty(len(units))
        for k in range(len(units)):
            begin, end = self.number[first + k], self.number[first + k + 1]
            part, mean = self.ratios[begin:end], np.float32(running[1])
            added[k] = sum_voxels(part, len(part), float(begin), 0, mean, units[k])
        return added


@pytest.mark.parametrize("spread", [0.0, 1e-8, 1e-5, 1e-3, 3e-2])
@pytest.mark.parametrize("offset", [-2.0, 0.0, 2.0])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_measure_by_pieces_has_the_bits_of_the_recurrence(
    spread: float, offset: float, noise: float
) -> None:
    steps = make_steps(150_000, spread, offset)
    steps += np.random.default_rng(3).normal(0, noise * spread, len(steps)).astype(np.float32)
    steps[100_000] += np.float32(30 * spread)  # moves mu again, late
    ratios = np.exp(steps.astype(np.float64)).astype(np.float32)
    expected = one_by_one(ratios)
    assert itk_variation(ratios) == expected
    for piece in (700, 8192):
        voxels = RatioVoxels(ratios, piece)
        assert ChangeMeter(voxels, exact=False).measure_up_to(np.inf, None) == expected


def test_measure_of_more_voxels_than_a_float32_counts() -> None:
    steps = make_steps((1 << 24) + 3_000_000, 1e-3, 0.5)
    ratios = np.exp(steps.astype(np.float64)).astype(np.float32)
    running = start_running()
    for part in np.split(ratios, [1 << 14]):  # one by one, since no block is settled in a part
        take_in(part, running)
    voxels = RatioVoxels(ratios, 8192)
    found = ChangeMeter(voxels, exact=False).measure_up_to(np.inf, None)
    assert found == finish_running(running)
    assert running[0] == 1 << 24
    assert voxels.replayed < 0.05 * len(ratios)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("voxels", "offset"), [(300_000, 0.5), (300_000, -1.0), (20_000, 0.5)])
def test_every_iteration_of_a_level_is_found_on_its_side(
    voxels: int, offset: float, exact: bool
) -> None:
    """The change becomes smaller and turns, as from one iteration of a level to the next."""
    threshold, sides = 1e-3, set()
    meter = ChangeMeter(RatioVoxels(np.ones(voxels, np.float32), 4096), exact)
    one, other = make_steps(voxels, 1.7e-3, offset), make_steps(voxels, 2e-4, -offset)[::-1]
    for iteration in range(60):
        steps = 0.975**iteration * (one + np.float32(iteration / 60) * other)
        ratios = np.exp(steps.astype(np.float64)).astype(np.float32)
        meter._voxels.ratios = ratios  # type: ignore[attr-defined]
        found = meter.measure_up_to(threshold, None)
        measure = exact_variation(ratios) if exact else itk_variation(ratios)
        if np.isinf(found):
            assert (found > 0) == (measure > threshold)
        else:
            assert found == measure
        sides.add(found if np.isinf(found) else 0.0)
    assert sides >= {0.0, np.inf}
    assert (-np.inf in sides) == (voxels > 100_000 and not exact)


def test_change_of_nothing_is_measured_as_nothing() -> None:
    meter = ChangeMeter(RatioVoxels(np.ones(300_000, np.float32), 8192), exact=False)
    for threshold in (0.0, 1e-3, np.inf):
        for _ in range(2):
            assert meter.measure_up_to(threshold, None) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_measure_by_pieces_of_absurd_ratios_is_that_of_the_recurrence(bad: float) -> None:
    ratios = np.exp(make_steps(120_000, 1e-3, 0.5).astype(np.float64)).astype(np.float32)
    ratios[90_000] = bad
    found = ChangeMeter(RatioVoxels(ratios, 8192), exact=False).measure_up_to(np.inf, None)
    with np.errstate(all="ignore"):
        np.testing.assert_equal(found, one_by_one(ratios))


@pytest.mark.parametrize("spread", [1e-8, 1e-5, 1e-3, 3e-2])
@pytest.mark.parametrize("fill", [1.0, 0.6])
@pytest.mark.parametrize("block", [1 << 12, 1 << 18])
def test_replay_in_parallel_gives_the_bits_of_the_recurrence(
    spread: float, fill: float, block: int
) -> None:
    random = np.random.default_rng(11)
    drift = np.linspace(-1, 1, 90_000) * spread
    step = (0.3 * spread + drift + random.normal(0, spread, 90_000)).astype(np.float32)
    counted = random.random(90_000) < fill
    with jax.enable_x64(True):
        ratios = np.asarray(xla_recurrence.ratios(jnp.asarray(step)))
        expected = one_by_one(ratios[counted])
        arrays = jnp.asarray(step), jnp.asarray(counted)
        assert float(replay(*arrays, packed=False, block=block)) == expected
        if fill == 1.0:  # a packed list, which ends with padding
            longer = jnp.pad(arrays[0], (0, 999)), jnp.arange(90_999) < 90_000
            assert float(replay(*longer, packed=True, block=block)) == expected


def test_ratios_of_xla_are_rounded_once_but_for_few() -> None:
    step = np.random.default_rng(0).normal(0, 1e-3, 50_000).astype(np.float32)
    exact = np.exp(step.astype(np.float64)).astype(np.float32)
    found = np.asarray(xla_recurrence.ratios(jnp.asarray(step)))
    assert np.mean(found != exact) < 0.01
    np.testing.assert_allclose(found, exact, rtol=1.3e-7)


def test_measure_of_nan_is_not_called_converged() -> None:
    history = np.array([[2e-3, np.nan, 0.0], [np.inf, 1e-3, 0.0], [np.inf, np.inf, np.inf]])
    zero = np.zeros((4, 4), np.float32)
    state = State(zero, None, 2, np.nan, np.array([2, 2, 3]), history)
    found = summarise(state, N4Settings(iters=(3, 3, 3), conv_threshold=1e-3))
    assert found.stopped == ["iteration limit", "converged", "iteration limit"]


@pytest.mark.parametrize("threshold", [2e-6, 1e-3, 0.5])
def test_measure_at_the_threshold_is_below_and_not_above(threshold: float) -> None:
    at = Prediction(measure=threshold, error=0.0, least=threshold)
    assert not is_above(at, threshold, 0, bias=0.0)
    assert is_below(at, threshold, 0, bias=0.0)
    over = Prediction(*np.nextafter([threshold, 0.0, threshold], 1.0))
    assert is_above(over._replace(error=0.0), threshold, 0, bias=0.0)
    assert not is_below(over._replace(error=0.0), threshold, 0, bias=0.0)


def test_nothing_is_certain_of_measures_near_rounding_errors_or_one() -> None:
    least = Prediction(measure=1e-6, error=0.0, least=1e-6)
    assert not is_above(least, 1e-7, 0, bias=0.0)
    assert not is_below(least, 1e-5, 0, bias=0.0)
    assert not is_above(Prediction(measure=1.0, error=0.0, least=0.9), 1e-3, 0, bias=0.0)
    assert is_above(Prediction(measure=0.99, error=0.0, least=0.9), 1e-3, 0, bias=0.0)


def test_margin_grows_with_the_bias_the_voxels_and_the_error() -> None:
    def highest_certain(error: float, voxels: int, bias: float) -> float:
        """The highest threshold that a measure of a half is certainly above."""
        thresholds = np.linspace(0, 0.5, 5001)
        at = Prediction(measure=0.5, error=error, least=0.5)
        return float(max(t for t in thresholds if is_above(at, t, voxels, bias)))

    assert highest_certain(0.0, 0, 0.1) == pytest.approx(0.45, abs=2e-4)
    assert highest_certain(0.02, 0, 0.0) == pytest.approx(0.45, abs=2e-4)
    assert highest_certain(0.0, 1 << 25, 0.0) == pytest.approx(0.45, abs=2e-4)
    assert highest_certain(0.02, 1 << 25, 0.1) == pytest.approx(0.35, abs=2e-4)
