"""What is estimated on: the checks of the input, and the sampling."""

from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pytest

import n4ax
from n4ax.images.otsu import otsu_mask
from n4ax.posing import pose
from n4ax.settings import N4Settings

IMAGE = np.random.default_rng(0).gamma(3, 40, (12, 14, 16)).astype(np.float32)
MASK = IMAGE > 60


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": IMAGE[0, 0]}, "image has shape"),
        ({"image": IMAGE.reshape(2, 6, 2, 7, 16)}, "expected 2, 3 or 4"),
        ({"image": IMAGE.astype(complex)}, "image has dtype complex"),
        ({"image": np.full_like(IMAGE, 3)}, "image is constant in the mask"),
        ({"mask": MASK[1:]}, "mask has shape"),
        ({"mask": MASK * 0}, r"mask has no voxel other than 0 \(values found: 0\)"),
        ({"mask": MASK & False}, r"mask has no voxel other than 0 \(values found: 0\)"),
        ({"mask": MASK * 1j}, "mask has dtype complex"),
        ({"mask": MASK.astype(str)}, "mask has dtype <U5"),
        ({"mask": MASK * 3, "mask_label": 2}, r"equal to mask_label=2 \(values found: 0, 3\)"),
        ({"mask": np.where(MASK, 1, np.nan)}, "mask has NaN"),
        ({"mask": "skull"}, "mask is 'skull'"),
        ({"weights": MASK[1:]}, "weights have shape"),
        ({"weights": MASK * 1j}, "weights has dtype complex"),
        ({"weights": -1.0 * MASK}, "weights have no positive voxel"),
        ({"weights": np.where(MASK, 1, np.inf)}, "weights have NaN or infinite"),
        ({"weights": 1.0 * ~MASK}, "no voxel is left"),
        ({"spline_distance": 50.0}, "pass spacing"),
        ({"spacing": (1.0, 2.0)}, "spacing is"),
        ({"spacing": 0.0}, "spacing is"),
        ({"spacing": (1.0, np.nan, 1.0)}, "spacing is"),
        ({"image": IMAGE[:0]}, "image has shape"),
        ({"image": IMAGE.astype(object)}, "image has dtype object"),
        ({"image": np.full_like(IMAGE, np.nan), "mask": "all"}, "image has 2688 NaN"),
        ({"image": np.full_like(IMAGE, 3), "mask": "otsu"}, "image has no voxel above its Otsu"),
        ({"image": np.ones(IMAGE.shape, bool), "mask": "all"}, "image is constant in the mask"),
        ({"shrink_factor": 8}, "image has 1 voxel on axis 0 after shrinking by 8; a field needs 2"),
        ({"mesh": (1, 2)}, "mesh has 2 values"),
        ({"shrink_factor": (2, 2)}, "shrink_factor has 2 values"),
        ({"control_points": (4, 4)}, "control_points has 2 values"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], words: str) -> None:
    image, mask = change.pop("image", IMAGE), change.pop("mask", None)
    weights, spacing = change.pop("weights", None), change.pop("spacing", None)
    if mask is None:
        mask = MASK if image.shape == MASK.shape else "all"
    with pytest.raises(ValueError, match=words):
        pose(image, mask, weights, spacing, N4Settings(**change))


def test_mask_is_all_but_zero_or_one_label_or_otsus_or_everything() -> None:
    labels = np.random.default_rng(2).integers(-1, 4, IMAGE.shape)
    for label, inside in ((None, labels != 0), (3, labels == 3), (-1, labels == -1)):
        problem = pose(IMAGE, labels, None, None, N4Settings(mask_label=label)).problem
        assert np.array_equal(problem.included, inside)
    for mask in (None, "otsu"):
        assert np.array_equal(pose(IMAGE, mask, None, None, N4Settings()).mask, otsu_mask(IMAGE))
    for word in ("all", "none"):
        assert pose(IMAGE, word, None, None, N4Settings()).problem.included.all()
    for word in (None, "otsu", "all"):
        with pytest.raises(ValueError, match="mask_label is 3, which chooses a value of a mask"):
            pose(IMAGE, word, None, None, N4Settings(mask_label=3))


@pytest.mark.parametrize("spacing", [2.0, (2.0, 2.0), (2.0, 9.0, 2.0), np.array([2.0])])
def test_axes_of_length_one_do_not_count(spacing: Any) -> None:
    settings = N4Settings(spline_distance=15.0, shrink_factor=(2, 1))
    flat = pose(IMAGE[0], MASK[0], None, 2.0, settings).problem
    mask = MASK[0][:, None]
    thin = pose(IMAGE[0][:, None], mask, mask, spacing, settings).problem
    assert np.array_equal(thin.intensities, flat.intensities)
    assert np.array_equal(thin.included, flat.included)
    assert (thin.axes, thin.control_points) == (flat.axes, flat.control_points)


