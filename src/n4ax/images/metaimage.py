"""What ITK does not check in files of MetaImage: its number of axes, and compressed voxels."""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy.typing as npt

_AXES, _MOST_AXES, _ENOUGH = re.compile(rb"NDims\s*=\s*(\S*)"), 10, 1 << 16
_VOXELS = re.compile(rb"^ElementDataFile\s*=[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.MULTILINE)
_COMPRESSED = re.compile(rb"^CompressedData\s*=\s*[T1]", re.MULTILINE | re.IGNORECASE)
_COMPRESSED_SIZE = re.compile(rb"^CompressedDataSize\s*=\s*(\d+)", re.MULTILINE)
_ZLIB_OR_GZIP = 47
"""The kinds of streams that zlib is to recognise, in its words."""


def check_axes(path: Path) -> None:
    """Refuse a header of MetaImage with more axes than ITK has room for; it would crash."""
    with path.open("rb") as file:
        header = file.read(_ENOUGH).partition(b"ElementDataFile")[0]
    for found in _AXES.findall(header):
        if not (found.isdigit() and len(found) < 3 and 1 <= int(found) <= _MOST_AXES):
            told = found.decode(errors="backslashreplace")[:40]
            raise ValueError(
                f"{path} cannot be read: its header says NDims = {told}; expected 2 to 4"
            )


def check_voxels(path: Path, voxels: npt.NDArray[Any]) -> None:
    """Check that compressed voxels are what ITK read.

    ITK prints a line if they are damaged, and gives what its memory happened to hold.

    Parameters
    ----------
    path
        The file with the header.
    voxels
        What ITK read.

    Raises
    ------
    ValueError
        They are not.
    """
    content = path.read_bytes()
    place = _VOXELS.search(content)
    if place is None or not _COMPRESSED.search(content[: place.end()]):
        return
    name = place[1].decode(errors="surrogateescape")
    whole = content[place.end() :] if name.upper() == "LOCAL" else _read_beside(path, name)
    if whole is None:
        return
    stated = _COMPRESSED_SIZE.search(content[: place.end()])
    packed = whole[: int(stated[1])] if stated and int(stated[1]) else whole
    stream = zlib.decompressobj(_ZLIB_OR_GZIP)
    try:
        found = stream.decompress(packed, voxels.nbytes + 1)
    except zlib.error:
        found = b""
    # The sum of all voxels is checked at the end; the file may have either order of bytes.
    if not stream.eof or found not in (voxels.tobytes(), voxels.byteswap().tobytes()):
        raise ValueError(f"{path} cannot be read: its compressed voxels are damaged")


def _read_beside(path: Path, name: str) -> bytes | None:
    """The file of voxels that a header names; ``None`` for a list of files, or a pattern."""
    try:
        return (path.parent / name).read_bytes()
    except (OSError, ValueError):
        return None
