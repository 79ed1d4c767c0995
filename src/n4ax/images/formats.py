"""Image files that are not NIfTI: read as if they were, and written from what would be NIfTI.

nibabel reads and writes the files of FreeSurfer. ITK, by way of SimpleITK, reads and writes NRRD,
MetaImage and MINC, and reads series of DICOM. What a header says beyond the place of the voxels is
kept where an image is written in the format that it was read from.
"""

import errno
import locale
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image

from n4ax.extras import need_extra
from n4ax.files import borrow_file
from n4ax.images import gzip, headers, metaimage, zstd
from n4ax.images.dicom import NOTHING, read_series
from n4ax.images.lengths import measure_mgh
from n4ax.images.names import (
    DICOM,
    FREESURFER,
    ITK,
    META,
    NIFTI,
    NRRD,
    PAIRS,
    find_files,
    find_suffix,
)
from n4ax.itk.space import Space, drop_last_ones
from n4ax.messages import PROCESS_WIDE
from n4ax.paths import read_bytes

_LONGEST = 32767
"""So many voxels has an axis of NIfTI-1 at most."""
_MGH_KINDS = ("uint8", "int16", "int32", "float32")
PLACE = "where ITK places the image"
"""The key of :attr:`Nifti1Pair.extra` for the place of an image that ITK has read, whose last
digits an affine does not keep."""

_SOURCE = "header of a format that is not NIfTI"
"""The key of :attr:`Nifti1Pair.extra` for :class:`_Source`."""
_IN_ONE_FILE = {".mhd": ".mha", ".nhdr": ".nrrd"}
"""Formats with a file for the header, and the same formats in one file."""
_END_OF_HEADER = {".mhd": b"ElementDataFile = LOCAL\n", ".nhdr": b"\n\n"}
"""What the voxels follow in one file."""
_NAME_OF_VOXELS = {".mhd": "ElementDataFile = {}\n", ".nhdr": "\ndata file: {}\n"}
"""What stands in its place in a header that names the file of the voxels."""
_ADDRESS = re.compile(r"\(0x[0-9a-f]+\)")
_OF_NRRD = ("NRRD_content", "NRRD_sample units")
"""The fields of NRRD that neither say how the voxels are stored nor where they are."""


class _Source(NamedTuple):
    """What a file says beyond the voxels and their place."""

    family: tuple[str, ...]
    """The endings of the formats that can keep it."""
    header: Any
    """A header of FreeSurfer, or the dictionary of ITK."""
    rest: bytes = b""
    """The tags at the end of a file of FreeSurfer."""


def is_other(path: Path) -> bool:
    """Whether a file is one that this module reads, by its name; so is every folder."""
    return find_suffix(path) in (*FREESURFER, *ITK, *DICOM) or path.is_dir()


def is_like(path: Path, other: Path) -> bool:
    """Whether two images are of one format, or of two that keep the same digits of a place."""
    kinds = ((*NIFTI, *PAIRS), FREESURFER, NRRD, META)
    suffixes = find_suffix(path), find_suffix(other)
    return suffixes[0] == suffixes[1] or any(all(s in kind for s in suffixes) for kind in kinds)


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
    if path.is_dir() and not any(part.is_file() for part in path.iterdir()):
        raise ValueError(NOTHING.format(path))
    sitk = load_itk(path)
    try:
        if path.is_dir() or suffix in DICOM:
            with keep_locale():
                return _from_itk(read_series(path, sitk), path, sitk)
        if suffix in META:
            metaimage.check_axes(path)
        # ITK finds the format of MetaImage by the ending in small letters.
        image = sitk.ReadImage(str(path), imageIO="MetaImageIO" if suffix in META else "")
        if suffix in META:
            metaimage.check_voxels(path, sitk.GetArrayViewFromImage(image))
        made = _from_itk(image, path, sitk)
        made.extra[_SOURCE] = _Source(_find_family(suffix), _read_dictionary(image))
        return made
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read: {_give_reason(error)}") from None


def write(image: Nifti1Image, path: Path, places: Sequence[Path], num_threads: int) -> None:
    """Write an image in the format that the name of the file says.

    Parameters
    ----------
    image
        The image.
    path
        The name of the file.
    places
        Where to write each of the files that :func:`n4ax.images.names.find_files` names.
    num_threads
        Number of threads that compress a file of FreeSurfer.

    Raises
    ------
    ImportError
        The format needs SimpleITK, which is not installed.
    OSError
        The file cannot be written.
    ValueError
        The format has no images with so many axes.
    """
    if find_suffix(path) in FREESURFER:
        content = _encode_mgh(image)
        packed = find_suffix(path) == ".mgz"
        pieces = gzip.compress([content], num_threads) if packed else [content]
        places[0].write_bytes(b"".join(pieces))
    else:
        _write_by_itk(image, path, places)


