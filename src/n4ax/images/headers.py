"""What a NIfTI header says: read as ITK reads it, and mended where nibabel would refuse it.

ITK reads many headers that break the rules of the format. Each function here reads the same from
them, or raises a ``ValueError`` that says what is wrong. The functions take a header of nibabel or,
except for :func:`mend`, any mapping with the fields of a NIfTI header.
"""

from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.itk.linpack import decompose
from n4ax.itk.space import Space, normalise

_MM_PER_UNIT = {1: 1e3, 3: 1e-3}  # NIfTI's codes for metres and micrometres
_S_PER_UNIT = {16: 1e-3, 24: 1e-6}  # NIfTI's codes for milliseconds and microseconds
_SAME_FORM = _RIGHT_ANGLES = 1e-4  # ITK's tolerances
_LONGEST = 1.0 + 3 * float(np.finfo(np.float32).eps)  # squared length of a quaternion, for nibabel
_LAST_CODE, _ALIGNED = 5, 2  # of NIfTI's codes for forms
_EPSILON = float(np.finfo(np.float64).eps)
_EXTENSION_FLAG = 4  # bytes that usually follow the header
_ROWS = ("srow_x", "srow_y", "srow_z")
_QUATERNION = ("quatern_b", "quatern_c", "quatern_d")
_OFFSETS = ("qoffset_x", "qoffset_y", "qoffset_z")
_OF_PLACE = ("pixdim", "xyzt_units", "toffset", "qform_code", "sform_code")

SHOWN = ("cal_min", "cal_max", "intent_code", "intent_p1", "intent_p2", "intent_p3")
"""Fields that say how the intensities are to be shown and what they mean. All are 0 in ANTs."""

PLACE_FIELDS = (*_OF_PLACE, *_ROWS, *_QUATERNION, *_OFFSETS)
"""The fields that :func:`read_space` reads."""


def read_shape(header: Any) -> tuple[int, ...]:
    """The number of voxels along each axis; from the second axis on, 0 or less stands for 1.

    Raises
    ------
    ValueError
        The header has no axes, more than seven, or no voxels along the first.
    """
    count, *lengths = (int(length) for length in header["dim"])
    if not 1 <= count <= 7 or lengths[0] < 1:
        raise ValueError(f"its header has the dimensions {[count, *lengths]}, which are no shape")
    return (lengths[0], *(max(1, length) for length in lengths[1:count]))


def read_offset(header: Any, start: int, rest: int) -> int:
    """The byte of the file at which the voxels begin.

    Parameters
    ----------
    header
        The header as it is in the file.
    start
        The first byte that is not part of the header; 0 if the header is in another file.
    rest
        The number of bytes from ``start`` on that are not needed for the voxels.

    Raises
    ------
    ValueError
        The voxels would begin within the header, or nowhere.
    """
    offset = float(header["vox_offset"])
    if start <= offset < np.inf:
        return int(offset)
    # Some programs leave the field empty. If the file ends with the voxels, their place is certain.
    if start and rest in (0, _EXTENSION_FLAG):
        return start + rest
    raise ValueError(
        f"its header says that the voxels begin at byte {offset:g} (vox_offset), but they cannot "
        f"begin before byte {start}: correct vox_offset, which is 352 in most .nii files"
    )


def read_scaling(header: Any) -> tuple[float, float]:
    """The slope and the intercept that turn stored numbers into intensities.

    A slope of 0 stands for 1, and so do slopes and intercepts that are not finite for 1 and 0. The
    intercept counts even if there is no slope.
    """
    slope, inter = (_make_finite(float(header[name])) for name in ("scl_slope", "scl_inter"))
    return (slope if abs(slope) >= _EPSILON else 1.0), inter


def read_voxel_sizes(header: Any, ndim: int) -> tuple[float, ...]:
    """The voxel size along each axis, converted to mm, and to s along the fourth axis.

    A size of 0 or one that is not finite is 1, and the sign of a negative size does not count.
    """
    sizes = np.abs(np.asarray(header["pixdim"], np.float64)[1 : ndim + 1])
    sizes[~(np.isfinite(sizes) & (sizes > 0))] = 1.0
    with np.errstate(over="ignore"):
        sizes[:3] *= _read_mm(header)
        sizes[3:4] *= _read_seconds(header)
    return tuple(float(size) for size in sizes)


