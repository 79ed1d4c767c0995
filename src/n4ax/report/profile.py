"""How bright an image is along the axis along which its field varies most."""

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes

from n4ax.images.planes import is_usable
from n4ax.report.volumes import Volumes

_MOST = 64
"""The most positions; in longer images, neighbouring slices are taken together."""
_SAMPLE = 70_000
"""The most voxels that are looked at: some thousand in each slab."""
_SCARCE = 0.03
"""A slab with less than this part of the voxels of the fullest slab has no value, since it is more
noise than brightness."""
_NAMES = {
    "L": "left to right", "R": "left to right",
    "P": "back to front", "A": "back to front",
    "I": "bottom to top", "S": "bottom to top",
}  # fmt: skip
"""What an axis is called that points to the left, the right and so on."""


class _Axis(NamedTuple):
    """An axis of an image."""

    number: int
    length: int
    name: str
    backward: bool
    """Whether it runs against its name, so that it is read from its end."""
    size: float | None
    """How long a voxel is in mm, if it is known."""

    @property
    def thickness(self) -> int:
        """How many slices are taken together."""
        return -(-self.length // _MOST)

    def find_slabs(self, indices: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        """The number of the slab of each voxel, from the side that the name begins with."""
        indices = self.length - 1 - indices if self.backward else indices
        return (indices // self.thickness).astype(np.uint8)


def measure_profile(
    volumes: Volumes, affine: npt.NDArray[np.float64] | None, *, directed: bool
) -> dict[str, Any] | None:
    """Measure the median intensity in the mask in slabs across an axis, before and after.

    Parameters
    ----------
    volumes : Volumes
        The image before and after, its log field and its mask.
    affine : array, shape (4, 4), or None
        Maps voxel indices to mm.
    directed : bool
        Whether the affine says where left, right, front and so on are.

    Returns
    -------
    dict or None
        ``Axis``, ``Positions``, ``Unit``, ``Before`` and ``After``: the axis in words, the middle
        of each slab as a distance from the first voxel, and the medians, divided by that of the
        whole mask. A median is ``None`` where the mask has few voxels or none. The whole is
        ``None`` if there is nothing to measure.
    """
    step = -(-len(volumes.voxels.before) // _SAMPLE) or 1
    before, log_bias, after = (values[::step] for values in volumes.voxels[1:])
    finite = np.isfinite(before) & np.isfinite(after) & np.isfinite(log_bias)
    axes = _list_axes(volumes.mask.shape, affine, directed)
    if not (finite.any() and axes):
        return None
    coordinates = [along[::step][finite] for along in volumes.voxels.coordinates]
    slabs = [axis.find_slabs(coordinates[axis.number]) for axis in axes]
    field = log_bias[finite].astype(np.float64)
    best = int(np.argmax([_measure_variance(own, field) for own in slabs]))
    images = [image[finite].astype(np.float64) for image in (before, after)]
    levels = [float(np.median(image)) for image in images]
    if min(levels) <= 0:
        return None
    order = np.argsort(slabs[best], kind="stable")
    ends = np.cumsum(np.bincount(slabs[best]))
    curves = [
        _find_medians(image[order] / level, ends)
        for image, level in zip(images, levels, strict=True)
    ]
    return _describe(axes[best], curves)


def _list_axes(
    shape: tuple[int, ...], affine: npt.NDArray[np.float64] | None, directed: bool
) -> list[_Axis]:
    """The axes that are longer than 1."""
    known = affine is not None and is_usable(affine)
    codes = nib.aff2axcodes(affine) if known and directed else ("",) * 3
    sizes = voxel_sizes(affine).tolist() if known else (None,) * 3
    axes = zip(range(3), shape, codes, sizes, strict=False)
    return [
        _Axis(axis, length, _NAMES.get(code, f"axis {axis + 1}"), code in set("LPI"), size)
        for axis, length, code, size in axes
        if length > 1
    ]


def _measure_variance(slabs: npt.NDArray[np.uint8], field: npt.NDArray[np.float64]) -> float:
    """How much the mean log field varies between slabs."""
    counts = np.bincount(slabs)
    known = counts > 0
    means = np.bincount(slabs, field)[known] / counts[known]
    return float(np.average((means - field.mean()) ** 2, weights=counts[known]))


def _find_medians(
    values: npt.NDArray[np.float64], ends: npt.NDArray[np.intp]
) -> list[float | None]:
    """The median in each slab, with four digits; the values are in the order of the slabs."""
    fewest = max(np.diff(ends, prepend=0).max() * _SCARCE, 1)
    return [
        float(f"{np.median(part):.4g}") if len(part) >= fewest else None
        for part in np.split(values, ends[:-1])
    ]


def _describe(axis: _Axis, curves: list[list[float | None]]) -> dict[str, Any]:
    """The profile, without the slabs at its ends that have no value."""
    before, after = curves
    known = [slab for slab, value in enumerate(before) if value is not None]
    inside = slice(known[0], known[-1] + 1)
    step = axis.thickness * (axis.size or 1.0)
    positions = [round((slab + 0.5) * step, 2) for slab in range(len(before))]
    return {
        "Axis": axis.name,
        "Positions": positions[inside],
        "Unit": "voxels" if axis.size is None else "mm",
        "Before": before[inside],
        "After": after[inside],
    }
