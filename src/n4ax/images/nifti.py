"""NIfTI files are read and written here; headers are kept, and their scaling is applied.

gzip goes through ISA-L (igzip), which is several times faster than zlib. With zlib, compression
would take longer than N4.
"""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image, Nifti1Pair
from nibabel.nifti2 import Nifti2Image, Nifti2Pair
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from n4ax.files import replace_file
from n4ax.itk.linpack import decompose
from n4ax.itk.space import Space, check_same_place, drop_last_ones

_GZIP_LEVEL = 1  # of ISA-L's 0 to 3; higher levels save little on the voxels of corrected images
_GZIP_START = b"\x1f\x8b"  # because some files named .nii.gz are not compressed
_NIFTI2_STARTS = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
_MM_PER_UNIT = {1: 1e3, 3: 1e-3}  # NIfTI's codes for metres and micrometres
_S_PER_UNIT = {16: 1e-3, 24: 1e-6}  # NIfTI's codes for milliseconds and microseconds
_SAME_FORM = _RIGHT_ANGLES = 1e-4  # ITK's tolerances

_ISAL_ERROR: type[Exception] = isal_zlib.error  # pyright: ignore[reportAssignmentType] - a class
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    _ISAL_ERROR,
)


def read_image(path: Path) -> Nifti1Pair:
    """Read a NIfTI image (``.nii``, ``.nii.gz`` or ``.hdr``/``.img``), with its voxels unscaled.

    Raises
    ------
    ValueError
        The file is missing, cannot be read, or is not NIfTI; the message says which.
    """
    try:
        if path.name.endswith(".nii.gz"):
            content = path.read_bytes()
            _check_content(content)
            if content.startswith(_GZIP_START):
                content = igzip.decompress(content)
            kind = Nifti2Image if content[:4] in _NIFTI2_STARTS else Nifti1Image
            return kind.from_bytes(content)
        image = nib.load(path)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as NIfTI: {_reason(error)}") from None
    if not isinstance(image, Nifti1Pair):
        raise ValueError(
            f"{path} is a file of type {type(image).__name__}; expected NIfTI: convert it first"
        )
    return image


def read_voxels(image: Nifti1Pair, path: Path) -> npt.NDArray[np.float32]:
    """The voxels of an image as float32, with the header's slope and intercept applied.

    Raises
    ------
    ValueError
        The file is truncated, or its voxels are not real numbers.
    """
    kind = np.dtype(image.get_data_dtype())
    if kind.kind not in "biuf":
        raise ValueError(f"{path} has voxels of type {kind}; expected real numbers")
    try:
        # Values beyond the range of float32 become infinite, which is reported later.
        with np.errstate(over="ignore"):
            return np.asarray(image.dataobj, dtype=np.float32)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {_reason(error)}") from None


def read_affine(image: Nifti1Pair) -> npt.NDArray[np.float64]:
    """The affine of an image: voxel indices to mm, shape (4, 4)."""
    return np.asarray(image.affine, np.float64)


def read_voxel_sizes(image: Nifti1Pair) -> tuple[float, ...]:
    """The voxel size along each axis, converted to mm, and to s along the fourth axis.

    As in ITK, a size that the header does not state (0, negative or not finite) is 1.
    """
    sizes = np.asarray(image.header.get_zooms(), np.float64)
    sizes[~(np.isfinite(sizes) & (sizes > 0))] = 1.0
    # The lowest three bits hold the unit of length; nibabel fails on unknown codes.
    units = int(image.header["xyzt_units"])
    sizes[:3] *= _MM_PER_UNIT.get(units % 8, 1.0)
    sizes[3:4] *= _S_PER_UNIT.get(units & 0x38, 1.0)
    return tuple(float(size) for size in sizes)


def read_space(image: Nifti1Pair) -> Space:
    """Where ITK places the image in space, from the sform or the qform."""
    sizes = read_voxel_sizes(image)
    rows = _choose_form(image.header)
    if rows is None:
        return Space.from_spacing(sizes)
    ndim = len(sizes)
    spatial = min(ndim, 3)
    left_posterior = np.array([-1.0, -1.0, 1.0])[:spatial]
    matrix = rows[:spatial].astype(np.float64) * left_posterior[:, None]
    unit = _MM_PER_UNIT.get(int(image.header["xyzt_units"]) % 8, 1.0)
    origin, direction = np.zeros(ndim), np.eye(ndim)
    origin[:spatial] = matrix[:, 3] * unit
    if ndim > 3:
        origin[3] = float(image.header["toffset"])
    for axis in range(spatial):
        column = matrix[:, axis]
        square = 0.0
        for value in column.tolist():  # one by one, because the builtin sum compensates
            square += value * value
        length = square**0.5
        direction[:spatial, axis] = column / length if length else direction[:spatial, axis]
    return Space(sizes, tuple(origin.tolist()), tuple(map(tuple, direction.tolist())))


def _choose_form(header: Any) -> npt.NDArray[np.float32] | None:
    """The sform or the qform, shape (3, 4), by ITK's rules; ``None`` if the header has neither.

    ITK takes the sform if its axes are at right angles and either there is no qform, or the sform
    is that of the scanner (code 1), or both forms are the same. Otherwise it takes the qform. It
    reads both in float32.
    """
    q_code, s_code = int(header["qform_code"]), int(header["sform_code"])
    if q_code <= 0 and s_code <= 0:
        return None
    rows = np.stack([np.asarray(header[f"srow_{axis}"], np.float32) for axis in "xyz"])
    if q_code <= 0:
        return rows
    by_quaternion = _quaternion_rows(header)
    good = s_code > 0 and _at_right_angles(rows)
    return rows if good and (s_code == 1 or _same_form(rows, by_quaternion)) else by_quaternion


