"""Scans whose numbers lie far from those of their fellows.

References
----------
B. Iglewicz and D. C. Hoaglin, "How to Detect and Handle Outliers", ASQC Quality Press, 1993.
"""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

LIMIT = 3.5
FEWEST = 8
"""Scans that it takes to tell what is usual."""


class Distance(NamedTuple):
    """How far a value is from the others."""

    score: float
    """In robust standard deviations, negative below the median."""
    median: float


def distances(values: Sequence[float | None]) -> list[Distance | None]:
    """Robust z-scores by the median absolute deviation (Iglewicz and Hoaglin's).

    Where more than half of the values are the same, by the mean absolute deviation.

    Returns
    -------
    list
        One per value; ``None`` where it is not known, where all are the same, and where fewer
        than 8 are known.
    """
    known = [value for value in values if value is not None]
    if len(known) < FEWEST:
        return [None] * len(values)
    middle = median(known)
    away = [abs(value - middle) for value in known]
    # Both are the standard deviation of values that are normally distributed.
    unit = 1.4826 * median(away) or 1.2533 * sum(away) / len(away)
    if not unit > 0:
        return [None] * len(values)
    return [
        None if value is None else Distance((value - middle) / unit, middle) for value in values
    ]
