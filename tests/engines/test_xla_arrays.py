"""The arrays that the XLA engine takes and returns: their libraries, types and devices."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.engines import choice
from tests.engines.conftest import FEW

Array = npt.NDArray[Any]


def test_jax_arrays_come_back_as_jax_arrays_on_their_device(small: tuple[Array, Array]) -> None:
    image, mask = (jnp.asarray(array) for array in small)
    corrected, log_bias = n4ax.n4(image, mask, **FEW)
    for array in (corrected, log_bias):
        assert isinstance(array, jax.Array)
        assert array.dtype == jnp.float32
        assert array.devices() == image.devices()
    assert isinstance(n4ax.fit(image, mask, iters=(1,), engine="xla").log_bias, jax.Array)
    assert isinstance(n4ax.otsu_mask(image), jax.Array)
    np.testing.assert_array_equal(n4ax.otsu_mask(image), n4ax.otsu_mask(small[0]))
    assert not jax.config.jax_enable_x64  # the setting of the caller is as before


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_input_is_left_as_it_was(small: tuple[Array, Array], dtype: Any) -> None:
    image, mask = small[0].astype(dtype), small[1].copy()
    copies = image.copy(), mask.copy()
    for outside in ("divide", "keep", "zero"):
        corrected = n4ax.n4(image, mask, engine="xla", iters=(2,), outside=outside)
        assert not np.shares_memory(corrected, image)
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(mask, copies[1])


def test_double_images_are_divided_in_double(small: tuple[Array, Array]) -> None:
    wide = small[0].astype(np.float64) + 1e-9
    corrected, log_bias = n4ax.n4(wide, small[1], **FEW)
    assert corrected.dtype == np.float64
    np.testing.assert_allclose(corrected, wide / np.exp(log_bias.astype(np.float64)), rtol=3e-7)


def test_inside_jit_without_a_mask_and_with_traced_weights(small: tuple[Array, Array]) -> None:
    image = jnp.asarray(small[0])
    weights = jnp.asarray(np.random.default_rng(0).random(image.shape), jnp.float32)
    inside = jax.jit(lambda image, weights: n4ax.n4(image, weights=weights, **FEW))
    np.testing.assert_allclose(
        inside(image, weights)[1], n4ax.n4(image, weights=weights, **FEW)[1], atol=1e-6
    )
    fixed = jax.jit(lambda weights: n4ax.n4(small[0], small[1], weights=weights, iters=(2,)))
    assert fixed(weights).shape == image.shape


def test_what_cannot_be_traced_says_so(small: tuple[Array, Array]) -> None:
    image = jnp.asarray(small[0])
    with pytest.raises(ValueError, match=r"inside jax\.jit call n4ax\.n4"):
        jax.jit(n4ax.fit)(image)
    with pytest.raises(ValueError, match='engine is "cpu", which cannot be part of a JAX program'):
        jax.jit(lambda image: n4ax.n4(image, engine="cpu"))(image)


def test_engine_is_xla_where_there_is_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.ones(3)
    monkeypatch.setattr(choice, "has_gpu", lambda: False)
    assert choice.choose_engine(None, image) == "cpu"
    on_cpu = jax.device_put(image, jax.devices("cpu")[0])
    assert choice.choose_engine(None, on_cpu) == "cpu"
    monkeypatch.setattr(choice, "is_on_accelerator", lambda array: array is image)
    assert choice.choose_engine(None, image) == "xla"
    assert choice.choose_engine("cpu", image) == "cpu"
    monkeypatch.undo()
    monkeypatch.setattr(choice, "find_spec", lambda name: name)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    choice.has_gpu.cache_clear()
    try:
        assert choice.choose_engine(None, image) == "xla"
    finally:
        choice.has_gpu.cache_clear()


def test_tensors_of_torch_come_back_as_tensors(small: tuple[Array, Array]) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    image, mask = (torch.from_numpy(array) for array in small)
    for engine in ("cpu", "xla"):
        corrected, log_bias = n4ax.n4(image, mask, **FEW | {"engine": engine})
        assert isinstance(corrected, torch.Tensor)
        assert isinstance(log_bias, torch.Tensor)
        expected = n4ax.n4(*small, **FEW | {"engine": engine})
        np.testing.assert_array_equal(corrected.numpy(), expected[0])


class Tensor:
    """An array of a library that offers DLPack and nothing else."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.values.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.values.__dlpack_device__()


def from_dlpack(array: Any) -> Tensor:
    return Tensor(np.from_dlpack(array))


@pytest.mark.parametrize("engine", ["cpu", "xla"])
def test_arrays_of_other_libraries_go_through_dlpack(
    small: tuple[Array, Array], engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, Tensor.__module__.partition(".")[0], sys.modules[__name__])
    image, mask = (Tensor(array) for array in small)
    corrected = n4ax.n4(image, mask, iters=(2,), engine=engine)
    assert isinstance(corrected, Tensor)
    np.testing.assert_array_equal(corrected.values, n4ax.n4(*small, iters=(2,), engine=engine))


def test_extended_precision_is_worked_on_in_double(small: tuple[Array, Array]) -> None:
    image, mask = small
    expected = n4ax.n4(image.astype(np.float64), mask, **FEW | {"engine": "xla"})
    found = n4ax.n4(image.astype(np.longdouble), mask, **FEW | {"engine": "xla"})
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == two.dtype
