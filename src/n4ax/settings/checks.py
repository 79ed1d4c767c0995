"""How the values of parameters are checked."""

from math import inf, isfinite
from typing import Any

from n4ax.errors import InputError

LEAST, LARGEST = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127
"""The least and the largest number of full precision in float32, in which N4 computes."""


def is_number(value: object) -> bool:
    """Whether this is a single number; text and bools are none."""
    return (
        not isinstance(value, bool)
        and hasattr(value, "__float__")
        and not hasattr(value, "__len__")
    )


def check_whole_numbers(name: str, value: Any, *, least: int) -> tuple[int, ...]:
    """Check one whole number or several, each at least ``least``; the error names the parameter."""
    try:
        items: tuple[Any, ...] = (value,) if is_number(value) else tuple(value)
        whole = tuple(int(item) for item in items)
        if any(isinstance(item, str | bool) for item in items) or whole != tuple(map(float, items)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{{{name}}} is {{0!r}}; expected whole numbers", value) from None
    if any(number < least for number in whole):
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected whole numbers of at least {{1}}", value, least
        )
    return whole


def is_whole_number(value: Any) -> bool:
    """Whether this is a whole number, of whatever type; text and bools are none."""
    return is_number(value) and isfinite(value) and int(value) == value


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


def check_finite(name: str, value: Any, *, least: float, most: float = inf) -> None:
    """Check a finite number between two bounds."""
    if not (is_number(value) and isfinite(value) and least <= value <= most):
        above = "" if most == inf else f" and at most {most:.2g}"
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected a number of at least {least}{above}", value
        )


def check_positive(name: str, value: Any) -> None:
    """Check a number above 0 that float32 can hold; ``None`` passes."""
    if value is not None and not (is_number(value) and isfinite(value) and value > 0):
        raise InputError(f"{{{name}}} is {{0!r}}; expected a number above 0", value)
    if value is not None and not LEAST <= value <= LARGEST:
        bounds = f"from {LEAST:.2g} to {LARGEST:.2g}, which single precision can hold"
        raise InputError(f"{{{name}}} is {{0}}; expected a number {bounds}", value)


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Check that a value is one of some choices."""
    if value not in choices:
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected one of {{1}}", value, ", ".join(map(repr, choices))
        )
