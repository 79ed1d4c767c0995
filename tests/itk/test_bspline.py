"""B-spline weights with ITK's bits are B-spline weights, at coordinates that ITK rounds."""

import numpy as np
import pytest

from n4ax.itk.bspline import (
    compute_fit_weights,
    compute_grid_weights,
    evaluate_kernel,
    find_fit_coordinates,
    find_grid_coordinates,
)
from n4ax.itk.space import Position
from n4ax.method.bspline import uniform_bspline

ORDERS = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("order", ORDERS)
def test_weights_are_those_of_the_recursion(order: int) -> None:
    p = np.random.default_rng(order).uniform(0, 7, 200).astype(np.float32)
    expected = uniform_bspline((p - np.floor(p)).astype(np.float64), order)
    fit, grid = compute_fit_weights(p, order), compute_grid_weights(p, order)
    assert fit.dtype == np.float64
    assert grid.dtype == np.float32
    np.testing.assert_allclose(fit, expected, rtol=0, atol=4e-7)
    np.testing.assert_allclose(grid, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_kernels_add_up_to_one_and_end_where_they_should(order: int) -> None:
    u = np.linspace(0, 1, 33)[:, None] - np.arange(order + 1) + 0.5 * (order - 1)
    np.testing.assert_allclose(evaluate_kernel(u, order).sum(axis=1), 1, rtol=0, atol=1e-14)
    edge = 0.5 * (order + 1)
    np.testing.assert_allclose(evaluate_kernel(np.array([-edge, edge]), order), 0, atol=1e-15)
    np.testing.assert_array_equal(evaluate_kernel(np.array([edge + 0.1, -edge - 7]), order), 0)


@pytest.mark.parametrize("spans", [1, 2, 5, 8])
@pytest.mark.parametrize("origin", [0.0, -37.3, 121.77])
def test_samples_lie_evenly_from_the_first_element_to_the_last(spans: int, origin: float) -> None:
    position = Position(origin, 0.9, -3)
    fit, grid = find_fit_coordinates(position, 40, spans), find_grid_coordinates(40, spans, 0.9)
    expected = np.linspace(0, spans, 40)
    np.testing.assert_allclose(fit, expected, rtol=0, atol=2e-3 * spans / 39)
    np.testing.assert_allclose(grid, expected, rtol=0, atol=2e-3 * spans / 39)
    for p in (fit, grid):
        assert p.dtype == np.float32
        assert p.min() >= 0
        assert p.max() < spans


def test_an_origin_decides_last_bits_of_the_fit() -> None:
    near = find_fit_coordinates(Position(0.0, 0.9, 0), 40, 4)
    far = find_fit_coordinates(Position(123.4, 0.9, 0), 40, 4)
    assert (near != far).any()


def test_an_image_beyond_single_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lies at 1e\+06 mm .* move its origin towards 0"):
        find_fit_coordinates(Position(1e6, 0.01, 0), 200, 4)
