"""How far an answer is from ITK's, beside how far ITK is from itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FLOOR = 1e-6
"""Differences of log fields that some roundings of float32 in a few iterations explain."""

FACTOR = 4
"""ITK's own largest difference is that of a few neighbours and not of all, so that an answer may be
so many times as far away."""

FIRST, MOST = 3, 40
"""ITK's answers to so many neighbouring problems are measured, and to more if these do not do."""


def find_gap(one: Array, other: Array, inside: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The mean and the largest difference of two log fields in the mask."""
    gap = np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))[inside]
    return float(gap.mean()), float(gap.max())


def measure(
    ours: Array, theirs: Array, inside: npt.NDArray[np.bool_], neighbour: Callable[[int], Array]
) -> dict[str, Any]:
    """Compare our log field with ITK's, and ITK's with those of neighbouring problems.

    Parameters
    ----------
    ours, theirs
        The log fields.
    inside
        The mask.
    neighbour
        Gives ITK's log field for another number of threads, or for an image that is one ulp away.

    Returns
    -------
    dict
        ``mean`` and ``gap``, the mean and the largest difference; ``noise``, the largest of ITK to
        itself; ``neighbours``, of how many; ``ratio`` of gap and noise, both at least ``FLOOR``;
        and whether it is ``within`` the bounds.
    """
    mean, gap = find_gap(ours, theirs, inside)
    noise, count = 0.0, 0
    while count < FIRST or (count < MOST and not gap <= max(FLOOR, FACTOR * noise)):
        noise = max(noise, find_gap(neighbour(count), theirs, inside)[1])
        count += 1
    return {
        "mean": mean,
        "gap": gap,
        "noise": noise,
        "neighbours": count,
        "ratio": max(gap, FLOOR) / max(noise, FLOOR),
        "within": bool(gap <= max(FLOOR, FACTOR * noise)),
    }
