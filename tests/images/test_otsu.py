"""Otsu's mask is SimpleITK's, voxel for voxel."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from n4ax import otsu_mask
from n4ax.images.otsu import FEW_VALUES, _count

TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64)


def simpleitk(image: npt.NDArray[Any], nbins: int = 200) -> npt.NDArray[np.uint8]:
    given = sitk.GetImageFromArray(np.ascontiguousarray(image))
    return sitk.GetArrayFromImage(sitk.OtsuThreshold(given, 0, 1, nbins))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("seed", range(12))
def test_random_images(dtype: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(5, 40, random.integers(2, 4)))
    image = random.gamma(2, random.uniform(0.1, 300), shape)
    if seed % 2:
        image[random.random(shape) < 0.5] = 0
    if seed % 3 == 0 and np.dtype(dtype).kind != "u":
        image -= image.mean()
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        image = np.clip(image, info.min, info.max)
    image = image.astype(dtype)
    nbins = (200, 2, 64, 333)[seed % 4]
    assert np.array_equal(otsu_mask(image, nbins), simpleitk(image, nbins))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("seed", range(8))
def test_images_of_few_values_or_of_all_that_the_type_holds(dtype: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    if seed % 2 or np.dtype(dtype).kind == "f":
        image = random.choice([0, 1, 2, 7, 100, 101], (11, 13)).astype(dtype)
    else:
        info = np.iinfo(dtype)
        image = random.integers(info.min, info.max, (11, 13), dtype, endpoint=True)
    for nbins in (2, 3, 7, 200, 256):
        assert np.array_equal(otsu_mask(image, nbins), simpleitk(image, nbins)), nbins


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lowest", [0.0, -700.0, 1e5])
def test_values_beside_the_edges_of_bins_go_to_their_own_side(dtype: type, lowest: float) -> None:
    edges = lowest + np.arange(201) * 7.3
    beside = edges.astype(dtype)
    ends = [np.nextafter(beside, dtype(towards)) for towards in (-np.inf, np.inf)]
    values = np.tile(np.concatenate([beside, *ends]), 100)
    assert values.size > FEW_VALUES
    inner = np.searchsorted(edges[1:-1], values.astype(np.float64), side="right")
    np.testing.assert_array_equal(_count(values, edges), np.bincount(inner, minlength=200))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value", [0, 1, 100])
def test_constant_images(dtype: Any, value: int) -> None:
    image = np.full((5, 6), value, dtype)
    assert np.array_equal(otsu_mask(image), simpleitk(image))


@pytest.mark.parametrize(
    "name", ["pelvis_tfl_small_64x48x36_prostatex", "abdomen_mr_3mm_negative_totalseg",
             "flair_head_tcga_thick5p5mm_oblique", "t1gd_brain_skullstripped_uint8_sclslope"],
)  # fmt: skip
def test_real_volumes_in_the_type_they_are_stored_in(shared: Path, name: str) -> None:
    image = np.asarray(nib.load(shared / "data" / f"{name}.nii.gz").dataobj.get_unscaled())
    assert image.dtype.kind in "iu"
    assert np.array_equal(otsu_mask(image), simpleitk(image))


@pytest.mark.parametrize(
    "name",
    ["t1w_head_memprage_3t_fnndsc_adi", "abdomen_mr_3mm_negative_totalseg",
     "t1gd_brain_skullstripped_uint8_sclslope", "brain_2d_rss8ch_sigpy"],
)  # fmt: skip
def test_real_volumes(shared: Path, name: str) -> None:
    image = np.asarray(nib.load(shared / "data" / f"{name}.nii.gz").dataobj, np.float32)
    assert np.array_equal(otsu_mask(image), simpleitk(image))


def test_memory_layout_does_not_matter() -> None:
    image = np.random.default_rng(0).gamma(2, 50, (20, 30, 40))
    expected = otsu_mask(image)
    assert np.array_equal(otsu_mask(np.asfortranarray(image)), expected)
    assert np.array_equal(otsu_mask(image[::-1])[::-1], expected)
    every_second = image[::2, :, ::3]
    assert np.array_equal(otsu_mask(every_second), otsu_mask(every_second.copy()))


def test_values_that_are_not_finite_are_left_out() -> None:
    image = np.random.default_rng(0).gamma(2, 50, (20, 30)).astype(np.float32)
    expected = otsu_mask(image)
    dirty = np.concatenate([image, np.full((1, 30), np.nan, np.float32)])
    assert np.array_equal(otsu_mask(dirty)[:-1], expected)
    assert not otsu_mask(dirty)[-1].any()


@pytest.mark.parametrize(
    ("volume", "nbins", "words"),
    [
        (np.ones((3, 3)), 1, "nbins is 1"),
        (np.ones((3, 3)), 2.5, "nbins is 2.5"),
        (np.ones((3, 3)), "few", "nbins is 'few'"),
        (np.ones((3, 3)), 2**31, "at most 65536"),
        (np.ones((0, 3), np.int16), 200, "at least one voxel"),
        (np.ones((3, 3), complex), 200, "complex128"),
        (np.full((3, 3), np.nan), 200, "no finite value"),
        (np.ones((0, 3)), 200, "at least one voxel"),
    ],
)
def test_bad_input_is_refused(volume: npt.NDArray[Any], nbins: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        otsu_mask(volume, nbins)
