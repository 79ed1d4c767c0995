"""Zstandard, for files named ``.nii.zst``: Python's own module, or ``backports.zstd`` before 3.14.

nibabel takes the same modules.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from n4ax.extras import need_extra
from n4ax.images.lengths import LENGTH_OF_START

_LEVEL = 3  # Zstandard's default, and nibabel's


def load_zstd() -> Any:
    """Import the module that compresses.

    Raises
    ------
    ImportError
        It is not installed; the message says how to install it.
    """
    with need_extra("zstd", "an image that is compressed by Zstandard (.nii.zst)"):
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    return zstd


def compress(parts: Sequence[bytes | memoryview]) -> Iterator[bytes]:
    """Compress the content of a file, piece by piece, in one thread.

    Parameters
    ----------
    parts
        The content, in parts that follow each other.

    Yields
    ------
    bytes
        The compressed file, in pieces that follow each other: a single frame of Zstandard that
        states its size and ends with a checksum.
    """
    zstd = load_zstd()
    parameter = zstd.CompressionParameter
    options = {parameter.compression_level: _LEVEL, parameter.checksum_flag: 1}
    stream = zstd.ZstdCompressor(options=options)
    stream.set_pledged_input_size(sum(memoryview(part).nbytes for part in parts))
    for part in parts:
        yield stream.compress(part)
    yield stream.flush()


def decompress(content: bytes, measure: Callable[[bytes], int]) -> bytes:
    """Give the content of a file that Zstandard compressed.

    Parameters
    ----------
    content
        The file, of one or several frames.
    measure
        Finds how many bytes are needed, from the first bytes of what was compressed; see
        :mod:`n4ax.images.lengths`. The rest is neither decompressed nor checked.

    Raises
    ------
    ValueError
        The content is damaged, or was not compressed by Zstandard.
    """
    zstd = load_zstd()
    try:
        start, _ = _decompress_frames(content, LENGTH_OF_START, zstd)
        most = measure(start)
        whole, ended = _decompress_frames(content, most, zstd)
    except zstd.ZstdError:  # its message is not always the same
        raise ValueError("it is damaged, or was not compressed by Zstandard") from None
    if len(whole) < most and not ended:
        raise ValueError("the compressed file ends too early")
    return whole


def _decompress_frames(content: bytes, most: int, zstd: Any) -> tuple[bytes, bool]:
    """The first bytes of what was compressed, and whether the last frame of them ends."""
    parts: list[bytes] = []
    ended = True
    while content and most > 0:
        frame = zstd.ZstdDecompressor()
        parts.append(frame.decompress(content, most))
        most -= len(parts[-1])
        content, ended = frame.unused_data, frame.eof
        if not ended:
            break
    return (parts[0] if len(parts) == 1 else b"".join(parts)), ended
