"""Compression: the same bytes for any number of threads, and one file for every reader."""

import gzip as python_gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
from isal import isal_zlib

from n4ax.images import gzip

NOISE = np.random.default_rng(0).integers(0, 60, 3_000_001).astype(np.uint8)


def compress(*parts: bytes | memoryview, num_threads: int = 1) -> bytes:
    return b"".join(gzip.compress(parts, num_threads))


@pytest.mark.parametrize("num_threads", [2, 3, 50])
def test_bytes_do_not_depend_on_the_number_of_threads(num_threads: int) -> None:
    parts = b"header", NOISE.data
    assert compress(*parts, num_threads=num_threads) == compress(*parts)


def test_bytes_do_not_depend_on_where_in_memory_they_are_made() -> None:
    random = np.random.default_rng(0)
    contents = [np.tile(random.integers(0, 256, 33, np.uint8), 7).tobytes() for _ in range(20_000)]
    first = [compress(content) for content in contents]
    held = [isal_zlib.compressobj(1) for _ in range(50)]  # the next ones lie elsewhere
    assert [compress(content) for content in contents] == first
    assert len(held) == 50


@pytest.mark.parametrize("size", [0, 1, 1 << 19, (1 << 19) + 1, 3_000_001])
def test_other_readers_find_one_member_with_the_content(size: int) -> None:
    content = b"header" + NOISE[:size].tobytes()
    compressed = compress(b"header", NOISE[:size].data)
    member = zlib.decompressobj(wbits=31)
    assert member.decompress(compressed) == content
    assert member.eof
    assert member.unused_data == b""
    assert python_gzip.decompress(compressed) == gzip.decompress(compressed) == content


def test_blocks_cost_less_than_a_thousandth() -> None:
    whole = python_gzip.compress(NOISE.tobytes(), 1)
    assert len(compress(NOISE.data)) < 1.001 * len(whole)


def test_members_that_follow_each_other_are_read_and_the_rest_is_not() -> None:
    content = compress(b"one") + compress(b"two")
    assert gzip.decompress(content) == b"onetwo"
    assert gzip.decompress(content + b"\0\0 garbage") == b"onetwo"


def test_damaged_content_is_refused() -> None:
    whole = compress(NOISE.data)
    with pytest.raises(EOFError):
        gzip.decompress(whole[:-20])
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # in the checksum
    with pytest.raises(gzip.ISAL_ERROR):
        gzip.decompress(bytes(flipped))


def test_file_is_decompressed_by_its_name_and_only_if_it_is_compressed(tmp_path: Path) -> None:
    for name, written in (
        ("a.nii", b"plain"),
        ("b.nii.gz", b"plain"),
        ("c.nii.gz", compress(b"plain")),
    ):
        (tmp_path / name).write_bytes(written)
        assert gzip.read_file(tmp_path / name) == b"plain"
