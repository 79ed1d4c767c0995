"""Text files, and the JSON in them, up to a size and a depth that nobody means to exceed.

Files come with data from elsewhere. What would fill the memory, or Python's stack, is refused as
any other text that is not what was expected.
"""

import json
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, cast

from n4ax.paths import check_here, name_errors

MOST_BYTES = 1 << 28
"""A larger file is no metadata and no table of ratings."""

_BLOCK = 1 << 20

MOST_LEVELS = 100
"""Arrays and objects inside of each other; metadata have a handful."""


def read_text_file(path: Path, encoding: str = "utf-8", most: int = MOST_BYTES) -> str:
    """The text of a file.

    Parameters
    ----------
    path
        The file.
    encoding
        Its encoding.
    most
        The most bytes that it may have.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It has more bytes, or is not text of this encoding. The message does not name the file.
    """
    with name_errors(path), path.open("rb") as file:
        content = b"".join(_read_blocks(file, most))
    if len(content) > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None


def _read_blocks(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Read up to the first block that goes beyond ``most``; reading it all at once would need
    memory for ``most`` bytes, however short the file is.
    """
    left = most
    while left >= 0 and (block := file.read(_BLOCK)):
        left -= len(block)
        yield block


def read_json_file(path: Path, encoding: str = "utf-8", most: int = MOST_BYTES) -> Any:
    """The value in a file of JSON that lies in a folder; a pipe is not waited for.

    Parameters
    ----------
    path, encoding, most
        As for :func:`read_text_file`.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It has more bytes, is no text, no JSON, or no file, or git-annex has it elsewhere.
    """
    check_here(path)
    return parse_json(read_text_file(path, encoding, most))


def parse_json(text: str | bytes) -> Any:
    """The value that a text in JSON stands for.

    Numbers that JSON does not have, as ``NaN`` and 1e999, are ``None``, so that what was read can
    be written again.

    Parameters
    ----------
    text
        The text.

    Raises
    ------
    ValueError
        It is no JSON, or has too many arrays and objects inside of each other.
    """
    deep = f"it has more than {MOST_LEVELS} arrays or objects inside of each other"
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_read_number)
    except RecursionError:
        raise ValueError(deep) from None
    if _count_levels(value) > MOST_LEVELS:
        raise ValueError(deep)
    return value


def _read_number(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _count_levels(value: Any) -> int:
    """How many arrays and objects are inside of each other; one more than the most is enough."""
    levels, inner = 0, [value]
    while levels <= MOST_LEVELS and (inner := [part for one in inner for part in _list_parts(one)]):
        levels += 1
    return levels


def _list_parts(value: Any) -> list[Any]:
    """The values in an array or an object; none of others."""
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []
