"""Values of JSON files, read leniently: what is not as it should be counts as missing."""

from typing import Any, cast

_LARGEST = 10**100
"""Numbers from this on overflow when they are multiplied."""


def read_text(value: Any) -> str | None:
    """A text or a whole number as text; ``None`` for others and for an empty text."""
    return str(value) if isinstance(value, str | int) and value != "" else None


def read_number(value: Any) -> float | None:
    """A finite number; ``None`` for all others, and for those that nothing can be measured as.

    A number that is all but 0 is 0, so that charts can divide by the distance of two numbers.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if not abs(value) < _LARGEST:  # NaN is not
        return None
    return value if value == 0 or abs(value) > 1 / _LARGEST else 0.0


def read_list(value: Any) -> list[Any]:
    """A list; an empty one for all others."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def read_object(value: Any) -> dict[str, Any]:
    """An object; an empty one for all others."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def read_numbers(value: Any) -> list[float | None]:
    """A list of numbers, with ``None`` for what is no finite number."""
    return [read_number(item) for item in read_list(value)]


def read_known(value: Any) -> list[float]:
    """The finite numbers of a list."""
    return [number for number in read_numbers(value) if number is not None]


def read_counts(value: Any) -> list[int]:
    """The finite numbers of a list as whole numbers."""
    return [int(number) for number in read_known(value)]


def read_pair(value: Any) -> list[float | None]:
    """The first two numbers of a list, with ``None`` for those that are missing."""
    return [*read_numbers(value), None, None][:2]
