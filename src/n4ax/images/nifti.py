"""NIfTI files in and out: headers kept, scaling honoured, written whole or not at all.

gzip goes through ISA-L (igzip), several times faster than zlib: else (de)compression would take
longer than N4.
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
from n4ax.itk.linpack import singular_values
from n4ax.itk.space import Space, check_same_place, without_last_ones

_GZIP_LEVEL = 1  # ISA-L's levels are 0 to 3; the voxels of a corrected image gain little beyond
_GZIP_START = b"\x1f\x8b"  # files named .nii.gz are not always packed
_NIFTI2_STARTS = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
_MM_PER_UNIT = {1: 1e3, 3: 1e-3}  # NIfTI's codes for metre and micrometre
_S_PER_UNIT = {16: 1e-3, 24: 1e-6}  # and for milliseconds and microseconds
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
    """A NIfTI image (``.nii``, ``.nii.gz`` or ``.hdr``/``.img``), voxels not yet scaled.

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
        raise ValueError(f"{path} is not NIfTI but {type(image).__name__}: convert it first")
    return image


def read_voxels(image: Nifti1Pair, path: Path) -> npt.NDArray[np.float32]:
    """The voxels of an image as float32, with the header's slope and intercept.

    Raises
    ------
    ValueError
        The file ends early, or its voxels are not real numbers.
    """
    kind = np.dtype(image.get_data_dtype())
    if kind.kind not in "biuf":
        raise ValueError(f"{path} has voxels of type {kind}; expected real numbers")
    try:
        # Beyond the range of float32 lies infinity, which is reported as such later.
        with np.errstate(over="ignore"):
            return np.asarray(image.dataobj, dtype=np.float32)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {_reason(error)}") from None


def affine_of(image: Nifti1Pair) -> npt.NDArray[np.float64]:
    """Voxel indices to mm, shape (4, 4)."""
    return np.asarray(image.affine, np.float64)


def voxel_sizes(image: Nifti1Pair) -> tuple[float, ...]:
    """Voxel size along each axis: in mm, and in s along the fourth, whatever the header's units.

    As in ITK, a size that the header leaves open (0, or not a number) is 1.
    """
    sizes = np.asarray(image.header.get_zooms(), np.float64)
    sizes[~(np.isfinite(sizes) & (sizes > 0))] = 1.0
    # The unit of length is in the lowest three bits; nibabel's names fail for unknown codes.
    units = int(image.header["xyzt_units"])
    sizes[:3] *= _MM_PER_UNIT.get(units % 8, 1.0)
    sizes[3:4] *= _S_PER_UNIT.get(units & 0x38, 1.0)
    return tuple(float(size) for size in sizes)


def space_of(image: Nifti1Pair) -> Space:
    """Where ITK finds the image in space: from the sform or the qform, by its rules.

    The sform is taken if its axes are at right angles and there is no qform, it is that of the
    scanner (code 1), or both say the same; else the qform. ITK reads both in float32.
    """
    sizes = voxel_sizes(image)
    ndim = len(sizes)
    header = image.header
    space = Space.plain(sizes)
    q_code, s_code = int(header["qform_code"]), int(header["sform_code"])
    if q_code <= 0 and s_code <= 0:
        return space
    rows = np.stack([np.asarray(header[f"srow_{axis}"], np.float32) for axis in "xyz"])
    if q_code > 0:
        by_quaternion = _quaternion_rows(header)
        good = s_code > 0 and _at_right_angles(rows)
        if not good or not (s_code == 1 or _same_form(rows, by_quaternion)):
            rows = by_quaternion
    spatial = min(ndim, 3)
    left_posterior = np.array([-1.0, -1.0, 1.0])[:spatial]
    matrix = rows[:spatial].astype(np.float64) * left_posterior[:, None]
    unit = _MM_PER_UNIT.get(int(header["xyzt_units"]) % 8, 1.0)
    origin, direction = np.zeros(ndim), np.eye(ndim)
    origin[:spatial] = matrix[:, 3] * unit
    if ndim > 3:
        origin[3] = float(header["toffset"])
    for axis in range(spatial):
        column = matrix[:, axis]
        square = 0.0
        for value in column.tolist():  # one by one: the builtin sum compensates
            square += value * value
        length = square**0.5
        direction[:spatial, axis] = column / length if length else direction[:spatial, axis]
    return Space(sizes, tuple(origin.tolist()), tuple(map(tuple, direction.tolist())))


