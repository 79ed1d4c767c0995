"""How long a file is by its header, so that no more of it is decompressed.

A compressed file may become a thousand times as long. What follows the voxels is no part of the
image, and ITK does not read it either.
"""

import math
import struct
from typing import NamedTuple

LENGTH_OF_START = 640
"""Bytes at the beginning of a file that these functions need."""

_MORE = 1 << 20
"""Bytes that a file may have beyond its voxels and is still checked to its end."""
_MOST = 1 << 62
_SIZES = {
    2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8,
    1536: 16, 1792: 16, 2048: 32, 2304: 4,
}  # fmt: skip
"""Bytes of a voxel by NIfTI's code of its type."""
_LARGEST = 32
_MAGIC_1 = (b"n+1", b"ni1")
_PLACE_OF_MAGIC = slice(344, 347)
_MGH, _LENGTH_OF_MGH, _LARGEST_OF_MGH = struct.Struct(">5i"), 284, 8


class _Layout(NamedTuple):
    """The types of the fields of a header, in the words of ``struct``, and their places."""

    dim: tuple[str, int]
    datatype: tuple[str, int]
    vox_offset: tuple[str, int]
    length: int


_NIFTI_1 = _Layout(("8h", 40), ("h", 70), ("f", 108), 348)
_NIFTI_2 = _Layout(("8q", 16), ("h", 12), ("q", 168), 540)


def measure_nifti(start: bytes) -> int:
    """The most bytes that are needed of a file of NIfTI that begins with these.

    It is enough for every header that is read, and little for those that are refused.
    """
    start = start.ljust(LENGTH_OF_START, b"\0")
    layout = _NIFTI_1 if start[_PLACE_OF_MAGIC] in _MAGIC_1 else _NIFTI_2
    order = "<" if 1 <= _read("<", layout.dim, start)[0] <= 7 else ">"
    count, *lengths = _read(order, layout.dim, start)
    (kind,), (offset,) = (_read(order, at, start) for at in (layout.datatype, layout.vox_offset))
    voxels = math.prod(max(1, n) for n in lengths[: max(count, 0)])
    begin = int(offset) if layout.length <= offset < _MOST else layout.length
    return min(begin + voxels * _SIZES.get(kind, _LARGEST) + _MORE, _MOST)


def measure_mgh(start: bytes) -> int:
    """The most bytes that are needed of a file of FreeSurfer that begins with these."""
    _, *lengths = _MGH.unpack_from(start.ljust(_MGH.size, b"\0"))
    voxels = math.prod(max(1, n) for n in lengths)
    return min(_LENGTH_OF_MGH + voxels * _LARGEST_OF_MGH + _MORE, _MOST)


def _read(order: str, field: tuple[str, int], start: bytes) -> tuple[int, ...]:
    return struct.unpack_from(order + field[0], start, field[1])
