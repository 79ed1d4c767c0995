"""Small simulated heads with their tissues, on which settings are chosen in a moment."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tests.verdict.phantoms import SPACING, make_head, make_places


class Head(NamedTuple):
    """A head; all arrays have one shape."""

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    """1 where the dark tissue is, 2 where the bright one is, and 0 outside the head."""
    spacing: float
    """Voxel size in mm."""


def make_small_head(swing: float = 0.4, step: int = 2) -> Head:
    """A head under a field.

    Parameters
    ----------
    swing
        By how much the log field differs between the ends of the image.
    step
        Every so many voxels of 4 mm are taken.
    """
    image, log_bias, inside = make_head(swing)
    bright = image / np.exp(log_bias) > 375
    # The rim is dark as in a brain, more so on one side, and a correction takes it for shading.
    at = make_places()
    rim = bright & (np.sqrt((at**2).sum(0)) + 0.3 * at[0] > 0.6)
    image, bright = np.where(rim, image * np.float32(300 / 450), image), bright & ~rim
    labels = np.where(inside, 1 + bright, 0)
    every: Any = (slice(None, None, step),) * 3
    return Head(
        np.ascontiguousarray(image[every]),
        np.ascontiguousarray(inside[every].astype(np.uint8)),
        np.ascontiguousarray(labels[every].astype(np.uint8)),
        SPACING * step,
    )