def _quaternion_rows(header: Any) -> npt.NDArray[np.float32]:
    """The qform, shape (3, 4), computed in double and kept in float32."""
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
    """ITK's test: where two voxel sizes are equal its outcome hangs on rounding."""
    (sizes, vectors), (other_sizes, other_vectors) = (
        singular_values(form[:, :3]) for form in (rows, others)
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
        Whose header to keep.
    voxels
        Real intensities, in the image's shape.
    dtype
        A type, unscaled, or ``"same"``: the image's type and scaling, integers rounded and
        clipped to their range.
    """
    same = isinstance(dtype, str) and dtype == "same"
    kind = np.dtype(image.get_data_dtype() if same else dtype)
    slope, inter = 1.0, 0.0
    if same and kind.kind in "iu":
        # The header that nibabel hands out has lost its scaling; the data object has it.
        slope = float(getattr(image.dataobj, "slope", 1.0))
        inter = float(getattr(image.dataobj, "inter", 0.0))
        voxels = _rounded((voxels.astype(np.float64) - inter) / slope, kind)
    header = image.header.copy()
    header.set_data_dtype(kind)
    single = Nifti2Image if isinstance(image, Nifti2Image | Nifti2Pair) else Nifti1Image
    result = single(voxels.astype(kind, copy=False), image.affine, header)
    result.header.set_slope_inter(slope, inter)
    return result


def _rounded(values: npt.NDArray[np.float64], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    limits = np.iinfo(kind)
    most = float(limits.max)
    if most > limits.max:  # 64 bits: the double nearest to the largest integer is above it
        most = float(np.nextafter(most, 0))
    return np.clip(np.rint(values), limits.min, most).astype(kind)


def write_image(image: Nifti1Image, path: Path) -> None:
    """Write an image to ``.nii`` or ``.nii.gz``; the file appears whole or not at all.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    content = image.to_bytes()
    if path.suffix == ".gz":
        content = igzip.compress(content, _GZIP_LEVEL, mtime=0)
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def read_on_grid(
    path: Path, image: Nifti1Pair, image_path: Path
) -> tuple[npt.NDArray[np.float32], Space]:
    """The voxels of the file ``path``, which must lie on the grid of ``image``, and its place.

    Axes of length 1 at the end of either shape do not count.

    Raises
    ------
    ValueError
        It cannot be read, has another shape, or lies elsewhere by more than a thousandth of a
        voxel; the message names both files.
    """
    other = read_image(path)
    if without_last_ones(other.shape) != without_last_ones(image.shape):
        raise ValueError(
            f"{path} has shape {other.shape} and {image_path} has shape {image.shape}: "
            "resample one onto the other first"
        )
    theirs, ours = (Space.of_affine(affine_of(scan), 3) for scan in (other, image))
    check_same_place(str(path), theirs, str(image_path), ours)
    place = space_of(other if other.ndim == image.ndim else image)
    return read_voxels(other, path).reshape(image.shape), place


def _check_content(content: bytes) -> None:
    """Refuse what is no image at all, and say what it is."""
    if not content:
        raise ValueError("the file is empty")
    if b"/annex/objects/" in content[:1000]:
        raise ValueError("it only points to the image, which is not here: fetch it (datalad get)")


def _reason(error: Exception) -> str:
    """An error in one line; of one from the system without its number."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__
