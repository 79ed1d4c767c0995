"""What ANTs does around N4: what it restores outside the mask, and how it rescales."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.correction import N4Result, Progress, fit_with
from n4ax.problem import Spaces
from n4ax.settings import EngineName, N4Settings

_ULP = 2.0**-23  # of float32, at 1

EXACT, TOLERATED = 1e-6, 1e-3
"""Tolerance of headers, ITK's and ours: parts of a voxel, and of a unit vector."""


class Corrected(NamedTuple):
    """The images that ANTs writes, and what N4 found."""

    image: npt.NDArray[np.float32]
    result: N4Result

    @property
    def bias(self) -> npt.NDArray[np.float32]:
        """The multiplicative field; not rescaled, and not restored outside the mask."""
        return np.exp(self.result.log_bias)


def corrected_as_ants(
    settings: N4Settings,
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.float32] | None,
    weights: npt.NDArray[np.float32] | None,
    spacing: float | Sequence[float] | Spaces | None,
    *,
    rescale: bool,
    engine: EngineName | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Corrected:
    """Estimate the field, divide by it, and treat the mask as ANTs does.

    Parameters
    ----------
    settings
        The parameters of N4, ``outside="keep"`` where there is a mask.
    image, mask, weights
        Of one shape; inside the mask where it is not 0. ``None`` is the whole image.
    spacing
        Voxel size in mm, or where all three lie in space.
    rescale
        Stretch the corrected image to the input's range in the mask, where the mask is 1.
    engine, num_threads, progress
        As for :func:`n4ax.n4`.

    Raises
    ------
    ValueError
        The input cannot be worked with; the message says why.
    """
    dimensions = image.ndim
    if dimensions == 4 and isinstance(settings.shrink_factor, int):
        # The fourth axis is time, and is not shrunk.
        factors = (*(settings.shrink_factor,) * 3, 1)
        settings = N4Settings(**{**settings.keywords(), "shrink_factor": factors})
    result: Any = fit_with(
        settings,
        image,
        "all" if mask is None else mask,
        weights=weights,
        spacing=spacing,
        engine=engine,
        num_threads=num_threads,
        progress=progress,
        trace=False,
    )
    corrected = result.corrected
    if rescale:
        corrected = _rescaled(image, corrected, np.ones_like(image) if mask is None else mask)
    return Corrected(corrected, result)


def _rescaled(
    image: npt.NDArray[np.float32],
    corrected: npt.NDArray[np.float32],
    mask: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """The corrected image, its range in the mask made that of the image."""
    inside = mask != 0
    low, high = _ends(image, inside)
    corrected_low, corrected_high = _ends(corrected, inside)
    slope = (high - low) / (corrected_high - corrected_low)
    # Other labels of the mask count for the range, and are left as they are.
    where = (mask >= 1 - 2 * _ULP) & (mask <= 1 + 4 * _ULP)
    return np.where(where, high - slope * (corrected_high - corrected), corrected)


def _ends(
    image: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]
) -> tuple[np.float32, np.float32]:
    values = image[inside]
    return values.min(), values.max()
