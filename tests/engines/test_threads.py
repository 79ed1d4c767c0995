"""Several threads of a program that correct images at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import n4ax

SHAPES = [(20, 30, 40), (64, 60, 52), (48, 70, 1), (64, 60, 52)]
"""Two of them are large enough for threads of their own."""


def correct(number: int) -> tuple[bytes, ...]:
    """The bits of a correction, which differ from those of any other number."""
    shape = tuple(n for n in SHAPES[number % len(SHAPES)] if n > 1)
    image = np.random.default_rng(number).gamma(4.0, 30.0, shape).astype(np.float32)
    result = n4ax.fit(
        image, image > 40, iters=(4, 3), num_threads=1 + number % 3, shrink_factor=1 + number % 2
    )
    parts = (result.field.control_points, result.corrected, result.log_bias)
    return (*(np.ascontiguousarray(part).tobytes() for part in parts), repr(result.convergence))


@pytest.mark.parametrize("threads", [2, 5])
def test_corrections_at_once_do_not_disturb_each_other(threads: int) -> None:
    alone = [correct(number) for number in range(10)]
    start = threading.Barrier(threads)
    with ThreadPoolExecutor(threads, initializer=start.wait) as pool:
        together = list(pool.map(correct, [*range(10), *reversed(range(10))]))
    assert together == [*alone, *reversed(alone)]


def test_one_field_is_evaluated_by_several_threads() -> None:
    image = np.random.default_rng(3).gamma(4.0, 30.0, (40, 36, 32)).astype(np.float32)
    field = n4ax.fit(image, "all", iters=(3,)).field
    images = [np.full((24 + 8 * number, 30, 28), 7, np.float32) for number in range(4)] * 3
    alone = [field.apply(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(field.apply, images))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)
