"""Sampling and padding of an axis, compared with ITK's shrink filter and ANTs' spline distance."""

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from n4ax.itk.space import Space
from n4ax.method.bspline import axis_basis
from n4ax.method.grid import Axis, padding_for_distance, sample_axes

EXACT_SPACINGS = [1.0, 0.5, 3.0, 0.71875]
"""Binary fractions, with which products are exact: a half stays a half, and is rounded up."""

ROUNDED_SPACINGS = [0.7, 1.1, 1 / 3, 0.1, 0.802, 0.898, 1.0000001]
"""With these, a product that should be a half may come out just below it."""


def sample_axis(count: int, shrink: int, spacing: float, lower: int = 0, upper: int = 0) -> Axis:
    """A single axis along an axis of space."""
    return sample_axes([count], [shrink], [(lower, upper)], Space.from_spacing([spacing]))[0]


axes = st.builds(
    sample_axis,
    count=st.integers(1, 300),
    shrink=st.integers(1, 9),
    spacing=st.sampled_from(EXACT_SPACINGS + ROUNDED_SPACINGS),
    lower=st.integers(0, 200),
    upper=st.integers(0, 200),
)


def shrink_with_itk(
    count: int, shrink: int, spacing: float, lower: int = 0, upper: int = 0
) -> list:
    """The voxels that SimpleITK takes from an image of indices, with -1 in the padding."""
    indices = SimpleITK.GetImageFromArray(np.arange(count, dtype=np.int32)[None])
    indices.SetSpacing((spacing, 1.0))
    padded = SimpleITK.ConstantPad(indices, (lower, 0), (upper, 0), -1) if upper else indices
    return SimpleITK.GetArrayFromImage(SimpleITK.Shrink(padded, (shrink, 1)))[0].tolist()


def list_voxels(axis: Axis) -> list[int]:
    """The voxel under every sample, with -1 in the padding."""
    voxels = axis.first + axis.shrink * np.arange(axis.samples)
    return np.where((voxels >= 0) & (voxels < axis.count), voxels, -1).tolist()


@pytest.mark.parametrize("spacing", EXACT_SPACINGS + ROUNDED_SPACINGS)
@pytest.mark.parametrize("shrink", range(1, 7))
def test_samples_are_the_voxels_that_itk_shrinks_to(shrink: int, spacing: float) -> None:
    for count in [*range(1, 40), 160, 181, 192, 217, 256, 257, 320, 511]:
        axis = sample_axis(count, shrink, spacing)
        assert list_voxels(axis) == shrink_with_itk(count, shrink, spacing), count


def test_a_half_voxel_that_is_rounded_down_in_double_is_rounded_down_here() -> None:
    offsets = {spacing: sample_axis(16, 2, spacing).first for spacing in ROUNDED_SPACINGS}
    assert sample_axis(16, 2, 1.0).first == 1
    assert set(offsets.values()) == {0, 1}


@given(
    count=st.integers(1, 120),
    shrink=st.integers(1, 6),
    lower=st.integers(0, 12),
    more=st.integers(0, 1),
    spacing=st.sampled_from([1.0, 0.5, 3.0]),
)
@settings(deadline=None, max_examples=200)
def test_samples_of_a_padded_axis_are_the_voxels_that_itk_shrinks_to(
    count: int, shrink: int, lower: int, more: int, spacing: float
) -> None:
    # SimpleITK numbers voxels from the start of the padding, ANTs from the start of the image. The
    # samples are the same if the padding before the image is a multiple of the factor.
    lower *= shrink
    axis = sample_axis(count, shrink, spacing, lower, lower + more)
    assert list_voxels(axis) == shrink_with_itk(count, shrink, spacing, lower, lower + more)


