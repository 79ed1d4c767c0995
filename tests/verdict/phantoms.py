"""A head that is simulated: two folded tissues in a ball, under a known field."""

from typing import Any

import numpy as np
import numpy.typing as npt

SHAPE = (40, 44, 36)
SPACING = 4.0
"""Voxels of 4 mm: the head is as large as a real one."""
GOOD: dict[str, Any] = {
    "iters": (50, 50, 50),
    "spline_distance": 200.0,
    "spacing": SPACING,
    "shrink_factor": 2,
    "num_threads": 1,
}
"""Settings that suit the head."""


def make_places(shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.float64]:
    """Places from -1 to 1 along each axis, shape (axes, *shape)."""
    return np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))


def make_head(
    swing: float = 0.4, tissues: tuple[float, float] = (300.0, 450.0)
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """A head in air, the log field that it lies under, and where the head is.

    Parameters
    ----------
    swing
        By how much the log field differs between the ends of the image.
    tissues
        The intensities of the two tissues.
    """
    at = make_places()
    folds = sum(np.sin(13 * at[k] + 5 * at[k - 1]) for k in range(3))
    inside = np.sqrt((at**2).sum(0)) < 0.85
    log_bias = swing / 2 * (at[0] + 0.5 * at[1] ** 2)
    noise = np.random.default_rng(0)
    head = np.where(folds > 0, *tissues[::-1]) * noise.normal(1, 0.04, SHAPE)
    air = np.abs(noise.normal(0, 4, SHAPE)) + 0.1
    image = np.where(inside, head, 0) * np.exp(log_bias) + air
    return image.astype(np.float32), log_bias, inside
