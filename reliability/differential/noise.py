"""How far an answer is from ITK's, beside how far ITK is from itself."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.volumes import move_by_one_ulp

Array = npt.NDArray[Any]

FLOOR = 1e-6
"""Differences of log fields that some roundings of float32 in a few iterations explain."""

FACTOR = 4
"""ITK's own largest difference is that of a few neighbours and not of all, so that an answer may be
so many times as far away."""

FIRST, MOST = 3, 40
"""ITK's answers to so many neighbouring problems are measured, and to more if these do not do."""


def move_image(voxels: Array, number: int) -> Array:
    """A neighbour of an image, float32: one ulp away, or at even numbers an ulp of the logarithms.

    N4 works on logarithms. Those of float32 intensities above 3 are so coarse that an image one ulp
    away usually has the same ones, but another math library rounds some of them differently.
    """
    if number % 2:
        return move_by_one_ulp(voxels, number)
    positive = voxels > 0
    logs = np.log(np.where(positive, voxels, 1).astype(np.float64)).astype(np.float32)
    steps = np.random.default_rng(number).integers(-1, 2, voxels.shape) * np.spacing(logs)
    moved = voxels * np.exp(steps.astype(np.float64))
    return np.where(positive, moved, voxels).astype(np.float32)


def count_until_rest(measures: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """How many iterations of each level come before one that moves nothing: its measure is 0.

    The samples have become equal then. Where rounding leaves them an ulp apart instead, N4 spreads
    that ulp over the whole histogram, and what it adds to the field has no meaning. The very first
    iteration counts, whatever its measure is.
    """
    counts = [list(level).index(0.0) if 0.0 in level else len(level) for level in measures]
    resting = next((k for k, level in enumerate(measures) if 0.0 in level), len(counts))
    counts[resting + 1 :] = [0] * len(counts[resting + 1 :])
    return (max(1, counts[0]), *counts[1:])


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
        Gives ITK's log field for another number of threads, or for a :func:`move_image`.

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
