"""A field on one grid: which engine evaluates it, and how ITK's tools divide by it."""

from typing import Any

import numpy as np
import pytest

import n4ax
from n4ax.field.grid import is_divided_in_filter
from n4ax.method.grid import Axis

WHOLE = Axis(5, samples=5)


@pytest.mark.parametrize(
    ("tool", "axes", "expected"),
    [
        ("simpleitk", (WHOLE, Axis(6, samples=6)), True),
        ("ants", (WHOLE, WHOLE), False),
        ("simpleitk", (WHOLE, Axis(6, shrink=2, samples=3)), False),
        ("simpleitk", (Axis(5, lower=1, samples=6), WHOLE), False),
        ("simpleitk", (WHOLE, Axis(5, upper=1, samples=6)), False),
    ],
)
def test_simpleitk_divides_whole_images_in_its_filter(tool: Any, axes: Any, expected: bool) -> None:
    assert is_divided_in_filter(tool, axes) is expected


def test_the_engine_that_is_asked_for_evaluates_the_field() -> None:
    jax = pytest.importorskip("jax")
    image = np.random.default_rng(0).uniform(50, 90, (8, 9, 10)).astype(np.float32)
    field = n4ax.fit(image, "all", iters=(2,)).field
    by_xla, by_cpu = field.evaluate(engine="xla"), field.evaluate()
    assert isinstance(by_xla, jax.Array)
    assert type(by_cpu) is np.ndarray
    np.testing.assert_allclose(by_xla, by_cpu, atol=1e-6)
