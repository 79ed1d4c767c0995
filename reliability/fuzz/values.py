"""Values that go wrong, drawn from a random source."""

from random import Random
from typing import Any

import numpy as np

DTYPES = (
    "f4", "f8", "f2", ">f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?", "c8", "O", "S3",
    "U2", "M8[s]", "f4,i2",
)  # fmt: skip
NUMBERS = (
    0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 5e-324, 1e-45, 1e-38, 1e-30,
    3.4e38, 1e300, 255.0, 32767.0, 65535.0, 2.0**24 + 1, 2.0**53,
)  # fmt: skip


def draw_number(random: Random) -> float:
    """A number, often one on an edge."""
    if random.random() < 0.5:
        return random.choice(NUMBERS)
    return random.uniform(-1, 1) * 10.0 ** random.randint(-40, 38)


def draw_shape(random: Random, most: int = 4000) -> tuple[int, ...]:
    """The shape of a small array of 0 to 5 axes; some are empty or one voxel wide."""
    axes = random.choice((0, 1, 2, 2, 3, 3, 3, 3, 3, 4, 5))
    shape: list[int] = []
    left = most
    for _ in range(axes):
        shape.append(min(random.choice((0, 1, 1, 2, 3, 4, 5, 7, 8, 12, 16, 40)), left))
        left //= max(shape[-1], 1)
    random.shuffle(shape)
    return tuple(shape)


def make_array(random: Random) -> Any:
    """An array of any type, shape and strides, with ordinary or odd values."""
    generator = np.random.default_rng(random.getrandbits(64))
    shape = draw_shape(random)
    kind = random.choice(DTYPES)
    with np.errstate(all="ignore"):
        values = _draw_values(random, generator, shape)
        try:
            array = values.astype(kind)
        except (TypeError, ValueError, OverflowError):
            array = values.astype("f4")
    return change_strides(random, np.asarray(array))


def _draw_values(random: Random, generator: np.random.Generator, shape: tuple[int, ...]) -> Any:
    choice = random.random()
    if choice < 0.15:
        return np.full(shape, draw_number(random))
    values = generator.uniform(0.0, 10.0 ** random.randint(-3, 5), shape)
    if choice < 0.4:  # some voxels are odd
        odd = generator.random(shape) < random.choice((0.001, 0.1, 0.9))
        values = np.where(odd, draw_number(random), values)
    if choice > 0.9:
        values = values - 5.0
    return values


def change_strides(random: Random, array: Any) -> Any:
    """The same values, or some of them, with other strides or read-only."""
    choice = random.random()
    if array.ndim == 0:
        return array
    if choice < 0.1:
        return np.asfortranarray(array)
    if choice < 0.2:
        return array[tuple(slice(None, None, -1) for _ in range(array.ndim))]
    if choice < 0.3:
        return np.repeat(array, 2, axis=0)[::2]
    if choice < 0.35:
        return np.broadcast_to(array[:1], array.shape)
    if choice < 0.4:
        array = array.copy()
        array.flags.writeable = False
    return array
