"""NIfTI files are read and written here; headers are kept, and their scaling is applied.

What a header means is said in :mod:`n4ax.images.headers`, and :mod:`n4ax.images.gzip` compresses.
"""

import math
import warnings
from collections.abc import Sequence
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image, Nifti1Pair
from nibabel.nifti2 import Nifti2Header, Nifti2Image, Nifti2Pair
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import native_code
from nibabel.wrapstruct import WrapStructError

from n4ax.files import replace_file, replace_files
from n4ax.images import formats, gzip, headers, plain, zstd
from n4ax.images.beginning import LENGTH, check_content, parse_header
from n4ax.images.grids import Grid, check_kind, check_same_grid
from n4ax.images.lengths import measure_nifti
from n4ax.images.names import READ, find_files, find_suffix
from n4ax.itk.space import Space
from n4ax.messages import PROCESS_WIDE, give_reason, silence_nibabel
from n4ax.paths import check_here

_STATED = "header as it is in the file"
"""The key of :attr:`Nifti1Pair.extra` for the header before it was mended."""
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    gzip.ISAL_ERROR,
)
"""What is raised for files that cannot be read."""


def read_image(path: Path) -> Nifti1Pair:
    """Read an image, with its voxels unscaled: NIfTI, or what :mod:`n4ax.images.formats` reads.

    A header that breaks the rules of the format is read as ITK reads it, and the header of the
    image is mended, so that nibabel and others can read what is written with it.

    Raises
    ------
    ImportError
        The file needs a library that is not installed.
    ValueError
        The file is missing, cannot be read, or is not NIfTI; the message says which.
    """
    check_here(path)
    if formats.is_other(path):
        return formats.read(path)
    try:
        suffix = find_suffix(path)
        if suffix in (".nii.gz", ".nii.zst"):
            content = path.read_bytes()
            check_content(content)
            content = (gzip if suffix == ".nii.gz" else zstd).decompress(content, measure_nifti)
            image = _assemble(BytesIO(content), BytesIO(content), single=True)
            if image is None:
                raise ImageFileError("it does not begin with a header of NIfTI")
        else:
            image = _read_uncompressed(path)
    except UNREADABLE as error:
        known = "" if find_suffix(path) else f"; n4ax reads {', '.join(READ)}"
        raise ValueError(f"{path} cannot be read as NIfTI: {give_reason(error)}{known}") from None
    if not isinstance(image, Nifti1Pair):
        raise ValueError(
            f"{path} is a file of type {type(image).__name__}; expected NIfTI: convert it first"
        )
    return image


def _read_uncompressed(path: Path) -> Any:
    """Open any file but ``.nii.gz``. Its voxels stay in the file until they are needed."""
    for kind in (Nifti1Image, Nifti1Pair):
        try:
            files = kind.filespec_to_file_map(path)
        except ImageFileError:  # it is for files with other extensions
            continue
        single = kind is Nifti1Image
        header, voxels = (files[key].filename for key in ("image" if single else "header", "image"))
        with ImageOpener(str(header)) as stream:
            image = _assemble(stream, voxels, single=single)
        if image is not None:
            return image
    with silence_nibabel():
        return nib.load(path)


def _assemble(stream: Any, voxels: Any, *, single: bool) -> Nifti1Pair | None:
    """Make an image from its header and the file with its voxels, ``None`` if it is not NIfTI.

    Parameters
    ----------
    stream
        The header, from its first byte.
    voxels
        The file with the voxels: a path, or a stream.
    single
        Whether the header and the voxels are in the same file.
    """
    parsed = parse_header(stream.read(LENGTH), single=single)
    if parsed is None:
        return None
    kind, header, stated = parsed
    size = header.sizeof_hdr
    start = size if single else 0
    needed = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    length = stream.seek(0, SEEK_END)
    offset = headers.read_offset(stated, start, length - start - needed)
    stream.seek(size)
    end = min(offset, length) if single else length
    header.extensions = _read_extensions(header, stream.read(max(0, end - size)))
    # nibabel has other rules for the scaling.
    spec = (header.get_data_shape(), header.get_data_dtype(), offset, *headers.read_scaling(stated))
    proxy = kind.ImageArrayProxy(voxels, spec)
    with np.errstate(all="ignore"):  # nibabel multiplies whatever sizes the header has
        return kind(proxy, headers.find_affine(header), header, extra={_STATED: stated})


