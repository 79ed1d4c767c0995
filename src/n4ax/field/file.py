"""The parts of a bias field: kept in a file, and checked wherever they come from.

The file is NumPy's ``.npz``, or NIfTI if its name says so (:mod:`n4ax.field.image_file`).
"""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.field.versions import ARRAYS, check_version
from n4ax.files import replace_file
from n4ax.itk.space import Position
from n4ax.method.grid import Axis
from n4ax.paths import read_bytes
from n4ax.settings import LARGEST, is_whole_number

_NIFTI = (".nii", ".nii.gz")
_LONGEST = 2**24
"""So many voxels has an axis at most; single precision does not tell more of them apart."""
_ZIP = b"PK"
_LARGEST = 1 << 31
"""Bytes of all arrays of a field; those of a long series with a field each have some hundred MB."""
"""What a ``.npz`` file begins with, whatever its name is."""


def turn_parts(parts: dict[str, Any]) -> dict[str, Any]:
    """The parts of the same field with its axes in the reversed order."""
    turned = dict(parts)
    shape, affine = parts["shape"], parts["affine"]
    turned["control_points"] = np.ascontiguousarray(parts["control_points"].T)
    turned["shape"], turned["axes"] = tuple(shape[::-1]), tuple(parts["axes"][::-1])
    turned["voxel_order"] = "F" if parts["voxel_order"] == "C" else "C"
    if affine is not None:
        spatial = min(len(shape), 3)
        turned["affine"] = np.array(affine, np.float64)
        turned["affine"][:, :spatial] = np.asarray(affine)[:, :spatial][:, ::-1]
    return turned


def write_parts(path: Path, parts: dict[str, Any]) -> None:
    """Write the parts of a field to a file, which appears whole or not at all.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    ValueError
        The field is too large for NIfTI.
    """
    if path.name.lower().endswith(_NIFTI):
        from n4ax.field import image_file

        order = parts["voxel_order"]
        image_file.write_parts(path, turn_parts(parts) if order == "C" else parts, order)
        return
    layout = [(a.count, a.lower, a.upper, a.shrink, a.first, a.samples) for a in parts["axes"]]
    positions = [tuple(axis.position) for axis in parts["axes"]]
    affine = np.empty(0) if parts["affine"] is None else parts["affine"]
    content = io.BytesIO()
    written = {"axes": np.array(layout), "positions": np.array(positions), "affine": affine}
    np.savez_compressed(content, **{**parts, **written, "n4ax_bias_field": ARRAYS})
    with replace_file(path) as temporary:
        temporary.write_bytes(content.getvalue())


def read_parts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the parts of a field, as the keyword arguments of :class:`n4ax.BiasField`.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file holds something else.
    """
    path = take_path(path)
    content = read_bytes(path)
    try:
        is_nifti = path.name.lower().endswith(_NIFTI) and not content.startswith(_ZIP)
        parts = _read_image(path) if is_nifti else _read_arrays(content)
        if not np.isfinite(parts["control_points"]).all():
            raise ValueError("its control points have NaN or infinite values")
    except Exception as error:  # a damaged file can fail in many ways
        reason = " ".join(str(error).split())[:300]  # a name in it may be as long as the file
        raise ValueError(f"{path} is not a bias field saved by n4ax ({reason})") from None
    return parts


def _read_image(path: Path) -> dict[str, Any]:
    from n4ax.field import image_file

    parts = image_file.read_parts(path)
    if parts["voxel_order"] == "F":
        return parts
    return turn_parts({**parts, "voxel_order": "F"})


def _read_arrays(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _LARGEST:
            raise ValueError(f"its arrays have more than {_LARGEST >> 30} GiB")
    with np.load(io.BytesIO(content), allow_pickle=False) as data:
        check_version(int(data["n4ax_bias_field"]), ARRAYS)
        return {
            "control_points": data["control_points"],
            "order": data["order"].item(),
            "shape": tuple(data["shape"].tolist()),
            "axes": _read_axes(data),
            "voxel_order": str(data["voxel_order"]),
            "affine": data["affine"] if data["affine"].size else None,
            "axes_known": bool(data["axes_known"].item()),
            # Files of n4ax 0.2.0 do not have the rest.
            "arithmetic": str(data.get("arithmetic", "limit")),
            "itk_tool": str(data.get("itk_tool", "simpleitk")),
        }


def _read_axes(data: Any) -> tuple[Axis, ...]:
    axes = [Axis(*row) for row in data["axes"].tolist()]
    if "positions" not in data:
        return tuple(axes)
    positions = [Position(x, step, int(start)) for x, step, start in data["positions"].tolist()]
    return tuple(replace(axis, position=p) for axis, p in zip(axes, positions, strict=True))


def take_path(path: Any) -> Path:
    """Take the name of a file.

    Raises
    ------
    TypeError
        It is no text and no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path is of type {type(path).__name__}; expected the name of a file")
    return Path(path)  # pyright: ignore[reportUnknownArgumentType]


