"""NIfTI files in and out: headers kept, scaling honoured, written whole or not at all.

gzip goes through ISA-L (igzip), several times faster than zlib: else (de)compression would take
longer than N4.
"""

from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError

from n4ax.atomic import replaced

SUFFIXES = (".nii", ".nii.gz")
_GZIP_LEVEL = 1  # ISA-L's levels are 0 to 3; the voxels of a corrected image gain little beyond


def read_image(path: Path) -> Nifti1Image:
    """A NIfTI image (``.nii``, ``.nii.gz`` or ``.hdr``/``.img``), voxels not yet scaled.

    Raises
    ------
    ValueError
        The file is missing, cannot be read, or is not NIfTI; the message says which.
    """
    try:
        if path.suffix == ".gz":
            packed = igzip.decompress(path.read_bytes())
            kind = nib.Nifti2Image if packed[:4] in _NIFTI2_STARTS else Nifti1Image
            return kind.from_bytes(packed)
        image = nib.load(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, EOFError, ImageFileError, HeaderDataError, isal_zlib.error) as error:
        raise ValueError(f"{path} cannot be read as NIfTI: {_one_line(error)}") from None
    if not isinstance(image, nib.Nifti1Pair):
        raise ValueError(f"{path} is not NIfTI but {type(image).__name__}: convert it first")
    return image


_NIFTI2_STARTS = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))


def read_voxels(image: Nifti1Image, path: Path) -> npt.NDArray[np.float32]:
    """The voxels of an image as float32, with the header's slope and intercept.

    Raises
    ------
    ValueError
        The file ends early, or its voxels are not real numbers.
    """
    kind = image.get_data_dtype().kind
    if kind not in "biuf":
        raise ValueError(
            f"{path} has voxels of type {image.get_data_dtype()}; expected real numbers"
        )
    try:
        return np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {_one_line(error)}") from None


def voxel_sizes(image: Nifti1Image) -> tuple[float, ...]:
    """Voxel size along each axis, in the header's units (mm)."""
    return tuple(float(size) for size in image.header.get_zooms()[: image.ndim])


def with_voxels(
    image: Nifti1Image, voxels: npt.NDArray[Any], dtype: Literal["float32", "same"] = "float32"
) -> Nifti1Image:
    """An image with other voxels and the same header: affine, codes, units and extensions.

    Parameters
    ----------
    image
        Whose header to keep.
    voxels
        Real intensities, in the image's shape.
    dtype
        ``"float32"``, unscaled, or ``"same"``: the image's type and scaling, integers rounded
        and clipped to their range.
    """
    header = image.header.copy()
    if dtype == "same" and image.get_data_dtype().kind in "iu":
        return _same_integers(image, header, voxels)
    kind = image.get_data_dtype() if dtype == "same" else np.dtype(np.float32)
    header.set_data_dtype(kind)
    header.set_slope_inter(1, 0)
    return type(image)(voxels.astype(kind, copy=False), image.affine, header)


def _same_integers(image: Nifti1Image, header: Any, voxels: npt.NDArray[Any]) -> Nifti1Image:
    kind = image.get_data_dtype()
    # The header that nibabel hands out has lost its scaling; the data object has it.
    slope = float(getattr(image.dataobj, "slope", 1.0))
    inter = float(getattr(image.dataobj, "inter", 0.0))
    info = np.iinfo(kind)
    stored = np.rint((voxels.astype(np.float64) - inter) / slope)
    stored = np.clip(stored, info.min, info.max).astype(kind)
    result = type(image)(stored, image.affine, header)
    result.header.set_slope_inter(slope, inter)
    return result


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
    with replaced(path) as temporary:
        temporary.write_bytes(content)


def check_output_name(path: Path) -> None:
    """Raise ``ValueError`` unless the name ends as a NIfTI file's does."""
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{path}: expected a name ending in .nii or .nii.gz")


def same_grid(image: Nifti1Image, other: Nifti1Image, names: tuple[Path, Path]) -> None:
    """Raise ``ValueError`` unless two images have one shape, and affines within 1e-3."""
    if image.shape != other.shape:
        raise ValueError(
            f"{names[1]} has shape {other.shape} and {names[0]} has shape {image.shape}: "
            "resample one onto the other first"
        )
    gap = np.abs(image.affine - other.affine)
    if gap.max() > 1e-3:
        row, column = np.unravel_index(gap.argmax(), gap.shape)
        raise ValueError(
            f"{names[1]} and {names[0]} have different affines: {other.affine[row, column]:.6g} "
            f"and {image.affine[row, column]:.6g} in row {row}, column {column}. Resample one "
            "onto the other, or, if only its header is wrong, copy the header"
        )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
