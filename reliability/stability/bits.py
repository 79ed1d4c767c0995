"""Significant bits of perturbed results, and the bits that two results have in common."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

MOST_BITS = 24.0
"""A number in single precision has so many bits. No result is said to have more."""

LEAST_PERCENTILE = 1.0
"""The least bits are those that all voxels have but so many percent."""

Values = npt.NDArray[np.floating[Any]]


def count_significant(samples: Values) -> npt.NDArray[np.float64]:
    """Count the significant bits of each voxel, ``-log2(sigma / |mean|)`` (Parker 1997).

    Parameters
    ----------
    samples
        The results, shape (samples, voxels).
    """
    given = np.asarray(samples, np.float64)
    return _as_bits(given.std(axis=0, ddof=1), given.mean(axis=0))


def count_common(one: Values, other: Values) -> npt.NDArray[np.float64]:
    """Count the leading bits of each voxel that two results have in common."""
    expected = np.asarray(other, np.float64)
    return _as_bits(np.abs(np.asarray(one, np.float64) - expected), expected)


def _as_bits(spread: Values, size: Values) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -np.log2(spread / np.abs(size))
    return np.where(spread == 0, MOST_BITS, np.clip(bits, 0.0, MOST_BITS))


def describe_bits(bits: npt.NDArray[np.float64]) -> dict[str, float]:
    """The median over the voxels, and the least but for one voxel in a hundred."""
    least, median = np.percentile(bits, [LEAST_PERCENTILE, 50.0])
    return {"median": round(float(median), 2), "least": round(float(least), 2)}


def find_confidence_loss(samples: int, confidence: float = 0.95, share: float = 0.95) -> float:
    """How many bits fewer are certain, given that so few samples were drawn.

    If results are normally distributed, at least ``share`` of them agree with their mean in the
    estimated bits less this number, with so much ``confidence`` (Sohier et al. 2021).
    """
    free = samples - 1
    wider = free / chi2.ppf((1 - confidence) / 2, free)
    return float(np.log2(wider) / 2 + np.log2(NormalDist().inv_cdf((1 + share) / 2)))


def cast_to_uint8(corrected: Values, top: float) -> npt.NDArray[np.uint8]:
    """Scale so that ``top`` becomes 255, and cut off the digits behind the point."""
    return np.clip(corrected * np.float32(255 / top), 0, 255).astype(np.uint8)


def cast_to_int16(corrected: Values, top: float) -> npt.NDArray[np.int16]:
    """Cut off the digits behind the point; intensities up to about 1 are taken times 1000."""
    factor = np.float32(1000 if top < 100 else 1)
    return np.clip(corrected * factor, -32768, 32767).astype(np.int16)


def compare_casts(one: Values, other: Values, top: float) -> dict[str, float]:
    """The share of voxels that have another value after both casts."""
    return {
        "uint8": float(np.mean(cast_to_uint8(one, top) != cast_to_uint8(other, top))),
        "int16": float(np.mean(cast_to_int16(one, top) != cast_to_int16(other, top))),
    }


def average(shares: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each number."""
    return {name: float(np.mean([share[name] for share in shares])) for name in shares[0]}
