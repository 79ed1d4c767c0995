"""B-splines: the basis compared with SciPy, knot halving, ITK's stretch, and the fit's quotient."""

from math import comb, prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from n4ax.itk.versions import RULES, find_halving_weights
from n4ax.method.bspline import (
    EDGE_IN_VOXELS,
    EMPTY_OMEGA,
    apply_along_axis,
    axis_basis,
    basis_at,
    evaluate_points,
    evaluation_matrix,
    fit_quotient,
    least_squares_matrix,
    refine,
    refine_axis,
    refinement_matrix,
    stretch_indices,
    uniform_bspline,
)

Array = npt.NDArray[Any]

ORDERS = [1, 2, 3, 4, 5]

VERSIONS = sorted(RULES)

orders = st.sampled_from(ORDERS)
unit = st.floats(0, 1)


def knots(control_points: int, order: int) -> Array:
    """SciPy's knots for a spline on the domain [0, spans], one at every integer."""
    return np.arange(-order, control_points + 1, dtype=np.float64)


def evaluate(lattice: Array, counts: tuple[int, ...], order: int) -> Array:
    """The spline of a lattice on a grid, stretched from the first to the last voxel."""
    for axis, (n, count) in enumerate(zip(counts, lattice.shape, strict=True)):
        basis = axis_basis(n, count, order)
        lattice = apply_along_axis(basis.dense(basis.weights).T, lattice, axis)
    return lattice


@given(orders, st.lists(unit, min_size=1))
@settings(deadline=None)
def test_weights_are_not_negative_and_add_up_to_one(order: int, u: list[float]) -> None:
    weights = uniform_bspline(np.array(u), order)
    assert weights.shape == (len(u), order + 1)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-14)


@given(orders, unit)
@settings(deadline=None)
def test_weights_are_mirrored_with_the_position_in_the_span(order: int, u: float) -> None:
    forth, back = uniform_bspline(np.array([u, 1 - u]), order)
    np.testing.assert_allclose(forth, back[::-1], atol=1e-14)


@pytest.mark.parametrize("order", ORDERS)
def test_weights_go_on_from_span_to_span(order: int) -> None:
    start, end = uniform_bspline(np.array([0.0, 1.0]), order)
    np.testing.assert_allclose(end[1:], start[:-1], atol=1e-15)
    assert end[0] == 0
    assert start[-1] == 0


@given(orders, st.integers(1, 9), st.data())
@settings(deadline=None)
def test_basis_is_that_of_scipy(order: int, spans: int, data: st.DataObject) -> None:
    p = np.array(data.draw(st.lists(st.floats(0, spans, exclude_max=True), min_size=1)))
    count = spans + order
    basis = basis_at(p, count, order)
    reference = BSpline.design_matrix(p, knots(count, order), order).toarray()
    np.testing.assert_allclose(basis.dense(basis.weights).T, reference, atol=1e-7)


@pytest.mark.parametrize("order", ORDERS)
def test_spline_is_that_of_scipy_to_the_last_digits_of_float32(order: int) -> None:
    lattice = np.random.default_rng(order).normal(size=order + 6)
    p = stretch_indices(101, 6)
    reference = BSpline(knots(len(lattice), order), lattice, order)(p.astype(np.float64))
    np.testing.assert_allclose(evaluate(lattice, (101,), order), reference, atol=1e-6)


def test_upper_end_of_the_domain_belongs_to_the_last_span() -> None:
    basis = basis_at(np.array([0.0, 2.0, 4.0]), 7, 3)
    assert basis.first.tolist() == [0, 2, 3]
    np.testing.assert_allclose(basis.weights[2], np.array([0, 1, 4, 1]) / 6, rtol=1e-7)


@given(st.integers(2, 3000), st.integers(1, 64))
@settings(deadline=None)
def test_stretch_indices_runs_from_zero_to_all_spans_less_a_thousandth_of_a_voxel(
    count: int, spans: int
) -> None:
    p = stretch_indices(count, spans)
    step = spans / (count - 1)
    assert p.dtype == np.float32
    assert p[0] == 0
    assert p[-1] == np.float32(spans) - np.float32(EDGE_IN_VOXELS * step)
    assert (p[:-1] <= p[1:]).all()
    inner = step * np.arange(count - 1)
    np.testing.assert_allclose(p[:-1], inner, rtol=3e-7)


def test_stretch_indices_of_a_single_voxel_is_the_lower_end() -> None:
    assert stretch_indices(1, 5).tolist() == [0]


@given(orders, st.integers(1, 40), st.integers(1, 12))
@settings(deadline=None)
def test_dense_matrix_holds_the_weights_of_every_voxel_at_its_control_points(
    order: int, voxels: int, spans: int
) -> None:
    basis = axis_basis(voxels, spans + order, order)
    matrix = basis.dense(basis.weights)
    assert matrix.shape == (spans + order, voxels)
    assert matrix.dtype == np.float32
    for voxel, (first, weights) in enumerate(zip(basis.first, basis.weights, strict=True)):
        column = np.zeros(spans + order, np.float32)
        column[first : first + order + 1] = weights
        np.testing.assert_array_equal(matrix[:, voxel], column)


