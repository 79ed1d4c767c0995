"""Text and JSON of any size and depth."""

import os
import tracemalloc
from pathlib import Path

import pytest

from n4ax.texts import MOST_LEVELS, parse_json, read_json_file, read_text_file


def test_json_may_not_be_deeper_than_any_metadata() -> None:
    assert parse_json("[" * MOST_LEVELS + "]" * MOST_LEVELS) is not None
    for depth in (MOST_LEVELS + 2, 900, 5_000, 100_000):
        for text in ("[" * depth + "1" + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
            with pytest.raises(ValueError, match="arrays or objects inside of each other"):
                parse_json(text)


def test_numbers_that_json_does_not_have_are_none() -> None:
    assert parse_json("[NaN, Infinity, -Infinity, 1e999, 1.5, 3]") == [None] * 4 + [1.5, 3]


def test_a_text_may_not_be_larger_than_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('"' + "a" * 98 + '"')
    assert read_json_file(path, most=100) == "a" * 98
    with pytest.raises(ValueError, match="it has more than 0 MiB"):
        read_text_file(path, most=99)


def test_a_short_text_needs_little_memory_whatever_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("1" * 3_000_000)
    tracemalloc.start()
    try:
        assert len(read_text_file(path, most=1 << 32)) == 3_000_000
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(ValueError, match="is a pipe or a device; expected a file"):
        read_json_file(tmp_path / "x.json")


def test_bytes_that_are_no_text_are_told_so(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff{}")
    with pytest.raises(ValueError, match="it is not text"):
        read_json_file(tmp_path / "x.json")
