"""How the values of parameters are checked."""

from collections.abc import Mapping, Set
from math import inf, isfinite
from typing import Any, cast

from n4ax.errors import InputError

LEAST, LARGEST = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127
"""The least and the largest number of full precision in float32, in which N4 computes."""


_MOST_PER_AXIS = 2**31 - 1
MOST_ITERATIONS = 1_000_000
"""The most iterations of a level. There is room for the measure of each from the beginning."""


def is_number(value: object) -> bool:
    """Whether this is a single number; text and bools are none."""
    return read_number(value) is not None


def read_number(value: Any) -> float | None:
    """Read a single number as a float, infinite if it is too large for one.

    Returns
    -------
    float or None
        ``None`` for what is no real number, such as text, bools and arrays.
    """
    if isinstance(value, bool) or not hasattr(value, "__float__") or hasattr(value, "__len__"):
        return None
    if getattr(getattr(value, "dtype", None), "kind", "f") not in "iuf":  # a scalar of NumPy
        return None
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf
    except (TypeError, ValueError):
        return None


def read_numbers(value: Any) -> tuple[float, ...]:
    """Read one number or a sequence of several as floats; empty for what is no such thing."""
    numbers = tuple(map(read_number, _list_items(value) or ()))
    return () if None in numbers else cast("tuple[float, ...]", numbers)


def check_whole_numbers(name: str, value: Any, *, least: int, most: float = inf) -> tuple[int, ...]:
    """Check one whole number or several between two bounds; the error names the parameter."""
    items = _list_items(value)
    if items is None or not all(map(is_whole_number, items)):
        raise InputError(f"{{{name}}} is {{0!r}}; expected whole numbers", value)
    whole = tuple(map(int, items))
    if any(number < least for number in whole):
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected whole numbers of at least {{1}}", value, least
        )
    if any(number > most for number in whole):
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected whole numbers of at most {{1}}", value, most
        )
    return whole


def check_per_axis(name: str, value: Any) -> int | tuple[int, ...]:
    """Check one whole number above 0 for all axes, or several for one axis each."""
    numbers = check_whole_numbers(name, value, least=1, most=_MOST_PER_AXIS)
    return numbers[0] if is_number(value) else numbers


def _list_items(value: Any) -> tuple[Any, ...] | None:
    """The items of a sequence, or a single number as one; ``None`` for what has no order."""
    if hasattr(value, "tolist"):  # an array of any library
        value = value.tolist()
    if is_number(value):
        return (value,)
    if isinstance(value, str | bytes | bytearray | Mapping | Set):
        return None
    try:
        return tuple(value)
    except (TypeError, ValueError):
        return None


def is_whole_number(value: Any) -> bool:
    """Whether this is a whole number, of whatever type; text and bools are none."""
    if isinstance(value, int) and not isinstance(value, bool):  # of any size
        return True
    number = read_number(value)
    return number is not None and isfinite(number) and bool(int(value) == value)


def check_whole_number(
    name: str, value: Any, least: int | None = None, most: int | None = None
) -> int:
    """Check a whole number between two bounds, and give it as an int."""
    if (
        is_whole_number(value)
        and (least is None or value >= least)
        and (most is None or value <= most)
    ):
        return int(value)
    bounds = "" if least is None else f" of at least {least} and at most {most}"
    raise InputError(f"{{{name}}} is {{0!r}}; expected a whole number{bounds}", value)


def check_finite(name: str, value: Any, *, least: float, most: float = inf) -> float:
    """Check a finite number between two bounds, and give it as a number of Python."""
    number = read_number(value)
    if number is None or not (isfinite(number) and least <= number <= most):
        above = "" if most == inf else f" and at most {most:.2g}"
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected a number of at least {least}{above}", value
        )
    return value if type(value) is int else number


def check_positive(name: str, value: Any) -> float | None:
    """Check a number above 0 that float32 can hold, as :func:`check_finite`; ``None`` passes."""
    if value is None:
        return None
    number = read_number(value)
    if number is None or not (isfinite(number) and number > 0):
        raise InputError(f"{{{name}}} is {{0!r}}; expected a number above 0", value)
    if not LEAST <= number <= LARGEST:
        bounds = f"from {LEAST:.2g} to {LARGEST:.2g}, which single precision can hold"
        raise InputError(f"{{{name}}} is {{0}}; expected a number {bounds}", value)
    return value if type(value) is int else number


def check_flag(name: str, value: Any) -> None:
    """Check that a value is true or false: a bool of any library, 0 or 1."""
    of_numpy = getattr(getattr(value, "dtype", None), "kind", "") == "b"
    if not is_choice(value, (0, 1)) or not (of_numpy or isinstance(value, int)):
        raise InputError(f"{{{name}}} is {{0!r}}; expected True or False", value)


def is_choice(value: Any, choices: tuple[object, ...]) -> bool:
    """Whether a value is one of some words or numbers; arrays, which compare by item, are not."""
    return (isinstance(value, str) or not hasattr(value, "__len__")) and value in choices


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Check that a value is one of some choices."""
    if not is_choice(value, choices):
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected one of {{1}}", value, ", ".join(map(repr, choices))
        )