@given(orders, st.integers(1, 60), st.integers(1, 12))
@settings(deadline=None)
def test_fit_weights_are_between_nothing_and_the_weight_itself(
    order: int, voxels: int, spans: int
) -> None:
    basis = axis_basis(voxels, spans + order, order)
    weights, fit_weights = basis.weights.astype(np.float64), basis.fit_weights
    assert fit_weights.dtype == basis.squares.dtype == np.float64
    assert (fit_weights >= 0).all()
    assert (fit_weights <= weights * (1 + 1e-15)).all()
    np.testing.assert_array_equal(basis.squares, weights**2)


@given(orders, unit, st.floats(-10, 10))
@settings(deadline=None)
def test_a_single_voxel_is_fitted_exactly(order: int, u: float, residual: float) -> None:
    basis = basis_at(np.array([u]), order + 1, order)
    phi = fit_quotient(residual * basis.fit_weights[0], basis.squares[0])
    # A control point that the voxel hardly reaches stays 0, and hardly matters.
    assert phi @ basis.weights[0] == pytest.approx(residual, rel=1e-4, abs=1e-6)


def two_scale_matrix(control_points: int, order: int) -> Array:
    """Knot halving along one axis as it is without rounding: every second binomial."""
    finer = 2 * control_points - order
    j = np.arange(finer)[:, None] - 2 * np.arange(control_points) + order
    binomials = np.array([comb(order + 1, k) for k in range(order + 2)]) / 2**order
    return np.where((j >= 0) & (j <= order + 1), binomials[np.clip(j, 0, order + 1)], 0.0)


