"""Images on which ITK 5 does something of its own have its bits too: SimpleITK runs here."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from tests.support import itk
from tests.support.bits import check_run

SHAPE = (9, 10, 11)
KEYWORDS: dict[str, Any] = {"iters": (4, 3), "conv_threshold": 0.001}

Given = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8] | None]


def make_noise() -> npt.NDArray[np.float32]:
    return (np.random.default_rng(3).random(SHAPE) * 100 + 1).astype(np.float32)


def darken_first_voxel() -> Given:
    """The first voxel alone is the least: it never becomes the minimum of the histogram."""
    image = make_noise()
    image[0, 0, 0] = 0.5
    return image, None


def darken_first_voxels(number: int) -> Given:
    """Several equal voxels at the start are the least: the second one is tested for it."""
    image = make_noise()
    image.ravel()[:number] = 0.5
    return image, None


def darken_first_voxel_of_the_mask() -> Given:
    image, _ = darken_first_voxel()
    mask = (image > 20).astype(np.uint8)
    first = tuple(np.argwhere(mask)[0])
    image[first] = 0.7
    return image, mask


def rise(step: int = 1) -> Given:
    """Every voxel raises the maximum, so that none is tested for the minimum."""
    count = int(np.prod(SHAPE))
    return np.arange(1, count + 1, dtype=np.float32)[::step].reshape(SHAPE), None


def rise_to_the_last() -> Given:
    """All voxels but the last one rise."""
    image, _ = rise()
    image[-1, -1, -1] = 3.5
    return image, None


def be_constant_in_the_mask() -> Given:
    image = make_noise()
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:7, 2:8, 3:9] = 1
    image[mask > 0] = 7
    return image, mask


def have_few_voxels() -> Given:
    """The mask has fewer voxels than there are work units, so that all units but one are empty."""
    mask = np.zeros(SHAPE, np.uint8)
    mask.ravel()[::40] = 1
    assert mask.sum() == 25
    return make_noise(), mask


def plane_with_its_darkest_voxel_first() -> Given:
    image = make_noise()[:, 0]
    image[0, 0] = 0.5
    return image, None


IMAGES = {
    "the darkest voxel is the first": darken_first_voxel(),
    "the two darkest voxels are the first": darken_first_voxels(2),
    "the darkest voxel is the first of the mask": darken_first_voxel_of_the_mask(),
    "the darkest voxel is the first of a plane": plane_with_its_darkest_voxel_first(),
    "strictly rising": rise(),
    "strictly falling": rise(step=-1),
    "rising to the last but one": rise_to_the_last(),
    "constant": (np.full(SHAPE, 7, np.float32), None),
    "constant, of a logarithm of 0": (np.full(SHAPE, 1, np.float32), None),
    "constant in the mask": be_constant_in_the_mask(),
    "two intensities": (np.where(make_noise() > 50, 2, 1).astype(np.float32), None),
    "few voxels": have_few_voxels(),
    "nothing but negative intensities": (-make_noise() / 50, None),
    "intensities from 1e-30 to 1e30": (np.power(10, make_noise() * 0.6 - 30.6), None),
}


@pytest.mark.parametrize("threads", [1, 3, 64])
@pytest.mark.parametrize("name", IMAGES)
def test_image_has_the_bits_of_simpleitk(name: str, threads: int) -> None:
    image, mask = IMAGES[name]
    theirs = itk.correct(image, mask, threads=threads, **KEYWORDS)
    ours = n4ax.fit(
        image,
        "all" if mask is None else mask,
        arithmetic="itk",
        itk_threads=threads,
        **KEYWORDS,
    )
    check_run(ours, theirs)


@pytest.mark.parametrize("iters", [(4, 0), (3, 2, 0, 0), (3, 0, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_levels_without_iterations_have_the_bits_of_simpleitk(
    iters: tuple[int, ...], dtype: type[np.floating[Any]]
) -> None:
    """ITK refines its lattice for the last level, but divides by the field from before."""
    image = make_noise().astype(dtype)
    keywords: dict[str, Any] = {"iters": iters, "conv_threshold": 0.0}
    theirs = itk.correct(image, None, threads=2, **keywords)
    check_run(n4ax.fit(image, "all", arithmetic="itk", itk_threads=2, **keywords), theirs)


def test_last_level_without_iterations_after_shrinking_has_the_bits_of_simpleitk() -> None:
    image = make_noise()
    keywords: dict[str, Any] = {"iters": (4, 0), "conv_threshold": 0.0, "shrink_factor": 2}
    theirs = itk.correct(image, None, threads=2, **keywords)
    check_run(n4ax.fit(image, "all", arithmetic="itk", itk_threads=2, **keywords), theirs)


def test_a_threshold_beyond_single_precision_ends_every_level_at_once() -> None:
    result = n4ax.fit(make_noise(), "all", arithmetic="itk", iters=(4, 3), conv_threshold=1e300)
    assert result.iterations == [1, 1]
