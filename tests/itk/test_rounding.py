"""How ITK rounds: products in float32, and the weights of its knot halving."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import n4ax
from n4ax.itk.rounding import float32_product
from tests.support import itk


def test_product_is_rounded_before_it_is_added_in_numpy_and_jax() -> None:
    random = np.random.default_rng(0)
    a, b, c = random.normal(size=(3, 10_000)).astype(np.float32)
    expected = (a * b) + c
    np.testing.assert_array_equal(float32_product(a, b) + c, expected)
    with jax.enable_x64(True):
        found = jax.jit(lambda a, b, c: float32_product(a, b) + c)(a, b, jnp.asarray(c))
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_product_with_numbers_is_float32() -> None:
    product = float32_product(np.arange(3, dtype=np.float32), np.float32(0.1))
    assert product.dtype == np.float32
    np.testing.assert_array_equal(product, np.arange(3, dtype=np.float32) * np.float32(0.1))


@pytest.mark.parametrize("order", [2, 3, 4, 5])  # at order 1, rounding in the evaluation hides it
def test_knot_halving_is_rounded_as_in_itk(order: int) -> None:
    random = np.random.default_rng(order)
    x, y = np.meshgrid(np.linspace(-1, 1, 120), np.linspace(-1, 1, 140))
    shading = np.exp(np.sin(3 * x + 1) - 1.5 * np.cos(2 * x - 3 * y))
    image = (200 * shading * random.normal(1, 0.02, x.shape)).astype(np.float32)
    keywords: dict[str, Any] = {
        "conv_threshold": 0.0, "fwhm": 1.0, "spline_order": order, "control_points": (8, 9),
    }  # fmt: skip
    changes = []
    for fields in (
        [itk.correct(image, None, iters=n, **keywords).log_bias for n in ((8,), (8, 0, 0))],
        [n4ax.fit(image, "all", iters=n, **keywords).log_bias for n in ((8,), (8, 0, 0))],
    ):
        changes.append(fields[1].astype(np.float64) - fields[0])
    theirs, ours = changes
    assert np.sqrt((theirs**2).mean()) > 1e-7
    assert np.sqrt(((ours - theirs) ** 2).mean()) < 0.5 * np.sqrt((theirs**2).mean())