def _read_extensions(header: Any, rest: bytes) -> Any:
    """The extensions in the bytes that follow a header; none if they are damaged."""
    kind = header.exts_klass
    if rest[:1] in (b"", b"\0"):
        return kind()
    stream = BytesIO(rest[4:])  # which gives what there is, whatever size an extension claims
    swapped = header.endianness != native_code
    with PROCESS_WIDE, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes that nibabel reads nevertheless
        try:
            return kind.from_fileobj(stream, len(rest) - 4, swapped)
        except (ValueError, OverflowError, HeaderDataError):  # ITK reads the image without them
            return kind()


def read_voxels(image: Nifti1Pair, path: Path) -> npt.NDArray[np.float32]:
    """The voxels of an image as float32, with the header's slope and intercept applied.

    Raises
    ------
    ValueError
        The file is truncated, or its voxels are not real numbers.
    """
    check_kind(np.dtype(image.get_data_dtype()), path)
    try:
        # Values beyond the range of float32 become infinite, which is reported later.
        with np.errstate(over="ignore"):
            return scale_voxels(image, np.float32)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {give_reason(error)}") from None


def scale_voxels(image: Any, dtype: Any) -> npt.NDArray[Any]:
    """The voxels of an image of nibabel as floating-point numbers, scaled as ITK scales them.

    Parameters
    ----------
    image
        An image with real voxels.
    dtype
        float32 or float64.
    """
    proxy = image.dataobj
    if not isinstance(proxy, ArrayProxy):
        return np.asarray(proxy, dtype)
    return plain.scale(_read_stored(proxy), float(proxy.slope), float(proxy.inter), dtype)


def _read_stored(proxy: ArrayProxy) -> npt.NDArray[Any]:
    """The numbers in the file, without a copy if the content of the file is in memory.

    The header is not trusted: memory is taken for what the file has.

    Raises
    ------
    EOFError
        The file has fewer bytes than the header asks for.
    """
    source, first, count = proxy.file_like, int(proxy.offset), math.prod(proxy.shape)
    last = first + count * proxy.dtype.itemsize
    if isinstance(source, BytesIO):
        whole = source.getvalue()
        _check_length(len(whole), first, last)
        flat = np.frombuffer(whole, proxy.dtype, count, first)
        return flat.reshape(proxy.shape, order="F")
    if isinstance(source, str):
        with ImageOpener(source) as file:
            _check_length(file.seek(0, SEEK_END), first, last)
    return proxy.get_unscaled()


def _check_length(size: int, first: int, last: int) -> None:
    if size < last:
        raise EOFError(
            f"its header asks for {last - first} bytes of voxels from byte {first} on, and the "
            f"file has {size}: it may have been cut off"
        )


def read_affine(image: Nifti1Pair) -> npt.NDArray[np.float64]:
    """The affine of an image: voxel indices to mm, shape (4, 4), whatever unit its header has."""
    return headers.scale_affine(image.header, image.affine)


def read_grid(image: Nifti1Pair) -> Grid:
    """The grid of an image's voxels."""
    return Grid(image.shape, np.dtype(image.get_data_dtype()), read_affine(image))


def read_voxel_sizes(image: Nifti1Pair) -> tuple[float, ...]:
    """The voxel size along each axis, converted to mm, and to s along the fourth axis.

    As in ITK, a size that the header does not state (0 or not finite) is 1.
    """
    return headers.read_voxel_sizes(image.header, image.ndim)


def read_space(image: Nifti1Pair) -> Space:
    """Where ITK places the image in space, from the sform or the qform.

    Raises
    ------
    ValueError
        The image has only an sform, and that has values that are not finite.
    """
    place: Space | None = image.extra.get(formats.PLACE)
    if place is not None:
        return place.select_axes(range(min(image.ndim, len(place.spacing))))
    return headers.read_space(image.extra.get(_STATED, image.header), image.ndim)


