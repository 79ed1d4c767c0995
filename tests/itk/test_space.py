"""Positions of voxels in space, compared with ITK's bit by bit."""

import numpy as np
import pytest

from n4ax.itk.space import Space, drop_last_ones, normalise
from tests.itk.random_images import random_image


@pytest.mark.parametrize("ndim", [2, 3])
def test_points_are_those_of_itk_to_the_last_bit(ndim: int) -> None:
    for seed in range(100):
        image, space = random_image(seed, ndim)
        voxel = [int(n) for n in np.random.default_rng(seed).integers(-50, 50, ndim)]
        between = [n + 0.5 for n in voxel]
        assert space.locate_voxel(voxel) == image.TransformIndexToPhysicalPoint(voxel)
        expected = image.TransformContinuousIndexToPhysicalPoint(between)
        assert space.locate_position(between) == expected


def test_affine_leads_to_a_space_and_back() -> None:
    affine = np.array(
        [[0.0, -1.2, 0, 4], [0.9, 0, 0, -30], [0, 0, 2.5, 7], [0, 0, 0, 1]], np.float64
    )
    space = Space.from_affine(affine, 3)
    assert space.spacing == pytest.approx((0.9, 1.2, 2.5))
    assert space.origin == (-4, 30, 7)
    np.testing.assert_allclose(space.to_affine(), affine)
    assert Space.from_affine(affine, 4).to_affine() is None


def test_an_affine_is_taken_in_double_precision() -> None:
    for seed in range(4):
        single = np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32)
        assert Space.from_affine(single, 3) == Space.from_affine(single.astype(np.float64), 3)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e300])
def test_an_affine_out_of_range_gives_no_warning(value: float) -> None:
    # Warnings are errors in the tests; the image is refused later, with the reason.
    for row, column in ((0, 0), (0, 3)):
        affine = np.eye(4)
        affine[row, column] = value
        space = Space.from_affine(affine, 3)
        assert not np.isfinite([*space.spacing, *space.origin]).all()


def test_a_vector_without_a_length_has_no_direction() -> None:
    tiny, endless = np.array([1e-200, 0, 0]), np.array([np.inf, 1, 0])
    assert np.array_equal(normalise(tiny), tiny)
    np.testing.assert_array_equal(normalise(endless), [np.nan, 0, 0])


def test_an_axis_without_a_length_has_voxels_of_1_mm() -> None:
    space = Space.from_affine([[2, 0, 0, 1], [0, 3, 0, 2], [0, 0, 0, 4], [0, 0, 0, 1]], 3)
    assert space.spacing == (2, 3, 1)
    assert space.origin == (-1, -2, 4)
    assert np.array_equal(space.direction, np.diag([-1, -1, 1]))
    exact = Space.from_affine(np.diag([0.1, 0.2, 0.3, 1]).astype(np.float32), 3)
    assert exact.spacing == tuple(np.float32([0.1, 0.2, 0.3]).tolist())


def test_axes_that_do_not_span_their_space_are_straightened() -> None:
    sagittal = Space((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), ((0, 0, 1), (1, 0, 0), (0, 1, 0)))
    assert sagittal.select_axes((0, 1)) == Space((1.0, 2.0), (4.0, 5.0), ((1, 0), (0, 1)))
    assert sagittal.select_axes((0, 1, 2)) == sagittal
    straight = Space(sagittal.spacing, sagittal.origin, ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    assert sagittal.straighten() == straight


def test_differences_are_measured_in_voxels() -> None:
    space = Space.from_spacing((2.0, 1.0))
    moved = Space(space.spacing, (0.01, 0.0), space.direction)
    assert space.describe_difference(moved, 0.006) is None
    assert space.describe_difference(moved, 0.004) == "origins (0, 0) and (0.01, 0)"
    larger = Space.from_spacing((2.0, 1.1))
    assert "voxel sizes" in str(space.describe_difference(larger, 1e-3))


def test_axes_of_length_one_are_dropped_only_at_the_end() -> None:
    assert drop_last_ones((1, 5, 1, 1)) == (1, 5)
    assert drop_last_ones((5, 1, 1, 1), least=3) == (5, 1, 1)
    assert drop_last_ones((1, 1)) == ()


def test_an_image_at_infinity_has_no_voxels() -> None:
    space = Space((1.0, 1.0), (0.0, -np.inf), ((1, 0), (0, 1)))
    with pytest.raises(ValueError, match=r"image has an origin that is not finite \(0, -inf\)"):
        space.find_voxel((0.0, 0.0))