@given(
    count=st.integers(1, 300),
    shrink=st.integers(1, 6),
    lower=st.integers(0, 100),
    more=st.integers(0, 1),
    spacing=st.sampled_from(EXACT_SPACINGS),
)
@settings(deadline=None)
def test_padded_samples_are_centred_but_start_no_lower_than_the_first_whole_step(
    count: int, shrink: int, lower: int, more: int, spacing: float
) -> None:
    padded = 2 * lower + count + more
    centred = (padded - 1 - shrink * (max(1, padded // shrink) - 1) + 1) // 2
    first = sample_axis(count, shrink, spacing, lower, lower + more).first
    assert first == -lower + max(centred, lower % shrink)


@pytest.mark.parametrize(
    ("count", "lower", "upper", "first"),
    [
        # By hand: -lower + (lower mod 4) + max(0, centre offset - (lower mod 4))
        (192, 4, 5, -4 + 2),
        (181, 10, 10, -8 + 0),
        (160, 20, 21, -20 + 2),
        (161, 3, 4, 0 + 0),  # clamped: centre offset 1.5, rounded up to 2, minus 3
        (161, 5, 5, -4 + 2),
        (163, 5, 6, -4 + 2),  # centre offset 2.5, rounded up to 3, minus 1
        (163, 4, 4, -4 + 3),
    ],
)
def test_padding_counts_from_the_image_and_the_offset_is_not_below_zero(
    count: int, lower: int, upper: int, first: int
) -> None:
    assert sample_axis(count, 4, 1.0, lower, upper).first == first


@pytest.mark.parametrize(
    ("count", "spans", "lower", "upper"),
    [(160, 1, 20, 21), (181, 1, 10, 10), (192, 1, 4, 5), (217, 2, 92, 92), (256, 2, 72, 73)],
)
def test_two_hundred_millimetres_pad_a_one_millimetre_image_as_in_ants(
    count: int, spans: int, lower: int, upper: int
) -> None:
    assert padding_for_distance(count, 1.0, 200.0) == (spans, lower, upper)


def test_padding_of_fmriprep_is_that_of_its_log() -> None:
    laid = [padding_for_distance(n, step, 200.0) for n, step in ((160, 1.0), (192, 1.333))]
    assert [spans + 3 for spans, _, _ in laid] == [4, 5]
    assert [n + lower + upper for n, (_, lower, upper) in zip((160, 192), laid, strict=True)] == [
        201,
        301,
    ]


@given(st.integers(2, 600), st.floats(0.1, 8), st.floats(5, 900))
@settings(deadline=None)
def test_padded_axis_is_a_whole_number_of_elements_to_half_a_voxel(
    count: int, spacing: float, distance: float
) -> None:
    spans, lower, upper = padding_for_distance(count, spacing, distance)
    assert lower >= 0
    assert 0 <= upper - lower <= 1
    domain = (count - 1 + lower + upper) * spacing
    # Half a voxel, plus the rounding of the float32 products.
    assert abs(domain - spans * distance) <= spacing * 0.5 + 1e-6 * (domain + spans * distance)
    assert (spans - 1) * distance <= (count - 1) * spacing * (1 + 1e-6)


@given(axes)
@settings(deadline=None, max_examples=500)
def test_sampled_voxels_are_those_of_the_samples_on_the_image(axis: Axis) -> None:
    voxels = list_voxels(axis)
    on_image = [sample for sample, voxel in enumerate(voxels) if voxel >= 0]
    assert list(axis.inside) == on_image
    assert np.arange(axis.count)[axis.sampled_voxels].tolist() == [
        voxels[sample] for sample in on_image
    ]
    assert axis.sampled_voxels.start >= 0


@given(axes)
@settings(deadline=None)
def test_samples_stay_on_the_padded_axis(axis: Axis) -> None:
    assert axis.padded == axis.lower + axis.count + axis.upper
    assert axis.samples == max(1, axis.padded // axis.shrink)
    assert axis.first >= -axis.lower
    assert axis.first + axis.shrink * (axis.samples - 1) < axis.count + axis.upper


@given(st.integers(2, 90), st.integers(1, 6), st.integers(1, 5))
@settings(deadline=None)
def test_basis_on_the_own_grid_is_that_of_the_axis_where_nothing_is_padded(
    count: int, spans: int, order: int
) -> None:
    own = sample_axis(count, 1, 1.0).stretched_basis(count, spans + order, order)
    plain = axis_basis(count, spans + order, order)
    np.testing.assert_array_equal(own.first, plain.first)
    np.testing.assert_array_equal(own.weights, plain.weights)


def test_basis_stretches_over_any_number_of_voxels_and_ignores_the_shrinking() -> None:
    stretched = sample_axis(50, 4, 1.0).stretched_basis(23, 6, 3)
    np.testing.assert_array_equal(stretched.weights, axis_basis(23, 6, 3).weights)


def test_basis_on_a_padded_axis_is_the_middle_of_that_of_the_whole() -> None:
    axis = sample_axis(30, 1, 1.0, 5, 6)
    whole, own = axis_basis(41, 7, 3), axis.stretched_basis(30, 7, 3)
    np.testing.assert_array_equal(own.weights, whole.weights[5:35])
    np.testing.assert_array_equal(axis.sample_basis(7, 3).weights, own.weights)
    finer = axis.stretched_basis(59, 7, 3)
    np.testing.assert_allclose(
        finer.dense(finer.weights)[:, ::2], own.dense(own.weights), atol=1e-6
    )


def test_samples_in_the_padding_are_counted_but_have_no_basis() -> None:
    axis = sample_axis(10, 2, 1.0, 6, 6)
    assert axis.samples == 11
    whole = axis_basis(11, 5, 3)
    basis = axis.sample_basis(5, 3)
    np.testing.assert_array_equal(basis.first, whole.first[3:8])
    np.testing.assert_array_equal(basis.weights, whole.weights[3:8])


def test_fitted_coordinate_runs_from_the_first_to_the_last_sample_and_stops_there() -> None:
    axis = sample_axis(16, 4, 1.0)
    assert (axis.first, axis.samples) == (2, 4)
    voxels = np.array([-3.0, 0, 2, 8, 14, 15, 99])
    np.testing.assert_allclose(axis.fitted_coordinate(voxels, 3), [0, 0, 0, 1.5, 3, 3, 3])


def test_an_axis_is_neither_padded_nor_shrunk_by_default() -> None:
    assert Axis(5) == Axis(5, lower=0, upper=0, shrink=1, first=0, samples=0, every=1)
    assert Axis(5).padded == 5
    assert Axis(5).inside == range(0)
