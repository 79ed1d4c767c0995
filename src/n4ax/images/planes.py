"""Which planes of a volume are shown in a picture, and at which grey levels."""

from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt


def upright(
    volume: npt.NDArray[Any], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], tuple[float, ...]]:
    """A 3-D volume turned to right, anterior, superior, and its voxel sizes in mm."""
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        affine = np.eye(4)
    turned = nib.as_closest_canonical(nib.Nifti1Image(volume, affine))
    return np.asarray(turned.dataobj), tuple(float(z) for z in turned.header.get_zooms())


def is_plane(shape: tuple[int, ...], axis: int) -> bool:
    """Whether there is a picture across ``axis``: neither of the others has length 1."""
    return min(n for number, n in enumerate(shape) if number != axis) > 1


def middle_plane(inside: npt.NDArray[Any], axis: int) -> tuple[int, int]:
    """Axis and index of the plane through the middle of the mask."""
    weights = inside.sum(axis=tuple(number for number in range(3) if number != axis))
    return axis, int(np.searchsorted(np.cumsum(weights), weights.sum() / 2))


def grey_window(voxels: npt.NDArray[Any]) -> tuple[float, float]:
    """Black and white: from 0, or below it where the voxels are, to the bright ones."""
    dark, bright = (float(level) for level in np.percentile(voxels, (0.5, 99.5)))
    low = min(dark, 0.0)
    return low, bright if bright > low else low + 1.0


def field_swing(log_field: npt.NDArray[Any]) -> float:
    """How far the colours reach either way from the mean of a log field, which is 0."""
    return max(float(np.percentile(np.abs(log_field), 99)), 0.02)