def check_parts(
    control_points: Any, order: int, shape: tuple[int, ...], axes: tuple[Axis, ...], affine: Any
) -> None:
    """Check that the parts of a field belong together, so that it can be evaluated safely.

    Raises
    ------
    ValueError
        A part has another type or another size than the others need.
    """
    if not _is_integer(order) or not 1 <= order <= 5:
        raise InputError("{order} is {0!r}; expected a whole number from 1 to 5", order)
    listed = isinstance(shape, tuple | list) and len(shape) > 0  # pyright: ignore[reportUnnecessaryIsInstance]
    if not listed or not all(_is_integer(n) and n >= 1 for n in shape):
        raise InputError("{shape} is {0!r}; expected numbers of voxels", shape)
    if not isinstance(axes, tuple | list) or not all(isinstance(axis, Axis) for axis in axes):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError("{axes} is {0!r}; expected how each axis was sampled", axes)
    _check_control_points(control_points, order, len(axes))
    lengths = tuple(n for n in shape if n != 1)
    if tuple(axis.count for axis in axes) != lengths:
        raise InputError("{axes} do not have the voxels of {shape:{0}} that are not 1", shape)
    for axis in axes:
        _check_axis(axis)
    if affine is not None:
        check_affine(affine)


def check_affine(affine: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Check an affine, and give it as an array.

    Raises
    ------
    ValueError
        It does not map voxel indices to mm.
    """
    try:
        given = np.asarray(affine)
        if given.dtype.kind not in "iuf":  # text such as "1.5" would count as a number
            raise TypeError
        matrix = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("{affine} is {0!r}; expected an array of numbers", affine) from None
    if matrix.shape != (4, 4):
        raise InputError("{affine} has shape {0}; expected (4, 4)", matrix.shape)
    if not is_usable(matrix):
        raise InputError(
            "{affine} has no inverse or values that are not finite: it must map voxel indices to mm"
        )
    return matrix


def is_usable(affine: npt.NDArray[np.float64]) -> bool:
    """Whether an affine of shape (4, 4) is finite in single precision and has an inverse."""
    with np.errstate(all="ignore"):
        return bool((np.abs(affine) <= LARGEST).all()) and np.linalg.det(affine) != 0


def _check_control_points(points: Any, order: int, axes: int) -> None:
    if getattr(points, "dtype", None) != np.float32 or points.ndim != axes:
        raise InputError(
            "{control_points} have type {0} and shape {1}; expected float32 and {2} axes, as many "
            "as the image has that are longer than 1",
            getattr(points, "dtype", type(points).__name__),
            getattr(points, "shape", None),
            axes,
        )
    if min(points.shape, default=0) <= order:
        raise InputError(
            "{control_points} have shape {0}; a spline of order {1} needs {2} on each axis",
            points.shape,
            order,
            order + 1,
        )


def _check_axis(axis: Axis) -> None:
    numbers = (axis.count, axis.lower, axis.upper, axis.shrink, axis.first, axis.samples)
    origin, step, start = axis.position
    good = (
        all(map(_is_integer, (*numbers, start)))
        and min(axis.lower, axis.upper) >= 0
        and axis.shrink >= 1
        and axis.samples >= 2
        and max(axis.padded, axis.shrink, axis.samples, abs(axis.first), abs(start)) <= _LONGEST
        and np.isfinite([origin, step]).all()
    )
    if not good:
        raise InputError("{axes} hold {0!r}, which is no way to sample an axis", axis)


def _is_integer(value: Any) -> bool:
    """Whether this is a whole number that can be an index, as 4.0 cannot."""
    return is_whole_number(value) and not isinstance(value, float | np.floating)