def _quaternion_rows(header: Any) -> npt.NDArray[np.float32]:
    """The qform, shape (3, 4), computed in float64 and rounded to float32."""
    b, c, d = (float(np.float32(header[f"quatern_{name}"])) for name in "bcd")
    square = b * b + c * c + d * d
    if 1.0 - square < 1e-7:
        scale = 1.0 / square**0.5
        a, b, c, d = 0.0, b * scale, c * scale, d * scale
    else:
        a = (1.0 - square) ** 0.5
    x, y, z = (float(size) if size > 0 else 1.0 for size in header["pixdim"][1:4])
    if header["pixdim"][0] < 0:
        z = -z
    offset = [float(header[f"qoffset_{name}"]) for name in "xyz"]
    rows = [
        [(a * a + b * b - c * c - d * d) * x, 2.0 * (b * c - a * d) * y, 2.0 * (b * d + a * c) * z],
        [2.0 * (b * c + a * d) * x, (a * a + c * c - b * b - d * d) * y, 2.0 * (c * d - a * b) * z],
        [2.0 * (b * d - a * c) * x, 2.0 * (c * d + a * b) * y, (a * a + d * d - c * c - b * b) * z],
    ]
    return np.array([[*row, end] for row, end in zip(rows, offset, strict=True)], np.float32)


def _at_right_angles(rows: npt.NDArray[np.float32]) -> bool:
    with np.errstate(all="ignore"):
        axes = rows[:, :3] / np.sqrt((rows[:, :3] ** 2).sum(axis=0))
        return bool(np.abs(axes @ axes.T - np.eye(3)).max() <= _RIGHT_ANGLES)


def _same_form(rows: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> bool:
    """ITK's test; where two voxel sizes are equal, its outcome depends on rounding."""
    (sizes, vectors), (other_sizes, other_vectors) = (
        decompose(form[:, :3]) for form in (rows, others)
    )
    turned = vectors @ np.linalg.inv(other_vectors)
    gaps = (sizes - other_sizes, turned - np.eye(3), rows[:, 3] - others[:, 3])
    return all(bool(np.abs(gap).max() <= _SAME_FORM) for gap in gaps)


def replace_voxels(
    image: Nifti1Pair, voxels: npt.NDArray[Any], dtype: Any = np.float32
) -> Nifti1Image:
    """An image with other voxels and the same header: affine, codes, units and extensions.

    Parameters
    ----------
    image
        The image that the header is taken from.
    voxels
        Real intensities, in the image's shape.
    dtype
        A data type, which is stored without scaling, or ``"same"``: the image's own type and
        scaling. Values of integer types are then rounded and clipped to the range of the type.
    """
    same = isinstance(dtype, str) and dtype == "same"
    kind = np.dtype(image.get_data_dtype() if same else dtype)
    slope, inter = 1.0, 0.0
    if same and kind.kind in "iu":
        # nibabel drops the scaling from the header; the data object still has it.
        slope = float(getattr(image.dataobj, "slope", 1.0))
        inter = float(getattr(image.dataobj, "inter", 0.0))
        voxels = _round_to((voxels.astype(np.float64) - inter) / slope, kind)
    header = image.header.copy()
    header.set_data_dtype(kind)
    single = Nifti2Image if isinstance(image, Nifti2Image | Nifti2Pair) else Nifti1Image
    result = single(voxels.astype(kind, copy=False), image.affine, header)
    result.header.set_slope_inter(slope, inter)
    return result


def _round_to(values: npt.NDArray[np.float64], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Round values to an integer type, and clip them to its range."""
    limits = np.iinfo(kind)
    most = float(limits.max)
    if most > limits.max:  # the float64 nearest to the largest 64-bit integer is above it
        most = float(np.nextafter(most, 0))
    return np.clip(np.rint(values), limits.min, most).astype(kind)


def write_image(image: Nifti1Image, path: Path) -> None:
    """Write an image to ``.nii`` or ``.nii.gz``, so that the file appears whole or not at all.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full; the error names ``path``.
    """
    content = image.to_bytes()
    if path.suffix == ".gz":
        content = igzip.compress(content, _GZIP_LEVEL, mtime=0)
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def read_on_grid(
    path: Path, image: Nifti1Pair, image_path: Path
) -> tuple[npt.NDArray[np.float32], Space]:
    """Read a file that must lie on the grid of ``image``, such as a mask.

    Axes of length 1 at the end of either shape do not count.

    Parameters
    ----------
    path
        The file to read.
    image, image_path
        The image that defines the grid, and its file for messages.

    Returns
    -------
    tuple
        The voxels in the image's shape, and where the file lies in space.

    Raises
    ------
    ValueError
        The file cannot be read, has another shape, or lies more than a thousandth of a voxel
        away from the image; the message names both files.
    """
    other = read_image(path)
    if drop_last_ones(other.shape) != drop_last_ones(image.shape):
        raise ValueError(
            f"{path} has shape {other.shape} and {image_path} has shape {image.shape}: "
            "resample one onto the other first"
        )
    theirs, ours = (Space.from_affine(read_affine(scan), 3) for scan in (other, image))
    check_same_place(str(path), theirs, str(image_path), ours)
    place = read_space(other if other.ndim == image.ndim else image)
    return read_voxels(other, path).reshape(image.shape), place


def _check_content(content: bytes) -> None:
    """Refuse files that are empty or only point to an image, with a message that says so."""
    if not content:
        raise ValueError("the file is empty")
    if b"/annex/objects/" in content[:1000]:
        raise ValueError(
            "the file only points to an image that has not been downloaded: fetch it first, for "
            "example with datalad get"
        )


def _reason(error: Exception) -> str:
    """The message of an error in one line, without the number of a system error."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__
