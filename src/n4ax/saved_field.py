"""A field from a file, divided out of image files, or put back into them."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.field import BiasField
from n4ax.field.image_file import holds_field
from n4ax.field.places import (
    SAME_PLACE,
    SPATIAL,
    describe_place,
    find_corners,
    find_distance,
    is_one_grid,
    lie_apart,
)
from n4ax.itk.space import drop_last_ones
from n4ax.level import exponentiate_log
from n4ax.scan import Scan, read_scan


class SavedField(NamedTuple):
    """A field that was read from a file, as a spline or as an image.

    Attributes
    ----------
    path
        The file.
    spline
        The field of ``n4ax correct --field``: its control points.
    bias
        The field of ``n4ax correct --bias``: what an image is divided by, for every voxel.
    """

    path: Path
    spline: BiasField | None
    bias: Scan | None


def read_field(path: Path) -> SavedField:
    """Read a field that ``n4ax correct`` wrote, by ``--field`` or by ``--bias``.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    ValueError
        The file holds no field. The message says what is wrong.
    """
    if path.suffix.lower() == ".npz":
        return SavedField(path, BiasField.load(path), None)
    scan = read_scan(path)
    if holds_field(scan.image):
        return SavedField(path, BiasField.load(path), None)
    if not (scan.voxels > 0).all():
        raise ValueError(
            f"{path} has voxels that are not above 0, so it is no field: expected the image that "
            "n4ax correct --bias wrote, or the file of --field"
        )
    return SavedField(path, None, scan)


def read_spline(path: Path) -> SavedField:
    """Read a field that ``n4ax correct --field`` wrote: its control points.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    ValueError
        The file holds no control points.
    """
    return SavedField(path, BiasField.load(path), None)


def apply_field(
    field: SavedField,
    scan: Scan,
    *,
    by: Literal["space", "index"] = "space",
    invert: bool = False,
) -> npt.NDArray[np.float32]:
    """Divide an image by a field, or multiply it.

    On the grid of the image that the field was estimated on, the result is that of the correction.
    On another grid, each voxel is divided by the field where it lies in space.

    Parameters
    ----------
    field
        The field.
    scan
        An image of the same person. Every volume of a series is divided by the field.
    by
        ``"index"`` stretches the field over any grid, from its first to its last voxel, as ITK
        does, wherever the image lies in space.
    invert
        Multiply by the field: take the correction back.

    Returns
    -------
    ndarray of float32
        The voxels, in the shape of the image.

    Raises
    ------
    ValueError
        The image lies elsewhere than the field, or has other axes. The message says where.
    """
    voxels = scan.voxels
    _check_time(field, scan)
    volumes = voxels[..., None] if voxels.ndim <= SPATIAL or _varies(field) else voxels
    shape = volumes.shape[:-1]
    spline = field.spline
    if spline is not None and (
        by == "index" or is_one_grid(spline.shape, spline.affine, shape, scan.affine)
    ):
        _check_axes(field.path, spline, scan, shape)
        if not invert:
            return _divide_volumes(spline, volumes).reshape(voxels.shape)
        grid = _reshape(volumes[..., 0], len(spline.shape)).shape
        bias = exponentiate_log(spline.evaluate(grid)).reshape(shape)
    elif spline is not None:
        bias = exponentiate_log(_evaluate_in_space(field.path, spline, scan, shape))
    else:
        bias = _take_image(field, scan, shape)
    changed = volumes * bias[..., None] if invert else volumes / bias[..., None]
    return changed.reshape(voxels.shape)


def _divide_volumes(spline: BiasField, volumes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Divide volumes, along the last axis, as the correction does it, to the bit."""
    count = len(spline.shape)
    each = [np.ascontiguousarray(volumes[..., t]) for t in range(volumes.shape[-1])]
    divided = [spline.divide(_reshape(volume, count)).reshape(volume.shape) for volume in each]
    return np.stack(divided, axis=-1)


def _check_axes(path: Path, spline: BiasField, scan: Scan, shape: tuple[int, ...]) -> None:
    """Refuse to stretch a field over an image of other axes."""
    count = sum(n > 1 for n in shape)
    if count != len(spline.axes):
        raise ValueError(
            f"{path} is a field of {len(spline.axes)} axes, and {scan.path} has {count}: "
            "--by index needs as many"
        )


def _check_time(field: SavedField, scan: Scan) -> None:
    """Refuse to divide by a field that varies in time over another number of volumes."""
    count = _count_volumes(field)
    if count > 1 and count != scan.volumes:
        raise ValueError(
            f"{field.path} is a field in space and time, over {count} volumes, and {scan.path} has "
            f"{scan.volumes}: they must be as many"
        )


def _count_volumes(field: SavedField) -> int:
    """The number of volumes that a field varies over; 1 if it does not vary in time."""
    assert field.spline is not None or field.bias is not None
    shape = field.bias.voxels.shape if field.spline is None else field.spline.shape  # type: ignore[union-attr]
    return int(shape[SPATIAL]) if len(shape) > SPATIAL else 1


def _varies(field: SavedField) -> bool:
    """Whether a field has an axis of time."""
    return _count_volumes(field) > 1


def _reshape(volume: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """A volume with so many axes, if the axes at its end have length 1."""
    shape = drop_last_ones(volume.shape, min(count, volume.ndim))
    return volume.reshape(shape + (1,) * (count - len(shape)))


def _evaluate_in_space(
    path: Path, spline: BiasField, scan: Scan, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """The log field where the voxels of another grid lie."""
    if spline.affine is None:
        raise ValueError(
            f"{path} does not know where its image lies in space: give --by index to stretch it "
            f"over {scan.path}"
        )
    _check_overlap(path, spline, scan, shape)
    return spline.evaluate_at(shape, scan.affine)


def _take_image(field: SavedField, scan: Scan, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The voxels of a field that is an image on the same grid."""
    bias = field.bias
    assert bias is not None
    same = drop_last_ones(bias.voxels.shape) == drop_last_ones(shape)
    if not same or find_distance(bias.affine, scan.affine, shape) > SAME_PLACE:
        raise ValueError(
            f"{field.path} has shape {bias.voxels.shape} and {scan.path} has shape "
            f"{scan.voxels.shape}, or they lie in different places: an image of a field fits its "
            "own grid only; the file of --field fits every grid"
        )
    return bias.voxels.reshape(shape)


def _check_overlap(path: Path, spline: BiasField, scan: Scan, shape: tuple[int, ...]) -> None:
    """Refuse an image that lies nowhere near the field."""
    assert spline.affine is not None
    theirs = find_corners(spline.affine, spline.shape)
    ours = find_corners(scan.affine, shape)
    if lie_apart(theirs, ours):
        raise ValueError(
            f"{path} is a field for {describe_place(theirs)}, and {scan.path} lies at "
            f"{describe_place(ours)}: they do not overlap; --by index stretches the field over "
            "the image all the same"
        )