def test_bad_voxels_count_only_in_the_mask() -> None:
    dirty = IMAGE.copy()
    dirty[~MASK] = np.nan
    assert pose(dirty, MASK, None, None, N4Settings()).problem.included.sum() == MASK.sum()
    dirty[tuple(np.argwhere(MASK)[0])] = np.inf
    with pytest.raises(ValueError, match="1 NaN or infinite voxels in the mask"):
        pose(dirty, MASK, None, None, N4Settings())
    problem = pose(dirty, MASK, None, None, N4Settings(nonfinite="exclude")).problem
    assert problem.included.sum() == MASK.sum() - 1


@pytest.mark.parametrize("engine", ["cpu", "xla"])
def test_bad_voxels_between_the_samples_are_refused_too(engine: Any) -> None:
    settings = N4Settings(shrink_factor=4)
    taken = tuple(axis.sampled_voxels for axis in pose(IMAGE, MASK, None, None, settings)[0].axes)
    between = np.ones(IMAGE.shape, bool)
    between[taken] = False
    inside, outside = (
        tuple(np.argwhere(between & place)[5]) for place in (MASK, ~MASK)
    )  # a voxel of the mask that is not sampled, and one outside of it
    for value, words in ((np.nan, "1 NaN or infinite voxels"), (1e39, "1 voxels in the mask bey")):
        dirty = IMAGE.astype(np.float64)
        dirty[outside] = value
        assert np.isfinite(n4ax.n4(dirty, MASK, engine=engine, shrink_factor=4)[MASK]).all()
        dirty[inside] = value
        with pytest.raises(ValueError, match=words):
            n4ax.n4(dirty, MASK, engine=engine, shrink_factor=4)
        weights = np.ones(IMAGE.shape)
        weights[inside] = 0.0
        n4ax.n4(dirty, MASK, weights=weights, engine=engine, shrink_factor=4)
        left = n4ax.fit(dirty, MASK, engine=engine, shrink_factor=4, nonfinite="exclude")
        assert np.isfinite(left.log_bias).all()


def test_sampled_voxels_mask_and_weights_go_together() -> None:
    weights = np.random.default_rng(1).random(IMAGE.shape).astype(np.float32)
    weights[weights < 0.2] = 0
    problem, mask, _ = pose(IMAGE, MASK, weights, None, N4Settings(shrink_factor=(1, 2, 3)))
    taken = tuple(axis.sampled_voxels for axis in problem.axes)
    assert problem.intensities.shape == (12, 7, 5)
    assert np.array_equal(problem.intensities, IMAGE[taken])
    assert problem.weights is not None
    assert np.array_equal(problem.weights, weights[taken])
    assert np.array_equal(problem.included, (MASK & (weights > 0))[taken])
    assert np.array_equal(mask, MASK)


def test_voxel_order_f_turns_everything() -> None:
    settings = N4Settings(shrink_factor=(1, 2, 3), control_points=(6, 5, 4), voxel_order="F")
    plain = pose(IMAGE, MASK, IMAGE, None, replace(settings, voxel_order="C")).problem
    problem = pose(IMAGE, MASK, IMAGE, None, settings).problem
    for name in ("intensities", "included", "weights"):
        assert np.array_equal(getattr(problem, name), getattr(plain, name).T), name
    assert problem.control_points == (4, 5, 6)
    assert [axis.shrink for axis in problem.axes] == [3, 2, 1]


@pytest.mark.parametrize(
    ("keywords", "points"),
    [
        ({}, (4, 4, 4)),
        ({"spline_order": 2}, (4, 4, 4)),
        ({"spline_order": 5}, (6, 6, 6)),
        ({"mesh": 1, "spline_order": 2}, (3, 3, 3)),
        ({"mesh": (1, 2, 3)}, (4, 5, 6)),
        ({"control_points": (5, 4, 6)}, (5, 4, 6)),
        ({"spline_distance": 10.0}, (5, 5, 5)),
    ],
)
def test_mesh_of_the_first_level(keywords: dict[str, Any], points: tuple[int, ...]) -> None:
    problem = pose(IMAGE, MASK, None, 1.0, N4Settings(**keywords)).problem
    assert problem.control_points == points


def test_padding_of_a_spline_distance_is_never_sampled() -> None:
    problem = pose(IMAGE, MASK, None, 1.0, N4Settings(spline_distance=20.0)).problem
    assert [axis.padded for axis in problem.axes] == [21, 21, 21]
    assert problem.intensities.shape == IMAGE.shape
    bases = [axis.sample_basis(4, 3) for axis in problem.axes]
    assert [len(basis.first) for basis in bases] == list(IMAGE.shape)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_the_own_mask_of_8_bits_is_that_of_the_same_intensities_in_float32(dtype: Any) -> None:
    # otsu_mask has the bins of ITK for 8-bit types, which give another mask here.
    random = np.random.default_rng(1)
    image = np.minimum(random.gamma(2.0, 10.0, (12, 14, 8)), np.iinfo(dtype).max).astype(dtype)
    single = image.astype(np.float32)
    assert not np.array_equal(otsu_mask(image), otsu_mask(single))
    settings = N4Settings(iters=(1,), shrink_factor=1)
    for array in (image, da.from_array(image)):
        mask = pose(array, "otsu", None, None, settings).mask
        assert np.array_equal(np.asarray(mask), otsu_mask(single))