def replace_voxels(
    image: Nifti1Pair,
    voxels: npt.NDArray[Any],
    dtype: Any = np.float32,
    *,
    truncate: bool = False,
) -> Nifti1Image:
    """An image with other voxels and the same header: affine, codes, units and extensions.

    The range of intensities to show, the intent and the auxiliary file are not kept, because they
    describe the voxels that are replaced. ANTs does not keep them either.

    Parameters
    ----------
    image
        The image that the header is taken from.
    voxels
        Real intensities, in the image's shape.
    dtype
        A data type, which is stored without scaling, or ``"same"``: the image's own type and
        scaling. Values of integer types are then rounded and clipped to the range of the type.
    truncate
        Drop the digits behind the point instead of rounding, as ITK does, if the image's own type
        is an integer without scaling.
    """
    same = isinstance(dtype, str) and dtype == "same"
    kind = np.dtype(image.get_data_dtype() if same else dtype)
    slope, inter = 1.0, 0.0
    if same and kind.kind in "iu":
        # nibabel drops the scaling from the header; the data object still has it.
        slope = float(getattr(image.dataobj, "slope", 1.0))
        inter = float(getattr(image.dataobj, "inter", 0.0))
        whole = np.trunc if truncate and (slope, inter) == (1.0, 0.0) else np.rint
        voxels = _clip_to(whole((voxels.astype(np.float64) - inter) / slope), kind)
    header = image.header.copy()
    header.set_data_dtype(kind)
    for name in headers.SHOWN:
        header[name] = 0
    header["intent_name"] = header["aux_file"] = b""
    single = Nifti2Image if isinstance(image, Nifti2Image | Nifti2Pair) else Nifti1Image
    result = single(voxels.astype(kind, copy=False), image.affine, header)
    result.header.set_slope_inter(slope, inter)
    result.extra.update(image.extra)  # what formats other than NIfTI know beyond the header
    return result


def _clip_to(values: npt.NDArray[np.float64], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Clip whole numbers to the range of an integer type, and give them in that type."""
    limits = np.iinfo(kind)
    most = float(limits.max)
    if most > limits.max:  # the float64 nearest to the largest 64-bit integer is above it
        most = float(np.nextafter(most, 0))
    return np.clip(values, limits.min, most).astype(kind)


def write_image(
    image: Nifti1Image,
    path: Path,
    num_threads: int = 1,
    places: Sequence[Path] | None = None,
) -> None:
    """Write an image in the format that the name of the file says.

    Parameters
    ----------
    image
        An image that :func:`replace_voxels` made: its voxels are stored as they are.
    path
        The file. Its bytes do not depend on ``num_threads``.
    num_threads
        Number of threads that compress.
    places
        Where to write each of the files that :func:`n4ax.images.names.find_files` names, such as
        temporary files. Without it they get their own names, all of them or none.

    Raises
    ------
    ImportError
        The format needs a library that is not installed.
    OSError
        The folder cannot be written to, or the disk is full; the error names ``path``.
    """
    files = find_files(path)
    if places is None and len(files) > 1:
        with replace_files(files) as made:
            write_image(image, path, num_threads, made)
    elif places is None:
        with replace_file(path) as place:
            write_image(image, path, num_threads, [place])
    elif formats.is_other(path):
        formats.write(image, path, places, num_threads)
    else:
        _write_nifti(image, places, num_threads)


def _write_nifti(image: Nifti1Image, places: Sequence[Path], num_threads: int) -> None:
    """Write one file, or a pair: first the place of its voxels, then that of its header."""
    image.update_header()
    header = image.header.copy() if len(places) == 1 else _make_pair_header(image.header)
    if header.get_slope_inter()[0] is None:
        header.set_slope_inter(1, 0)
    start = BytesIO()
    header.write_to(start)
    gap = bytes(max(header.get_data_offset() - start.tell(), 0))
    pieces = [start.getvalue() + gap, plain.voxels_as_bytes(image.dataobj, header)]
    if len(places) == 1:
        plain.write_parts(pieces, places[0], num_threads)
        return
    for place, piece in zip(places, reversed(pieces), strict=True):
        plain.write_parts([piece], place, num_threads)


def _make_pair_header(header: Any) -> Any:
    """The same header for a file of its own, with the voxels at the beginning of another."""
    kind = (Nifti2Pair if isinstance(header, Nifti2Header) else Nifti1Pair).header_class
    pair = kind(header.binaryblock, header.endianness, check=False, extensions=header.extensions)
    pair["magic"], pair["vox_offset"] = pair.pair_magic, 0
    return pair


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
        The voxels in the image's shape, and where the file lies in space. In another format than
        that of the image, it lies where the image lies.

    Raises
    ------
    ValueError
        The file cannot be read, has another shape, or lies more than a thousandth of a voxel
        away from the image; the message names both files.
    """
    other = read_image(path)
    check_same_grid(path, read_grid(other), image_path, read_grid(image))
    # Formats keep different digits of a place, and these decide which voxels shrinking takes.
    alike = other.ndim == image.ndim and formats.is_like(path, image_path)
    place = read_space(other if alike else image)
    return read_voxels(other, path).reshape(image.shape), place
