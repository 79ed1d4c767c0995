"""NIfTI files as nearly all of them are, read and written without nibabel.

Importing nibabel takes as long as the whole estimation on a shrunk head. So the program of ANTs
reads a file here, and asks :mod:`n4ax.images.nifti` where a file is not plain. Both read and write
the same. A file is plain if its name ends in ``.nii`` or ``.nii.gz``, it has no extensions of the
header, and its voxels are real numbers.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.files import replace_file, write_pieces
from n4ax.images import gzip, headers, zstd
from n4ax.itk.space import Space

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip
_FLOAT32 = 16
"""NIfTI's codes for the types of real numbers, and the one that is written."""

_FIELDS_1 = (
    "sizeof_hdr:i4 data_type:S10 db_name:S18 extents:i4 session_error:i2 regular:S1 dim_info:u1 "
    "dim:8i2 intent_p1:f4 intent_p2:f4 intent_p3:f4 intent_code:i2 datatype:i2 bitpix:i2 "
    "slice_start:i2 pixdim:8f4 vox_offset:f4 scl_slope:f4 scl_inter:f4 slice_end:i2 slice_code:u1 "
    "xyzt_units:u1 cal_max:f4 cal_min:f4 slice_duration:f4 toffset:f4 glmax:i4 glmin:i4 "
    "descrip:S80 aux_file:S24 qform_code:i2 sform_code:i2 quatern_b:f4 quatern_c:f4 quatern_d:f4 "
    "qoffset_x:f4 qoffset_y:f4 qoffset_z:f4 srow_x:4f4 srow_y:4f4 srow_z:4f4 intent_name:S16 "
    "magic:S4"
)
_FIELDS_2 = (
    "sizeof_hdr:i4 magic:S4 eol_check:4i1 datatype:i2 bitpix:i2 dim:8i8 intent_p1:f8 intent_p2:f8 "
    "intent_p3:f8 pixdim:8f8 vox_offset:i8 scl_slope:f8 scl_inter:f8 cal_max:f8 cal_min:f8 "
    "slice_duration:f8 toffset:f8 slice_start:i8 slice_end:i8 descrip:S80 aux_file:S24 "
    "qform_code:i4 sform_code:i4 quatern_b:f8 quatern_c:f8 quatern_d:f8 qoffset_x:f8 qoffset_y:f8 "
    "qoffset_z:f8 srow_x:4f8 srow_y:4f8 srow_z:4f8 slice_code:i4 xyzt_units:i4 intent_code:i4 "
    "intent_name:S16 dim_info:u1 unused_str:S15"
)
"""The fields of the two versions of the format, with their types in the words of NumPy."""

_MAGIC = {b"n+1": _FIELDS_1, b"ni1": _FIELDS_1, b"n+2": _FIELDS_2, b"ni2": _FIELDS_2}
_PLACES_OF_MAGIC = (slice(344, 347), slice(4, 7))
_SUFFIXES = (".nii", ".nii.gz")
_BLOCK = 1 << 16  # values that are scaled at a time


class Header:
    """The header of a file, with its fields by their names."""

    def __init__(self, content: bytes, kind: np.dtype[Any]) -> None:
        self.record = np.frombuffer(content, kind, 1).copy()
        self.sizeof_hdr = kind.itemsize

    def __getitem__(self, name: str) -> Any:
        return self.record[name][0]

    def __setitem__(self, name: str, value: Any) -> None:
        self.record[name] = value

    def get_data_dtype(self) -> np.dtype[Any]:
        """The type of the voxels; a ``KeyError`` if they are no real numbers."""
        kind = np.dtype(_TYPES[int(self["datatype"])])
        return kind.newbyteorder(self.record.dtype["datatype"].byteorder)


class PlainFile(NamedTuple):
    """A file that was read.

    Attributes
    ----------
    header
        The header, mended as :func:`n4ax.images.headers.mend` does.
    voxels
        The intensities as float32, with the header's slope and intercept applied.
    space
        Where ITK places the image.
    """

    header: Header
    voxels: npt.NDArray[np.float32]
    space: Space


def read_file(path: Path, load: Callable[[], bytes]) -> PlainFile | None:
    """Read a file if it is plain; ``None`` if not, and for files that cannot be read.

    Parameters
    ----------
    path
        The file.
    load
        Gives what :func:`n4ax.images.gzip.read_file` gives for the file.
    """
    if not path.name.endswith(_SUFFIXES):
        return None
    try:
        return _read(load())
    except (OSError, EOFError, ValueError, KeyError, gzip.ISAL_ERROR):
        return None  # nibabel says why


