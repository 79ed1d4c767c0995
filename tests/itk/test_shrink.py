"""The samples of a shrunken image, compared with those that ITK's shrink filter takes."""

import numpy as np
import pytest
import SimpleITK as sitk

from n4ax.itk.shrink import choose_samples
from tests.itk.random_images import random_image


@pytest.mark.parametrize("ndim", [2, 3])
def test_samples_of_oblique_images_are_those_of_itk(ndim: int) -> None:
    for seed in range(150):
        image, space = random_image(seed, ndim)
        factors = [int(s) for s in np.random.default_rng(seed).integers(1, 6, ndim)]
        shape = image.GetSize()
        axes = choose_samples(shape, factors, [(0, 0)] * ndim, space)
        at = np.ix_(
            *(axis.first + factor * np.arange(axis.number)
              for axis, factor in zip(axes, factors, strict=True))
        )  # fmt: skip
        found = np.arange(np.prod(shape)).reshape(shape)[at]
        expected = sitk.GetArrayFromImage(sitk.Shrink(image, factors)).T
        np.testing.assert_array_equal(found, expected, err_msg=str(seed))