def need_library(path: Path) -> None:
    """Check that the library is installed by which a file of this name is read and written.

    Raises
    ------
    ImportError
        It is not; the message says how to install it.
    """
    if find_suffix(path) in (*ITK, *DICOM) or path.is_dir():
        load_itk(path)
    elif find_suffix(path) == ".nii.zst":
        zstd.load_zstd()


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
    with PROCESS_WIDE:
        before = locale.setlocale(locale.LC_ALL)
        try:
            yield
        finally:
            locale.setlocale(locale.LC_ALL, before)


def _give_reason(error: RuntimeError) -> str:
    """The last line of an error of ITK, without addresses in memory, which always differ."""
    lines = str(error).strip().splitlines() or ["ITK does not say why"]
    return _ADDRESS.sub("", lines[-1]).strip()


def _read_mgh(path: Path) -> Nifti1Image:
    try:
        content = path.read_bytes()
        packed = find_suffix(path) == ".mgz"
        content = gzip.decompress(content, measure_mgh) if packed else content
        image: Any = nib.MGHImage.from_bytes(content)
        _check_length(image, content)
        voxels = np.asanyarray(image.dataobj)
        made = _make_nifti(voxels, image.affine)
    except Exception as error:  # damaged files fail in many ways
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if voxels.ndim > 3:
        made.header["pixdim"][4] = float(image.header["tr"]) / 1000
    tags = content[_find_tags(image.header) :]
    made.extra[_SOURCE] = _Source(FREESURFER, image.header.copy(), tags)
    return made


def _check_length(image: Any, content: bytes) -> None:
    """Refuse a file of FreeSurfer that is shorter than its header says, before memory is taken."""
    shape = tuple(map(int, image.shape))
    needed = math.prod(shape) * image.get_data_dtype().itemsize
    left = len(content) - image.header.get_data_offset()
    if min(shape) < 1 or left < needed:
        raise ValueError(
            f"its header asks for voxels of shape {shape}, and {left} bytes follow it: it "
            "may have been cut off"
        )


def _find_tags(header: Any) -> int:
    """The byte of a file of FreeSurfer at which its tags begin, after the times and the angle."""
    return int(header.get_footer_offset()) + header._ftrdtype.itemsize


def _encode_mgh(image: Nifti1Image) -> bytes:
    """The content of a file of FreeSurfer, not compressed."""
    voxels: Any = np.asanyarray(image.dataobj)
    voxels = voxels.reshape(drop_last_ones(voxels.shape, least=3))
    source: _Source | None = image.extra.get(_SOURCE)
    kinds = _MGH_KINDS
    header: Any = nib.MGHImage.header_class()
    tags = b""
    if source is not None and source.family == FREESURFER:
        header, tags = source.header.copy(), source.rest
        kinds = (*kinds, header.get_data_dtype().name)
    elif voxels.ndim > 3:
        header["tr"] = 1000 * _read_step(image)
    kind = np.dtype(voxels.dtype.name if voxels.dtype.name in kinds else "float32")
    header.set_data_dtype(kind)
    affine = headers.scale_affine(image.header, image.affine)
    made: Any = nib.MGHImage(voxels.astype(kind, copy=False), affine, header)
    return made.to_bytes() + tags


def _make_nifti(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Nifti1Image:
    """An image of NIfTI, whose voxels have a type that NIfTI has."""
    if voxels.dtype.kind == "b":
        voxels = voxels.astype(np.uint8)
    if voxels.dtype.kind not in "iuf" or voxels.dtype.itemsize > 8:
        raise ValueError(f"the voxels are {voxels.dtype}; expected real numbers")
    if max(voxels.shape) > _LONGEST:
        raise ValueError(f"its shape is {voxels.shape}; expected {_LONGEST} voxels at most")
    if not np.isfinite(affine).all():
        raise ValueError("its header places the voxels at numbers that are not finite")
    with np.errstate(all="ignore"):  # voxels may have no size
        made = Nifti1Image(voxels, affine, dtype=voxels.dtype)
    made.header.set_xyzt_units("mm", "sec")
    return made


def _from_itk(image: Any, path: Path, sitk: Any) -> Nifti1Image:
    count = image.GetNumberOfComponentsPerPixel()
    if count != 1:
        raise ValueError(f"{path} has {count} numbers in each voxel; expected one")
    n = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (n, n))
    space = Space(image.GetSpacing(), image.GetOrigin(), tuple(map(tuple, direction.tolist())))
    affine = space.select_axes(range(min(n, 3))).to_affine()
    assert affine is not None
    try:
        made = _make_nifti(sitk.GetArrayFromImage(image).T, affine)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    made.extra[PLACE] = space
    if n > 3:
        made.header["pixdim"][4] = image.GetSpacing()[3]
    return made