def _read(content: bytes) -> PlainFile | None:
    found = [_MAGIC[content[at]] for at in _PLACES_OF_MAGIC if content[at] in _MAGIC]
    if not found:
        return None
    stated = Header(content, _make_type(found[0], "<"))
    if not 1 <= stated["dim"][0] <= 7:
        stated = Header(content, _make_type(found[0], ">"))
    header = Header(content, stated.record.dtype)
    headers.mend(header)
    shape, stored = headers.read_shape(header), header.get_data_dtype()
    size, count = header.sizeof_hdr, math.prod(shape)
    has_extensions = content[size : size + 4][:1] not in (b"", b"\0")
    offset = headers.read_offset(stated, size, len(content) - size - count * stored.itemsize)
    if has_extensions or len(content) < offset + count * stored.itemsize:
        return None
    values = np.frombuffer(content, stored, count, offset).reshape(shape, order="F")
    with np.errstate(over="ignore"):  # infinite values are reported later
        voxels = scale(values, *headers.read_scaling(stated), np.float32)
    return PlainFile(header, voxels, headers.read_space(stated, len(shape)))


def _make_type(fields: str, order: str) -> np.dtype[Any]:
    pairs = (field.split(":") for field in fields.split())
    return np.dtype([(name, kind) for name, kind in pairs]).newbyteorder(order)  # pyright: ignore[reportArgumentType]


def scale(stored: npt.NDArray[Any], slope: float, inter: float, dtype: Any) -> npt.NDArray[Any]:
    """Turn stored numbers into intensities, as ITK does.

    ITK converts stored integers to float32 before it scales them in float64, which rounds those
    above 2 to the power of 24.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is infinite, as in ITK
        if (slope, inter) == (1, 0):
            given = np.asarray(stored, dtype)
            return given if given.flags.writeable else given.copy(order="K")
        if stored.dtype.kind in "iu" and stored.dtype.itemsize > 2:
            stored = stored.astype(np.float32)
        scaled = np.empty_like(stored, dtype, order="F")
        for values, result in zip(_cut(stored), _cut(scaled), strict=True):
            wide = np.multiply(values, slope, dtype=np.float64)
            if inter:
                wide += inter
            result[...] = wide
    return scaled


def _cut(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Cut an array in Fortran's order into blocks that stay in the cache."""
    flat = array.reshape(-1, order="F")
    for start in range(0, len(flat), _BLOCK):
        yield flat[start : start + _BLOCK]


def write_file(
    header: Header, voxels: npt.NDArray[np.float32], path: Path, num_threads: int
) -> None:
    """Write voxels with the header of a file of the same shape, whole or not at all.

    Parameters
    ----------
    header
        A header that :func:`read_file` read. What describes the voxels that are replaced is not
        kept, as in :func:`n4ax.images.nifti.replace_voxels`.
    voxels
        The intensities.
    path
        The file, ``.nii`` or ``.nii.gz``. Its bytes do not depend on ``num_threads``.
    num_threads
        Number of threads that compress.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full; the error names ``path``.
    """
    size = header.sizeof_hdr
    new = Header(header.record.tobytes(), header.record.dtype)
    for name in headers.SHOWN:
        new[name] = 0
    new["intent_name"] = new["aux_file"] = b""
    new["magic"] = b"n+2" if "eol_check" in (new.record.dtype.names or ()) else b"n+1"
    new["datatype"], new["bitpix"], new["vox_offset"] = _FLOAT32, 32, size + 4
    new["scl_slope"], new["scl_inter"] = 1, 0
    write_parts([new.record.tobytes() + bytes(4), voxels_as_bytes(voxels, new)], path, num_threads)


def voxels_as_bytes(voxels: Any, header: Any) -> memoryview:
    """The voxels as they are stored beside a header, without a copy if possible."""
    stored = np.asfortranarray(voxels, header.get_data_dtype())
    return stored.reshape(-1, order="F").view(np.uint8).data


def write_parts(parts: list[bytes | memoryview], path: Path, num_threads: int) -> None:
    """Write the parts of a file, compressed if its name ends in ``.gz`` or ``.zst``."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        pieces = gzip.compress(parts, num_threads)
    else:
        pieces = zstd.compress(parts) if suffix == ".zst" else parts
    with replace_file(path) as temporary:
        write_pieces(temporary, pieces)
