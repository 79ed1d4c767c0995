"""Zstandard, for files named ``.nii.zst``: Python's own module, or ``backports.zstd`` before 3.14.

nibabel takes the same modules.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from n4ax.extras import need_extra

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


def decompress(content: bytes) -> bytes:
    """Give the content of a file that Zstandard compressed.

    Raises
    ------
    ValueError
        The content is damaged, or was not compressed by Zstandard.
    """
    zstd = load_zstd()
    try:
        return zstd.decompress(content)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None
