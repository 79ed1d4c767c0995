"""The CPU engine alone has the arithmetic of ITK, and it says so."""

from typing import Any

import numpy as np
import pytest

import n4ax
from n4ax.engines.choice import has_gpu
from n4ax.errors import InputError
from tests.support.bits import check_bits

ITK: dict[str, Any] = {"arithmetic": "itk", "iters": (2,), "conv_threshold": 0.0}
SHAPE = (8, 9, 10)


def make_image() -> Any:
    return (np.random.default_rng(5).random(SHAPE) * 100 + 50).astype(np.float32)


@pytest.mark.parametrize("function", [n4ax.n4, n4ax.fit])
@pytest.mark.parametrize("make", [make_image, lambda: import_jax().numpy.asarray(make_image())])
def test_xla_engine_is_refused(function: Any, make: Any) -> None:
    with pytest.raises(InputError, match=r"arithmetic.*engine|engine.*arithmetic") as caught:
        function(make(), "all", engine="xla", **ITK)
    assert "cpu" in str(caught.value)


def test_xla_engine_is_refused_for_a_batch() -> None:
    images = [make_image(), make_image()]
    with pytest.raises(InputError, match=r"arithmetic.*engine|engine.*arithmetic"):
        n4ax.n4_batch(images, ["all", "all"], engine="xla", **ITK)


def test_programs_of_jax_are_refused() -> None:
    jax = import_jax()
    with pytest.raises(InputError, match="arithmetic"):
        jax.jit(lambda image: n4ax.n4(image, "all", **ITK))(jax.numpy.asarray(make_image()))


@pytest.mark.skipif(has_gpu(), reason="the array would be on the GPU")
def test_arrays_of_jax_have_the_bits_of_those_of_numpy() -> None:
    jax = import_jax()
    expected = n4ax.fit(make_image(), "all", **ITK)
    found = n4ax.fit(jax.numpy.asarray(make_image()), "all", **ITK)
    assert found.convergence == expected.convergence
    check_bits(np.asarray(found.log_bias), expected.log_bias, "log field")
    check_bits(np.asarray(found.corrected), expected.corrected, "corrected image")


def import_jax() -> Any:
    return pytest.importorskip("jax")
