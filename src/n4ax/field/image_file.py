"""A field as an image of NIfTI: its control points, and a text in the header for other programs.

``docs/field-format.md`` describes the format. Axes are in the order of NIfTI here, x first, and
axes of length 1 of the field's image have one control point.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Extension, Nifti1Image, Nifti1Pair

from n4ax.errors import InputError
from n4ax.field.places import SPATIAL
from n4ax.field.versions import IMAGE, check_version
from n4ax.images.nifti import read_image, write_image
from n4ax.itk.space import Position
from n4ax.method.grid import Axis
from n4ax.texts import parse_json

MARK = "n4ax_bias_field"
"""The key of the version, by which a field is known."""

_COMMENT = 6
"""NIfTI's code for an extension of the header that is plain text."""

_MOST_AXES, _MOST_POINTS = 7, 32767
"""What NIfTI-1 can hold."""

_SCANNER = 1
"""NIfTI's code for positions in the space of the scanner."""


def holds_field(image: Nifti1Pair) -> bool:
    """Whether an image says that its voxels are the control points of a field."""
    return _find_description(image) is not None


def write_parts(path: Path, parts: Mapping[str, Any], voxel_order: str) -> None:
    """Write the parts of a field, whose axes are in the order of NIfTI.

    Parameters
    ----------
    path
        The file, which appears whole or not at all.
    parts
        The attributes of :class:`n4ax.BiasField`.
    voxel_order
        The order of the field itself: ``"C"`` if its axes have been turned round for the file.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    ValueError
        The field has more axes or more control points than NIfTI can hold.
    """
    shape = tuple(map(int, parts["shape"]))
    points = parts["control_points"]
    if len(shape) > _MOST_AXES or max(points.shape) > _MOST_POINTS:
        raise InputError(
            "a field of shape {0} with {1} control points is too large for NIfTI, which has at "
            "most {2} axes and {3} points on each: save it as .npz",
            shape,
            points.shape,
            _MOST_AXES,
            _MOST_POINTS,
        )
    left = iter(points.shape)
    lattice = points.reshape([1 if n == 1 else next(left) for n in shape])
    image = Nifti1Image(lattice, None)
    if parts["affine"] is not None:
        form = _place_control_points(parts)
        # NIfTI-1 has single precision; the description has all digits.
        if np.abs(form).max() <= np.finfo(np.float32).max:
            image.set_sform(form, _SCANNER)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"n4ax: control points of a log bias field"
    text = json.dumps(_describe(parts, lattice.shape, voxel_order), allow_nan=False)
    image.header.extensions.append(Nifti1Extension(_COMMENT, text.encode()))
    write_image(image, path)


def read_parts(path: Path) -> dict[str, Any]:
    """Read the parts of a field, with the axes in the order of NIfTI.

    Only ``voxel_order`` is that of the field itself.

    Raises
    ------
    ValueError
        The image holds no control points, a later version of the format, or something else than
        its description says.
    """
    image = read_image(path)
    found = _find_description(image)
    if found is None:
        raise InputError(
            "it is an image of NIfTI without control points; expected a file that BiasField.save "
            "or n4ax correct --field wrote. n4ax apply takes the image of --bias too"
        )
    check_version(found[MARK], IMAGE)
    if list(image.shape) != found["control_points"]:
        raise InputError(
            "it has {0} voxels and its description says {1} control points: another program has "
            "changed it",
            image.shape,
            tuple(found["control_points"]),
        )
    shape = tuple(found["shape"])
    points = np.asarray(image.dataobj, np.float32).reshape([n for n in image.shape if n != 1])
    return {
        "control_points": np.ascontiguousarray(points),
        "order": found["spline_order"],
        "shape": shape,
        "axes": tuple(_read_axis(axis) for axis in found["axes"] if axis is not None),
        "voxel_order": found["voxel_order"],
        "affine": None if found["affine"] is None else np.array(found["affine"], np.float64),
        "axes_known": _check_truth(found["axes_known"]),
        "arithmetic": found["arithmetic"],
        "itk_tool": found["itk_tool"],
    }


def _find_description(image: Nifti1Pair) -> dict[str, Any] | None:
    for extension in image.header.extensions:
        if extension.get_code() != _COMMENT:
            continue  # nibabel cannot read the content of every kind
        content: Any = extension.get_content()
        raw = content if isinstance(content, bytes) else str(content).encode()
        try:
            found = parse_json(raw.rstrip(b"\0"))
        except ValueError:  # the comment of another program
            continue
        if isinstance(found, dict) and MARK in found:
            return found  # pyright: ignore[reportUnknownVariableType]
    return None


def _describe(
    parts: Mapping[str, Any], points: tuple[int, ...], voxel_order: str
) -> dict[str, Any]:
    affine = parts["affine"]
    axes = iter(parts["axes"])
    return {
        MARK: IMAGE,
        "spline_order": int(parts["order"]),
        "control_points": list(points),
        "shape": [int(n) for n in parts["shape"]],
        "axes": [None if n == 1 else _describe_axis(next(axes)) for n in parts["shape"]],
        "affine": None if affine is None else np.asarray(affine, np.float64).tolist(),
        "voxel_order": voxel_order,
        "axes_known": bool(parts["axes_known"]),
        "arithmetic": parts["arithmetic"],
        "itk_tool": parts["itk_tool"],
    }


def _describe_axis(axis: Axis) -> dict[str, Any]:
    origin, step, start = axis.position
    return {
        "count": int(axis.count),
        "padding": [int(axis.lower), int(axis.upper)],
        "shrink": int(axis.shrink),
        "first": int(axis.first),
        "samples": int(axis.samples),
        "itk_position": {"origin": float(origin), "step": float(step), "start": int(start)},
    }


def _check_truth(found: Any) -> bool:
    if not isinstance(found, bool):
        raise InputError("axes_known is {0!r}; expected true or false", found)
    return found


def _read_axis(found: dict[str, Any]) -> Axis:
    at = found["itk_position"]
    lower, upper = found["padding"]
    return Axis(
        found["count"],
        lower,
        upper,
        found["shrink"],
        found["first"],
        found["samples"],
        position=Position(float(at["origin"]), float(at["step"]), at["start"]),
    )


def _place_control_points(parts: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """The affine of the control points: each lies where its spline has its peak."""
    to_voxels = np.eye(4)
    order, points = int(parts["order"]), parts["control_points"]
    kept = [number for number, n in enumerate(parts["shape"]) if n != 1]
    for number, axis, count in zip(kept, parts["axes"], points.shape, strict=True):
        if number < SPATIAL:
            element = axis.shrink * (axis.samples - 1) / (count - order)  # in voxels
            to_voxels[number, number] = element
            to_voxels[number, 3] = axis.first - 0.5 * (order - 1) * element
    return np.asarray(parts["affine"], np.float64) @ to_voxels
