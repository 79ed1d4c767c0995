"""Random rounding: numbers that move by one unit in the last place, up, down or not at all."""

from typing import Any

import numpy as np
import numpy.typing as npt


def round_randomly(
    values: npt.NDArray[np.floating[Any]], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Move each number by -1, 0 or +1 units in the last place of float32, as likely each.

    Numbers are rounded to float32 first. Zeros, infinities and NaN stay as they are: their
    neighbours are numbers of another kind.
    """
    single = np.array(values, np.float32, order="C")
    moves = random.integers(-1, 2, single.shape, np.int8)
    moves[(single == 0) | ~np.isfinite(single)] = 0
    single.view(np.int32)[...] += moves
    return single


def round_number(value: Any, random: np.random.Generator) -> np.float32:
    """Move one number in the same way."""
    return np.float32(round_randomly(np.array([value]), random)[0])


def move_input(image: npt.NDArray[np.float32], seed: int, sample: int) -> npt.NDArray[np.float32]:
    """Make the perturbed image of a sample; sample 0 is the image itself."""
    return round_randomly(image, np.random.default_rng([seed, sample])) if sample else image
