"""Which scans have numbers that lie far from those of the other scans.

References
----------
B. Iglewicz and D. C. Hoaglin, "How to Detect and Handle Outliers", ASQC Quality Press, 1993.
"""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

LIMIT = 3.5
"""The absolute score above which a value is an outlier, as Iglewicz and Hoaglin recommend."""
_FEWEST = 8
"""With fewer scans it cannot be told what is usual."""


class Distance(NamedTuple):
    """How far a value is from the others."""

    score: float
    """The distance in robust standard deviations, negative below the median."""
    median: float


def measure_distances(values: Sequence[float | None]) -> list[Distance | None]:
    """Robust z-scores by the median absolute deviation (Iglewicz and Hoaglin).

    If more than half of the values are the same, the mean absolute deviation is used.

    Parameters
    ----------
    values : sequence of float or None
        A value per scan; ``None`` if it is not known.

    Returns
    -------
    list
        A distance per value; ``None`` if the value is not known. All are ``None`` if all values
        are the same, or if fewer than 8 are known.
    """
    known = [value for value in values if value is not None]
    if len(known) < _FEWEST:
        return [None] * len(values)
    middle = median(known)
    away = [abs(value - middle) for value in known]
    # Both factors give the standard deviation of values that are normally distributed.
    unit = 1.4826 * median(away) or 1.2533 * sum(away) / len(away)
    if not unit > 0:
        return [None] * len(values)
    return [
        None if value is None else Distance((value - middle) / unit, middle) for value in values
    ]