def read_space(header: Any, ndim: int) -> Space:
    """Where ITK places the image in space, from the sform or the qform.

    Raises
    ------
    ValueError
        The header has only an sform, and that has values that are not finite.
    """
    sizes = read_voxel_sizes(header, ndim)
    origin, direction = np.zeros(ndim), np.eye(ndim)
    spatial = min(ndim, 3)
    rows = _choose_form(header)
    if rows is not None:
        left_posterior = np.array([-1.0, -1.0, 1.0])[:spatial]
        matrix = rows[:spatial].astype(np.float64) * left_posterior[:, None]
        origin[:spatial] = matrix[:, 3] * _read_mm(header)
        if ndim > 3:
            origin[3] = _make_finite(float(header["toffset"])) * _read_seconds(header)
        for axis in range(spatial):
            if matrix[:, axis].any():
                direction[:spatial, axis] = normalise(matrix[:, axis])
    # ITK turns an axis around if its voxel size is negative, whatever the form says.
    reversed_axes = [float(size) < 0 for size in header["pixdim"][1 : ndim + 1]]
    direction[:, reversed_axes] *= -1.0
    return Space(sizes, tuple(origin.tolist()), tuple(map(tuple, direction.tolist())))


def mend(header: Any) -> None:
    """Change a header of nibabel in place, so that nibabel accepts it and reads what ITK reads.

    Headers that follow the rules of the format do not change. What cannot be kept is the sign of a
    negative voxel size, and the last digits of a quaternion that is too long.

    Raises
    ------
    ValueError
        The shape, the data type or the place of the image cannot be read from the header.
    """
    shape = read_shape(header)
    header["dim"][1 : len(shape) + 1] = shape
    header["sizeof_hdr"], header["vox_offset"] = header.sizeof_hdr, 0
    header["bitpix"] = _read_type(header).itemsize * 8
    sizes: npt.NDArray[Any] = header["pixdim"]
    sizes[0] = -1 if sizes[0] < 0 else 1
    sizes[1:] = np.where(np.isfinite(sizes[1:]), sizes[1:], 1)
    sizes[1:4] = np.where(sizes[1:4] == 0, 1, np.abs(sizes[1:4]))
    for name in ("qform_code", "sform_code"):
        code = int(header[name])
        header[name] = 0 if code < 0 else code if code <= _LAST_CODE else _ALIGNED
    for name in (*_QUATERNION, *_OFFSETS, "toffset"):
        header[name] = _make_finite(float(header[name]))
    square = sum(float(header[name]) * float(header[name]) for name in _QUATERNION)
    for name in _QUATERNION if square >= _LONGEST else ():
        header[name] = float(header[name]) / sqrt(square)
    rows = _choose_form(header)
    if rows is not None and not all(np.isfinite(header[name]).all() for name in _ROWS):
        header["sform_code"] = 0


def _read_type(header: Any) -> np.dtype[Any]:
    try:
        kind = np.dtype(header.get_data_dtype())
    except KeyError:
        kind = np.dtype("V")
    if kind.itemsize == 0:  # nibabel's type for those that it does not read
        raise ValueError(
            f"its header has the data type {int(header['datatype'])}, which is not read"
        )
    return kind


