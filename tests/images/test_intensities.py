"""Which intensities are refused, wherever they are in the mask."""

from typing import Any

import numpy as np
import pytest

import n4ax
from n4ax.images.intensities import check_finite

LARGE = 3e38
"""Single precision holds this, but not its square."""


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_voxel_in_the_mask_is_looked_at(dtype: type, bad: float, order: Any) -> None:
    image = np.random.default_rng(0).normal(0, 100, (300, 400)).astype(dtype, order=order)
    inside = np.ones(image.shape, bool)
    check_finite(image, inside, None)
    with np.errstate(over="ignore"):
        image[201, 303] = bad
    words = "beyond 3.4e" if np.isfinite(image[201, 303]) else "1 NaN or infinite voxels"
    with pytest.raises(ValueError, match=words):
        check_finite(image, inside, None)
    with pytest.raises(ValueError, match=words):
        n4ax.n4(np.abs(image), "all", shrink_factor=4, iters=(1,))
    inside[201, 303] = False
    check_finite(image, inside, None)
    check_finite(image, np.ones(image.shape, bool), inside.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_intensities_that_single_precision_holds_are_taken(dtype: type) -> None:
    image = np.full((30, 40), LARGE, dtype)
    check_finite(image, np.ones(image.shape, bool), None)
    check_finite(image[::2, ::-1], np.ones((15, 40), bool), None)
