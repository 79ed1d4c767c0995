"""Which planes of a volume a picture shows, and in which range of grey levels or colours."""

from math import ceil
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt

_AXIAL, _CORONAL, _SAGITTAL = 2, 1, 0
"""The axis across each kind of plane, in a volume with axes right, anterior and superior."""
_KINDS = {"axial": _AXIAL, "coronal": _CORONAL, "sagittal": _SAGITTAL}
_SMALLEST_SWING = 0.02
"""The least range of a field's colours, so that a flat field is not shown as noise."""


class Plane(NamedTuple):
    """A plane of a 3-D volume."""

    axis: int
    """The axis that is perpendicular to the plane."""
    position: int
    """Where the plane is along that axis, as a voxel index."""

    def cut(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The plane as a view of the volume, with its top in the first row."""
        return np.moveaxis(volume, self.axis, 0)[self.position].T[::-1]

    def measure(
        self, voxel_sizes: tuple[float, ...], shape: tuple[int, ...] = (1, 1, 1)
    ) -> tuple[float, float]:
        """Width and height in mm of a volume of this shape in the plane, by default of a voxel."""
        lengths = [n * size for n, size in zip(shape, voxel_sizes, strict=True)]
        width, height = (length for axis, length in enumerate(lengths) if axis != self.axis)
        return width, height


class Sides(NamedTuple):
    """What of the patient is at each side of a plane, as letters: L, R, A, P, S or I."""

    left: str
    right: str
    top: str
    bottom: str


_ENDS = (("L", "R"), ("P", "A"), ("I", "S"))
"""The first and the last end of each axis of an upright volume."""


def find_sides(plane: Plane) -> Sides:
    """The sides of a plane of an upright volume, as :meth:`Plane.cut` shows it.

    The patient's left is at the left of the axial and the coronal plane.
    """
    across, up = (ends for axis, ends in enumerate(_ENDS) if axis != plane.axis)
    return Sides(left=across[0], right=across[1], top=up[1], bottom=up[0])


def find_sides_by_name(name: str) -> Sides | None:
    """The sides of an axial, coronal or sagittal plane; ``None`` for another name."""
    return find_sides(Plane(_KINDS[name], 0)) if name in _KINDS else None


def name_planes(shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> list[str]:
    """The names of the planes that :func:`find_planes` finds in an image, once it is upright."""
    nothing = np.broadcast_to(np.uint8(0), (*shape, 1, 1, 1)[:3])
    upright, _ = turn_upright(nothing, affine)
    names = {axis: name for name, axis in _KINDS.items()}
    return [names[axis] for axis in _find_axes(upright.shape)]


def is_usable(affine: npt.NDArray[np.float64]) -> bool:
    """Whether an affine of shape (4, 4) says where the axes of an image point."""
    return bool(np.isfinite(affine).all() and np.linalg.matrix_rank(affine[:3, :3]) == 3)


def turn_upright(
    volume: npt.NDArray[Any], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], tuple[float, ...]]:
    """Turn a 3-D volume so that its axes point right, anterior and superior.

    If the affine does not say where they point, the axes stay as they are.

    Returns
    -------
    volume : array
        A view of the given volume.
    voxel_sizes : tuple of float
        Voxel sizes along the turned axes, in mm.
    """
    if not is_usable(affine):
        affine = np.eye(4)
    turned = nib.as_closest_canonical(nib.Nifti1Image(volume, affine))
    return np.asarray(turned.dataobj), tuple(float(size) for size in turned.header.get_zooms())


def find_planes(mask: npt.NDArray[Any]) -> list[Plane]:
    """The axial, the coronal and the sagittal plane through the middle of an upright mask.

    The mask is of type bool, or of type uint8 with zeros and ones. Planes in which the volume is a
    line are left out.
    """
    voxels = _count_along_axes(mask)
    return [Plane(axis, _find_middle(voxels[axis])) for axis in _find_axes(mask.shape)]


def find_slices(mask: npt.NDArray[Any], most: int) -> list[Plane]:
    """Axial planes that are evenly spaced through an upright mask, from its bottom to its top.

    Parameters
    ----------
    mask : array, shape (x, y, z)
        The mask, as for :func:`find_planes`; it is not empty.
    most : int
        How many planes there are, unless the mask has fewer.
    """
    [inside] = np.nonzero(mask.view(np.bool_).any(axis=(_SAGITTAL, _CORONAL)))
    first, extent = int(inside[0]), int(inside[-1] - inside[0]) + 1
    count = min(most, extent)
    return [Plane(_AXIAL, first + (2 * i + 1) * extent // (2 * count)) for i in range(count)]


def find_box(mask: npt.NDArray[Any], margin: float) -> tuple[slice, slice, slice]:
    """The box around a mask that is not empty, wider by a part of its size on every side."""
    box = []
    for length, voxels in zip(mask.shape, _count_along_axes(mask), strict=True):
        [indices] = np.nonzero(voxels)
        first, last = int(indices[0]), int(indices[-1]) + 1
        more = ceil((last - first) * margin)
        box.append(slice(max(first - more, 0), min(last + more, length)))
    return box[0], box[1], box[2]


def count_planes(shape: tuple[int, ...]) -> int:
    """How many planes :func:`find_planes` finds in an image of this shape."""
    return len(_find_axes((*shape, 1, 1, 1)[:3]))


def find_grey_window(voxels: npt.NDArray[Any]) -> tuple[float, float]:
    """The intensities to show as black and white.

    Black is 0, or the 0.5th percentile of the finite voxels if that is negative. White is their
    99.5th percentile.
    """
    finite = voxels[np.isfinite(voxels)]
    if len(finite) == 0:
        return 0.0, 1.0
    dark, bright = (float(level) for level in np.percentile(finite, (0.5, 99.5)))
    low = min(dark, 0.0)
    return low, bright if bright > low else low + 1.0


def find_field_window(log_bias: npt.NDArray[Any]) -> tuple[float, float]:
    """The centre of the colour scale of a log field, and how far it reaches on either side.

    The centre is the mean of the finite voxels, since N4 leaves the level of a field open. The
    scale reaches to the 99th percentile of their distances from it.
    """
    finite = log_bias[np.isfinite(log_bias)]
    if len(finite) == 0:
        return 0.0, 1.0
    mean = finite.mean()
    swing = float(np.percentile(np.abs(finite - mean), 99))
    return float(mean), max(swing, _SMALLEST_SWING)


def _find_axes(shape: tuple[int, ...]) -> list[int]:
    """The axes across which planes are shown; for a line, the axial plane alone."""
    axes = (_AXIAL, _CORONAL, _SAGITTAL)
    return [axis for axis in axes if min(np.delete(shape, axis)) > 1] or [_AXIAL]


def _find_middle(voxels: npt.NDArray[np.intp]) -> int:
    """The first index up to which a mask has half of its voxels along an axis."""
    return int(np.searchsorted(np.cumsum(voxels), voxels.sum() / 2))


def _count_along_axes(mask: npt.NDArray[Any]) -> list[npt.NDArray[np.intp]]:
    """How many voxels a mask has at each index of each of its three axes.

    Both sums run over whole rows of the memory, in bytes.
    """
    slow, middle, fast = np.argsort(np.abs(mask.strides), kind="stable")[::-1]
    forward = tuple(slice(None, None, -1 if step < 0 else 1) for step in mask.strides)
    ordered = mask[forward].transpose(slow, middle, fast).view(np.uint8)
    over_slow, over_middle = _sum_ones(ordered, 0), _sum_ones(ordered, 1)
    voxels = {slow: over_middle.sum(1), middle: over_slow.sum(1), fast: over_slow.sum(0)}
    return [voxels[axis][forward[axis]] for axis in range(3)]


def _sum_ones(ones: npt.NDArray[np.uint8], axis: int) -> npt.NDArray[np.intp]:
    """The sum of zeros and ones along an axis; up to 255 of them fit in a byte."""
    parts = np.arange(0, ones.shape[axis], 255)
    sums = (
        np.add.reduce(part, axis, np.uint8).astype(np.intp)
        for part in np.split(ones, parts[1:], axis)
    )
    return np.add.reduce(list(sums))