def _make_finite(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def _read_mm(header: Any) -> float:
    """Millimetres per unit of length, which the lowest three bits hold; nibabel refuses some."""
    return _MM_PER_UNIT.get(int(header["xyzt_units"]) & 0x07, 1.0)


def _read_seconds(header: Any) -> float:
    return _S_PER_UNIT.get(int(header["xyzt_units"]) & 0x38, 1.0)


def find_affine(header: Any) -> npt.NDArray[np.float64]:
    """The affine that nibabel finds in a header that :func:`mend` has mended."""
    with np.errstate(all="ignore"):  # numbers may be too large to be multiplied
        affine: npt.NDArray[np.float64] = header.get_best_affine()
    return affine


def scale_affine(header: Any, affine: Any) -> npt.NDArray[np.float64]:
    """An affine with the unit of length of a header, in mm."""
    scaled = np.array(affine, np.float64)
    with np.errstate(over="ignore"):
        scaled[:3] *= _read_mm(header)
    return scaled


def _choose_form(header: Any) -> npt.NDArray[np.float32] | None:
    """The sform or the qform, shape (3, 4), by ITK's rules; ``None`` if the header has neither.

    ITK takes the sform if its axes are at right angles and either there is no qform, or the sform
    is that of the scanner (code 1), or both forms are the same. Otherwise it takes the qform. It
    reads both in float32.
    """
    q_code, s_code = int(header["qform_code"]), int(header["sform_code"])
    if q_code <= 0 and s_code <= 0:
        return None
    rows = _make_single([header[name] for name in _ROWS])
    finite = bool(np.isfinite(rows).all())
    if q_code <= 0:
        if not finite:
            raise ValueError(
                "its header has an sform with values that are not finite (srow_x, srow_y, srow_z), "
                "and no qform: correct the sform, or set sform_code to 0"
            )
        return rows
    by_quaternion = _quaternion_rows(header)
    good = s_code > 0 and finite and _at_right_angles(rows)
    return rows if good and (s_code == 1 or _same_form(rows, by_quaternion)) else by_quaternion


def _quaternion_rows(header: Any) -> npt.NDArray[np.float32]:
    """The qform, shape (3, 4), computed in float64 and rounded to float32."""
    b, c, d = map(_make_finite, _make_single([header[name] for name in _QUATERNION]).tolist())
    square = b * b + c * c + d * d
    if 1.0 - square < 1e-7:
        scale = 1.0 / sqrt(square)
        a, b, c, d = 0.0, b * scale, c * scale, d * scale
    else:
        a = sqrt(1.0 - square)
    sizes = [float(size) for size in header["pixdim"][:4]]
    x, y, z = (size if 0 < size < np.inf else 1.0 for size in sizes[1:])
    if sizes[0] < 0:
        z = -z
    offset = [_make_finite(float(header[name])) for name in _OFFSETS]
    rows = [
        [(a * a + b * b - c * c - d * d) * x, 2.0 * (b * c - a * d) * y, 2.0 * (b * d + a * c) * z],
        [2.0 * (b * c + a * d) * x, (a * a + c * c - b * b - d * d) * y, 2.0 * (c * d - a * b) * z],
        [2.0 * (b * d - a * c) * x, 2.0 * (c * d + a * b) * y, (a * a + d * d - c * c - b * b) * z],
    ]
    return _make_single([[*row, end] for row, end in zip(rows, offset, strict=True)])


def _make_single(values: Any) -> npt.NDArray[np.float32]:
    """Round to float32; what is too large for it becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(values, np.float64).astype(np.float32)


def _at_right_angles(rows: npt.NDArray[np.float32]) -> bool:
    with np.errstate(all="ignore"):
        axes = rows[:, :3] / np.sqrt((rows[:, :3] ** 2).sum(axis=0))
        return bool(np.abs(axes @ axes.T - np.eye(3)).max() <= _RIGHT_ANGLES)


def _same_form(rows: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> bool:
    """ITK's test; where voxel sizes are equal or close, its outcome depends on rounding."""
    with np.errstate(all="ignore"):
        try:
            (sizes, vectors), (other_sizes, other_vectors) = (
                decompose(form[:, :3], single=True) for form in (rows, others)
            )
        except ValueError:  # voxels that are too small for single precision
            return False
    turned = vectors @ np.linalg.inv(other_vectors)
    gaps = (sizes - other_sizes, turned - np.eye(3), rows[:, 3] - others[:, 3])
    return all(bool(np.abs(gap).max() <= _SAME_FORM) for gap in gaps)
