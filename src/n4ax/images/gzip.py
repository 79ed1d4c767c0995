"""gzip by ISA-L (igzip), which is several times faster than zlib.

With zlib, compression would take longer than N4. A file is compressed in blocks of a fixed size,
each for itself, so that several threads can work on it. Together the blocks are a single member of
gzip, which every program reads. The bytes of the file follow from its content: they do not depend
on the number of threads, nor on where in memory ISA-L works.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from isal import isal_zlib

from n4ax.images.lengths import LENGTH_OF_START, measure_nifti
from n4ax.paths import read_bytes
from n4ax.pools import ThreadPool

ISAL_ERROR: type[Exception] = isal_zlib.error  # pyright: ignore[reportAssignmentType] - a class
"""What ISA-L raises for damaged content."""

_LEVEL = 1  # of ISA-L's 0 to 3; higher levels save little on the voxels of corrected images
_BLOCK = 1 << 19
"""Bytes that are compressed together. Larger blocks save less than a thousandth more."""
_FIRST = 8
"""Bytes of a block that go first; up to 15, so that ISA-L takes the way of short inputs."""
_MOST_THREADS = 8
"""More threads than this compress faster than the file can be written."""
_START = b"\x1f\x8b"
_HEADER = _START + b"\x08\0\0\0\0\0\0\xff"  # deflate; no time and no name, any system
_RAW, _GZIP = -15, 31  # zlib's codes for deflate alone, and for gzip; with the largest window
_END_OF_DEFLATE = b"\x03\0"  # an empty block that is marked as the last one


def compress(parts: Sequence[bytes | memoryview], num_threads: int) -> Iterator[bytes]:
    """Compress the content of a file, piece by piece.

    Parameters
    ----------
    parts
        The content, in parts that follow each other.
    num_threads
        Number of threads that compress. The pieces are the same for every number.

    Yields
    ------
    bytes
        The compressed file, in pieces that follow each other.
    """
    flat = [memoryview(part).cast("B") for part in parts if len(part)]
    blocks = [
        part[start:stop]
        for part in flat
        for start, stop in pairwise([*range(0, len(part), _BLOCK), len(part)])
    ]
    yield _HEADER
    if num_threads > 1 and len(blocks) > 2:
        with ThreadPool(min(num_threads, len(blocks), _MOST_THREADS)) as pool:
            try:
                pieces = pool.map(_compress_block, blocks)
            except RuntimeError:  # the system starts no thread
                pieces = map(_compress_block, blocks)
            yield from pieces
    else:
        yield from map(_compress_block, blocks)
    sum_of_all = size = 0
    for part in flat:
        sum_of_all = isal_zlib.crc32(part, sum_of_all)
        size += len(part)
    yield _END_OF_DEFLATE + struct.pack("<II", sum_of_all, size & 0xFFFFFFFF)


def _compress_block(block: memoryview) -> bytes:
    """Compress a block so that others may follow it.

    At the first byte of a long input, the ISA-L of isal 1.9 enters the third byte into its
    table of matches by a part of its own address in memory, and now and then misses or finds a
    match by that. It does not where a few bytes have gone before.
    """
    stream = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW)
    pieces: list[bytes] = []
    for part in (block[:_FIRST], block[_FIRST:]):
        if len(part):
            pieces += [stream.compress(part), stream.flush(isal_zlib.Z_SYNC_FLUSH)]
    return b"".join(pieces)


def read_file(path: Path) -> bytes:
    """Give the content of a file of NIfTI, decompressed if its name ends in ``.gz``."""
    content = read_bytes(path)
    return decompress(content, measure_nifti) if path.suffix == ".gz" else content


def decompress(content: bytes, measure: Callable[[bytes], int] | None = None) -> bytes:
    """Give the content of a file named ``.nii.gz``, which need not be compressed.

    Parameters
    ----------
    content
        The file.
    measure
        Finds how many bytes are needed, from the first bytes of what was compressed; see
        :mod:`n4ax.images.lengths`. The rest is neither decompressed nor checked.

    Raises
    ------
    EOFError, ISAL_ERROR
        The content is damaged.
    """
    if not is_compressed(content):
        return content
    left = None if measure is None else measure(decompress_start(content, LENGTH_OF_START))
    parts: list[bytes] = []
    while is_compressed(content):  # what follows is no part of the image, as in ITK
        member = isal_zlib.decompressobj(wbits=_GZIP)
        parts.append(member.decompress(content, left or 0))
        if left is not None:
            left -= len(parts[-1])
            if left <= 0:
                break
        if not member.eof:
            raise EOFError("the compressed file ends too early")
        content = member.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decompress_start(content: bytes, length: int) -> bytes:
    """Give the first bytes of a file named ``.nii.gz``, which need not be compressed.

    Parameters
    ----------
    content
        The beginning of the file.
    length
        The number of bytes to give; there are fewer if ``content`` does not hold so many.

    Raises
    ------
    ISAL_ERROR
        The content is damaged.
    """
    if not is_compressed(content):
        return content[:length]
    start = b""
    while is_compressed(content) and len(start) < length:  # a member may have only a few bytes
        member = isal_zlib.decompressobj(wbits=_GZIP)
        start += member.decompress(content, length - len(start))
        content = member.unused_data
    return start


def is_compressed(content: bytes) -> bool:
    """Whether a file that begins with these bytes is compressed by gzip."""
    return content.startswith(_START)
