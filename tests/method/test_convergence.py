"""The stopping measure: ITK's float32 recurrence, replayed in blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from n4ax.engines.cpu.recurrence import exact_variation, itk_variation
from n4ax.engines.xla import recurrence as xla_recurrence
from n4ax.method.convergence import may_decide
from n4ax.method.solver import State, summarise
from n4ax.settings import N4Settings

replay = jax.jit(xla_recurrence.itk_variation, static_argnames=("packed", "block"))
"""Compiled once for each size, as the engine does it, and not at every call."""


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


@pytest.mark.parametrize(
    ("variation", "threshold", "decides"),
    [(2e-3, 1e-3, False), (1.4e-3, 1e-3, True), (1e-3, 0.0, False), (0.0, 0.0, True)],
)
def test_the_measure_is_needed_only_near_the_threshold(
    variation: float, threshold: float, decides: bool
) -> None:
    assert bool(may_decide(np.float64(variation), threshold, voxels=100_000)) is decides


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
