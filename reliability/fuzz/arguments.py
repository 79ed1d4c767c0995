"""Arguments of Python calls: images, masks, and things that are neither."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from reliability.fuzz.texts import draw_word
from reliability.fuzz.values import change_strides, draw_number, make_array

_HUGE = 10**400
_THINGS = (
    None, True, False, 0, 1, -1, 2, 3, 2**31, 2**63, 2**64, -(2**63) - 1, _HUGE, -_HUGE, 10**5000,
    0.0, -0.0, 0.5, 1.5, float("nan"), float("inf"), float("-inf"), 5e-324, 1e-39, 3.5e38, 1e308,
    1j, "", "x", "3", "otsu", "all", "none", "nan", "i.nii", b"", b"x", (), [], {}, set(), (1,),
    (1, 2), [1, 2, 3], (2, 2, 2), (1, 1, 1, 1), (1.5, 2), ("a", "b"), (None, None), [[1, 2], [3]],
    (_HUGE, 1), (float("nan"), 1, 1), (True, True, True), {"a": 1}, range(3), object, Ellipsis,
    NotImplemented, np.True_, np.int8(3), np.uint64(2**64 - 1), np.float16(2.5), np.float32("nan"),
    np.float64(3), np.longdouble(4), np.array(3), np.array([1, 2, 3]), np.array([2.0, 2.0, 2.0]),
    np.array([]), np.arange(100000), np.str_("cpu"), np.datetime64("nat"), np.ma.masked,
    np.array(["a"]), np.array(None), slice(1), Path("i.nii"), Path("missing.nii"), "y" * 100000,
    [0] * 100000, memoryview(b"abc"), bytearray(b"12"), frozenset({1}), complex("nan"),
)  # fmt: skip

SHAPES = ((6, 5, 4), (6, 5, 4), (8, 7), (4, 4, 4), (3, 3, 3), (2, 2, 2), (5, 1, 6), (1, 6, 5, 1))
_DTYPES = ("f4", "f4", "f8", ">f4", ">f8", "f2", "i2", ">i2", "u1", "i4", "u8", "?", "f16")


def draw_thing(random: Random) -> Any:
    """Anything: of a type, a length or a size that is often wrong."""
    choice = random.random()
    if choice < 0.8:
        return random.choice(_THINGS)
    return draw_number(random) if choice < 0.9 else draw_word(random)


def draw_good_image(random: Random, shape: tuple[int, ...]) -> Any:
    """An image that can be corrected, of any real type and any strides."""
    generator = np.random.default_rng(random.getrandbits(64))
    values = generator.uniform(40, 120, shape)
    if random.random() < 0.2:  # of another magnitude
        values = values * 10.0 ** random.randint(-30, 30)
    with np.errstate(all="ignore"):
        array = change_strides(random, values.astype(random.choice(_DTYPES)))
    choice = random.random()
    if choice < 0.05:
        return np.ma.array(array, mask=generator.random(shape) < random.choice((0.0, 0.2, 1.0)))
    return array.tolist() if choice < 0.1 else array


def draw_image(random: Random, shape: tuple[int, ...]) -> Any:
    """An image: a good one, an array of odd values, or something that is no image."""
    choice = random.random()
    if choice < 0.6:
        return draw_good_image(random, shape)
    if choice < 0.9:
        return _lists(random, make_array(random))
    if choice < 0.95:
        return [draw_good_image(random, shape) for _ in range(random.randint(0, 3))]
    return draw_thing(random)


def draw_mask(random: Random, shape: tuple[int, ...]) -> Any:
    """A mask or weights for an image of a shape: mostly good, or a word, or something wrong."""
    choice = random.random()
    if choice < 0.45:
        return random.choice(("all", "all", None, "otsu"))
    generator = np.random.default_rng(random.getrandbits(64))
    if choice < 0.75:
        share = random.choice((0.0, 0.1, 0.7, 0.9, 1.0))
        mask = (generator.random(shape) < share).astype(random.choice(_DTYPES))
        return change_strides(random, mask)
    if choice < 0.8:
        return generator.random(shape) * draw_number(random)
    return _lists(random, make_array(random)) if choice < 0.9 else draw_thing(random)


def _lists(random: Random, array: Any) -> Any:
    choice = random.random()
    if choice < 0.05:
        return array.tolist()
    if choice < 0.1 and array.dtype.kind in "biuf":
        return np.ma.array(array, mask=random.choice((False, True)))
    return array
