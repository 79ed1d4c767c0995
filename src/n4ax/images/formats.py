"""Image files that are not NIfTI: read as if they were, and written from what would be NIfTI.

nibabel reads and writes the files of FreeSurfer. ITK, by way of SimpleITK, reads and writes NRRD,
MetaImage and MINC, and reads series of DICOM.
"""

import locale
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image

from n4ax.extras import need_extra
from n4ax.images import gzip
from n4ax.images.names import DICOM, FREESURFER, ITK, find_suffix
from n4ax.itk.space import Space

_MGH_KINDS = ("uint8", "int16", "int32", "float32")


def is_other(path: Path) -> bool:
    """Whether a file is one that this module reads, by its name; so is every folder."""
    return find_suffix(path) in (*FREESURFER, *ITK, *DICOM) or path.is_dir()


def read(path: Path) -> Nifti1Image:
    """Read an image, as if it were NIfTI.

    Raises
    ------
    ImportError
        The file needs SimpleITK, which is not installed.
    ValueError
        The file is missing or cannot be read.
    """
    if not path.exists():
        raise ValueError(f"{path}: there is no such file")
    suffix = find_suffix(path)
    if suffix in FREESURFER:
        return _read_mgh(path)
    sitk = load_itk(path)
    try:
        if path.is_dir() or suffix in DICOM:
            with keep_locale():
                return _from_itk(_read_series(path, sitk), sitk)
        return _from_itk(sitk.ReadImage(str(path)), sitk)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path} cannot be read: {reason}") from None


def write(image: Nifti1Image, path: Path, num_threads: int = 1) -> None:
    """Write an image in the format that the name of the file says.

    Parameters
    ----------
    image
        The image.
    path
        The file.
    num_threads
        Number of threads that compress a file of FreeSurfer.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    voxels: Any = np.asanyarray(image.dataobj)
    affine = np.asarray(image.affine)
    if find_suffix(path) in FREESURFER:
        kind = voxels.dtype.name if voxels.dtype.name in _MGH_KINDS else "float32"
        made: Any = nib.MGHImage(voxels.astype(kind, copy=False), affine)
        if voxels.ndim > 3:
            made.header["tr"] = 1000 * float(image.header["pixdim"][4])
        content = made.to_bytes()
        packed = find_suffix(path) == ".mgz"
        path.write_bytes(b"".join(gzip.compress([content], num_threads)) if packed else content)
        return
    sitk = load_itk(path)
    try:
        step = float(image.header["pixdim"][4]) or 1.0
        sitk.WriteImage(_to_itk(voxels, affine, step, sitk), str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1].strip()) from None


def load_itk(path: Path) -> Any:
    """Import SimpleITK for a file.

    Raises
    ------
    ImportError
        It is not installed; the message says how to install it.
    """
    with need_extra("simpleitk", f"{path}, an image of a format of ITK,"):
        import SimpleITK as sitk
    return sitk


@contextmanager
def keep_locale() -> Iterator[None]:
    """Restore the locale after the block, which ITK changes when it reads or writes DICOM."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _read_mgh(path: Path) -> Nifti1Image:
    try:
        content = path.read_bytes()
        packed = find_suffix(path) == ".mgz"
        image: Any = nib.MGHImage.from_bytes(gzip.decompress(content) if packed else content)
        voxels = np.asanyarray(image.dataobj)
    except Exception as error:  # damaged files fail in many ways
        raise ValueError(f"{path} cannot be read: {error}") from None
    made = _make_nifti(voxels, image.affine)
    if voxels.ndim > 3:
        made.header["pixdim"][4] = float(image.header["tr"]) / 1000
    return made


def _make_nifti(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Nifti1Image:
    """An image of NIfTI, whose voxels have a type that NIfTI has."""
    if voxels.dtype.kind == "b":
        voxels = voxels.astype(np.uint8)
    if voxels.dtype.kind not in "iuf" or voxels.dtype.itemsize > 8:
        raise ValueError(f"the voxels are {voxels.dtype}; expected real numbers")
    made = Nifti1Image(voxels, affine, dtype=voxels.dtype)
    made.header.set_xyzt_units("mm", "sec")
    return made


def _from_itk(image: Any, sitk: Any) -> Nifti1Image:
    count = image.GetNumberOfComponentsPerPixel()
    if count != 1:
        raise ValueError(f"the image has {count} numbers in each voxel; expected one")
    n = image.GetDimension()
    spatial = min(n, 3)
    direction = np.reshape(image.GetDirection(), (n, n))[:spatial, :spatial]
    space = Space(
        image.GetSpacing()[:spatial],
        image.GetOrigin()[:spatial],
        tuple(tuple(float(x) for x in row) for row in direction),
    )
    affine = space.to_affine()
    assert affine is not None
    made = _make_nifti(sitk.GetArrayFromImage(image).T, affine)
    if n > 3:
        made.header["pixdim"][4] = image.GetSpacing()[3]
    return made


def _to_itk(
    voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64], step: float, sitk: Any
) -> Any:
    """An image of ITK; ``step`` are the seconds from one volume to the next."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T), isVector=False)
    n = voxels.ndim
    spatial = min(n, 3)
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    direction = np.eye(n)
    direction[:spatial, :spatial] = (matrix[:3, :3] / sizes)[:spatial, :spatial]
    image.SetSpacing([*sizes[:spatial].tolist(), *[step] * (n - spatial)])
    image.SetOrigin([*matrix[:spatial, 3].tolist(), *[0.0] * (n - spatial)])
    image.SetDirection(direction.ravel().tolist())
    return image


def _read_series(path: Path, sitk: Any) -> Any:
    """Read a series of DICOM: the only one in a folder, or that of a file."""
    folder = path if path.is_dir() else path.parent
    found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not found and path.is_dir():
        raise ValueError(f"{folder} is a folder without a series of DICOM")
    files = {one: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), one) for one in found}
    if path.is_dir() and len(found) > 1:
        examples = ", ".join(Path(names[0]).name for names in files.values())
        raise ValueError(
            f"{folder} has {len(found)} series of DICOM: name a file of one of them ({examples})"
        )
    names = next(
        (names for names in files.values() if path.is_dir() or str(path) in map(str, names)), None
    )
    if names is None:
        raise ValueError(f"{path} is not part of a series of DICOM in its folder")
    return sitk.ReadImage(names)