@given(st.sampled_from(VERSIONS), orders, st.integers(1, 20))
@settings(deadline=None)
def test_knot_halving_has_the_exact_weights_but_for_the_rounding_of_itk(
    version: int, order: int, spans: int
) -> None:
    matrix = refinement_matrix(spans + order, order, version)
    assert matrix.shape == (2 * spans + order, spans + order)
    exact = two_scale_matrix(spans + order, order)
    np.testing.assert_allclose(matrix, exact, rtol=0, atol=6e-7)
    np.testing.assert_array_equal(exact.sum(axis=1), 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_cubic_knot_halving_has_the_weights_of_the_table_in_turn(version: int) -> None:
    (e0, e1, e2, e3), (o0, o1, o2, o3) = find_halving_weights(version, 3)
    np.testing.assert_array_equal(
        refinement_matrix(5, 3, version),
        [
            [e0, e1, e2, e3, 0],
            [o0, o1, o2, o3, 0],
            [0, e0, e1, e2, e3],
            [0, o0, o1, o2, o3],
            [0, 0, e0, e1, e2],
            [0, 0, o0, o1, o2],
            [0, 0, 0, e0, e1],
        ],
    )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("spans", [(1,), (5,), (2, 3), (1, 2, 3), (1, 1, 2, 1)])
def test_knot_halving_leaves_the_spline_as_it_is(order: int, spans: tuple[int, ...]) -> None:
    random = np.random.default_rng(prod(spans) * order)
    lattice = random.normal(size=[s + order for s in spans]).astype(np.float32)
    finer = lattice.astype(np.float64)
    for axis, count in enumerate(lattice.shape):
        finer = apply_along_axis(two_scale_matrix(count, order), finer, axis)
    assert finer.shape == tuple(2 * s + order for s in spans)
    counts = (13, 9, 7, 5)[: len(spans)]
    before = evaluate(lattice, counts, order)
    after = evaluate(finer.astype(np.float32), counts, order)
    np.testing.assert_allclose(after, before, atol=1e-6)
    # ITK's rounding changes that by at most 2e-6 of the control points on each axis.
    for version in VERSIONS:
        used = refine(lattice, order, version)
        assert used.dtype == np.float32
        np.testing.assert_allclose(used, finer, atol=2e-6 * len(spans) * np.abs(lattice).max())


@pytest.mark.parametrize("version", [None, *VERSIONS])
@pytest.mark.parametrize("order", ORDERS)
def test_knot_halving_has_the_bits_of_the_product_with_its_matrix(
    order: int, version: int | None
) -> None:
    lattice = np.random.default_rng(order).normal(size=(order + 1, order + 4, order + 2))
    for axis, count in enumerate(lattice.shape):
        product = apply_along_axis(refinement_matrix(count, order, version), lattice, axis)
        assert np.array_equal(refine_axis(lattice, axis, order, version), product)


def test_a_fine_mesh_is_refined_without_a_matrix() -> None:
    lattice = np.zeros((100_000, 4), np.float32)  # whose matrix would have 2e10 elements
    assert refine(lattice, 3, VERSIONS[0]).shape == (199_997, 5)


def test_points_that_are_not_finite_are_refined_without_a_warning() -> None:
    lattice = np.array([[1, np.inf], [-np.inf, np.nan], [3e38, 3e38], [3e38, 3e38]], np.float32)
    assert not np.isfinite(refine(lattice, 1, VERSIONS[0])).all()


def test_a_matrix_is_applied_to_the_axis_that_is_named() -> None:
    random = np.random.default_rng(0)
    array, matrix = random.random((2, 3, 4)), random.random((5, 3))
    applied = apply_along_axis(matrix, array, 1)
    np.testing.assert_allclose(applied, np.einsum("mj,ijk->imk", matrix, array))


def test_control_points_that_feel_no_voxel_are_zero() -> None:
    least = np.float32(EMPTY_OMEGA)
    omega = np.array([0, least, np.nextafter(least, np.float32(1)), 1, -1], np.float64)
    quotient = fit_quotient(np.full(5, 2.0), omega)
    assert quotient[[0, 1, 4]].tolist() == [0, 0, 0]
    assert quotient[2] == np.float32(2) / np.float32(omega[2])
    assert quotient[3] == 2


def test_quotients_that_are_not_finite_are_zero() -> None:
    delta = np.array([np.nan, np.inf, -np.inf, 1e300, 1.0, 3e38])
    omega = np.array([1.0, 1.0, 1.0, 1.0, np.nan, 1e-6])
    with np.errstate(all="ignore"):
        quotient = fit_quotient(delta, omega)
    np.testing.assert_array_equal(quotient, np.zeros(6, np.float32))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
@settings(deadline=None)
def test_quotient_is_the_one_of_float32(delta: float, omega: float) -> None:
    quotient = fit_quotient(np.array([delta]), np.array([omega]))
    assert quotient.dtype == np.float32
    assert quotient[0] == np.float32(delta) / np.float32(omega)


def test_basis_keeps_its_weights_in_float32_as_itk_does() -> None:
    basis = axis_basis(11, 6, 3)
    assert basis.weights.dtype == np.float32
    assert basis.weights.shape == (11, 4)
    assert basis.control_points == 6


def test_order_zero_is_one_everywhere_in_its_span() -> None:
    assert np.array_equal(uniform_bspline(np.linspace(0, 1, 5), 0), np.ones((5, 1)))


@pytest.mark.parametrize("order", ORDERS)
def test_spline_at_single_points_is_that_of_scipy_along_each_axis(order: int) -> None:
    random = np.random.default_rng(order)
    counts = (order + 1, order + 2, order + 4)
    lattice = random.normal(size=counts).astype(np.float32)
    points = [np.append(random.uniform(0, n - order, 7), n - order) for n in counts]
    found = evaluate_points(lattice, points, order)
    assert found.shape == (8,)
    for k, place in enumerate(zip(*points, strict=True)):
        value: Any = lattice.astype(np.float64)
        for n, p in zip(counts, place, strict=True):
            value = BSpline(knots(n, order), value, order)(p)
        assert found[k] == pytest.approx(float(value), abs=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_evaluation_matrix_is_that_of_scipy(order: int) -> None:
    count = order + 4
    p = np.append(np.random.default_rng(order).uniform(0, 4, 20), [0.0, 4.0])
    expected = np.stack([BSpline(knots(count, order), row, order)(p) for row in np.eye(count)], 1)
    np.testing.assert_allclose(evaluation_matrix(p, count, order), expected, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_least_squares_weigh_the_sites_as_they_are_told(order: int) -> None:
    random = np.random.default_rng(order)
    count = order + 4
    p = np.sort(random.uniform(0, 4, 60))
    weights = random.uniform(0.1, 3, 60)
    values = random.normal(size=60)
    root = np.sqrt(weights)
    basis = evaluation_matrix(p, count, order)
    expected = np.linalg.lstsq(basis * root[:, None], values * root, rcond=None)[0]
    found = least_squares_matrix(p, weights, count, order) @ values
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_exact_knot_halving_of_one_axis_leaves_the_spline_in_double_precision(order: int) -> None:
    count = order + 3
    lattice = np.random.default_rng(order).normal(size=(2, count, 3))
    finer = refine_axis(lattice, 1, order)
    assert finer.shape == (2, 2 * count - order, 3)
    p = np.linspace(0, 3, 17)
    before = apply_along_axis(evaluation_matrix(p, count, order), lattice, 1)
    after = apply_along_axis(evaluation_matrix(2 * p, 2 * count - order, order), finer, 1)
    np.testing.assert_allclose(after, before, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_stretched_indices_are_in_single_precision(count: int) -> None:
    assert stretch_indices(count, 4).dtype == np.float32
