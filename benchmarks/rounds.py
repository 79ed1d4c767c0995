"""Rounds of measurements in which the contestants take turns, and summaries of them."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def take_turns(rounds: int, calls: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Run all calls once in each round, so that a drifting machine affects all of them alike."""
    found: dict[str, list[T]] = {name: [] for name in calls}
    for number in range(rounds):
        for name, call in calls.items():
            found[name].append(call())
            print(f"  {number + 1}/{rounds} {name}: {_format_seconds(found[name][-1])}", flush=True)
    return found


def _format_seconds(value: object) -> str:
    """The seconds of a number, a worker's answer or a finished process; else the value itself."""
    seconds = value.get("seconds") if isinstance(value, dict) else getattr(value, "seconds", value)
    return f"{seconds:.4f} s" if isinstance(seconds, float) else str(value)


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the least and the greatest value of the rounds."""
    return {"median": median(values), "least": min(values), "most": max(values)}


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """The ratios of theirs to ours in each round: median, least and greatest."""
    return spread([a / b for a, b in zip(theirs, ours, strict=True)])
