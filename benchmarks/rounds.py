"""Taking turns, and what is said of the rounds."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def take_turns(rounds: int, calls: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Every call once, then every call again: a machine that drifts weighs on all alike."""
    found: dict[str, list[T]] = {name: [] for name in calls}
    for number in range(rounds):
        for name, call in calls.items():
            found[name].append(call())
            print(f"  {number + 1}/{rounds} {name}: {_shown(found[name][-1])}", flush=True)
    return found


def _shown(value: object) -> str:
    """Seconds: of a number, an answer of a worker or a finished process; or the value."""
    seconds = value.get("seconds") if isinstance(value, dict) else getattr(value, "seconds", value)
    return f"{seconds:.4f} s" if isinstance(seconds, float) else str(value)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most of the rounds."""
    return {"median": median(values), "least": min(values), "most": max(values)}


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """How many times ours theirs is: median, least and most of the rounds' ratios."""
    return spread([a / b for a, b in zip(theirs, ours, strict=True)])