def _to_itk(
    voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64], step: float, sitk: Any
) -> Any:
    """An image of ITK; ``step`` are the seconds from one volume to the next.

    An image of 2 axes that do not lie in the plane of ITK's x and y gets a third, of one voxel.
    """
    if voxels.ndim == 2 and (affine[2, :2].any() or affine[:2, 2].any()):
        voxels = voxels[..., None]
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


def _find_family(suffix: str) -> tuple[str, ...]:
    """The formats that keep what a file of ITK says; those of MINC would say the wrong type."""
    return next((family for family in (NRRD, META) if suffix in family), ())


def _read_dictionary(image: Any) -> dict[str, str]:
    """What an image of ITK says in text, except how its voxels are stored and where they are."""
    found: dict[str, str] = {}
    for key in image.GetMetaDataKeys():
        if key.startswith(("ITK_", "NRRD_")) and key not in _OF_NRRD:
            continue
        try:
            text = image.GetMetaData(key)
        except TypeError:  # the key has bytes that are no characters
            continue
        if "[UNKNOWN_PRINT_CHARACTERISTICS]" not in text:
            found[key] = text
    return found


def _write_by_itk(image: Nifti1Image, path: Path, places: Sequence[Path]) -> None:
    """Write an image by ITK in one file, and take that apart if the format has two."""
    sitk, suffix = load_itk(path), find_suffix(path)
    if suffix == ".mnc" and image.ndim > 3:  # ITK would end the program
        raise ValueError(
            f"{path} cannot hold an image of {image.ndim} axes: ITK writes MINC with up to 3; "
            "choose another format, such as .nii.gz"
        )
    source: _Source | None = image.extra.get(_SOURCE)
    step = _read_step(image) or 1.0
    affine = headers.scale_affine(image.header, image.affine)
    # ITK writes some formats only under names with small letters.
    with borrow_file(path, _IN_ONE_FILE.get(suffix, suffix)) as whole:
        try:
            made = _to_itk(np.asanyarray(image.dataobj), affine, step, sitk)
            if source is not None and suffix in source.family:
                for key, text in source.header.items():
                    made.SetMetaData(key, text)
            _write_whole(made, whole, path, sitk)
        except RuntimeError as error:
            reason = _give_reason(error).replace(f"{whole}: ", "").replace(str(whole), str(path))
            message = f"ITK did not write it ({reason}); the disk may be full"
            raise OSError(errno.EIO, message, str(path)) from None
        content = read_bytes(whole)
    if suffix in _IN_ONE_FILE:
        header, _, voxels = content.partition(_END_OF_HEADER[suffix])
        name = _NAME_OF_VOXELS[suffix].format(find_files(path)[1].name)
        places[0].write_bytes(header + name.encode())
        places[1].write_bytes(voxels)
    else:
        places[0].write_bytes(content)


def _write_whole(made: Any, whole: Path, path: Path, sitk: Any) -> None:
    """Write a file. ITK takes an interrupted call for a failure, so a second attempt decides."""
    for is_last in (False, True):
        try:
            sitk.WriteImage(made, str(whole), useCompression=True)
            _check_written(made, whole, path, sitk)
            return
        except (RuntimeError, OSError):
            if is_last:
                raise


def _check_written(made: Any, whole: Path, path: Path, sitk: Any) -> None:
    """Read a file again, since ITK does not notice if the disk is full.

    Raises
    ------
    OSError
        The file is not what was to be written. The error names ``path``.
    """
    try:
        there = sitk.ReadImage(str(whole), made.GetPixelID())
        voxels, written = (sitk.GetArrayViewFromImage(one) for one in (made, there))
        # MINC scales each slice, which rounds.
        is_whole = find_suffix(path) == ".mnc" or np.array_equal(voxels, written, equal_nan=True)
    except RuntimeError:
        is_whole = False
    if not is_whole:
        raise OSError(errno.EIO, "it was not written whole; the disk may be full", str(path))


def _read_step(image: Nifti1Image) -> float:
    """The seconds from one volume to the next; 0 if the header does not say it."""
    if image.ndim <= 3 or not float(image.header["pixdim"][4]) > 0:
        return 0.0
    return headers.read_voxel_sizes(image.header, image.ndim)[3]
