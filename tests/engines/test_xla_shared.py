"""One field for several images with the XLA engine: its numbers, programs and arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.engines.xla import programs
from n4ax.engines.xla.histogram import count_by_chunks
from tests.engines.test_xla import compiled

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def contrasts(small: tuple[Array, Array]) -> list[Array]:
    """Three images of one head with other contrasts."""
    image, _ = small
    return [image, 5 * image**0.7 + 1, np.where(image > 60, 900 - image, 20).clip(1)]


def fit(images: Any, mask: Any, **keywords: Any) -> list[n4ax.N4Result[Any]]:
    return n4ax.fit(images, mask, shared_field=True, **keywords)


def check_the_same(xla: list[n4ax.N4Result[Any]], cpu: list[n4ax.N4Result[Any]]) -> None:
    """Both engines agree as closely as on single images."""
    for one, other in zip(xla, cpu, strict=True):
        assert one.iterations == other.iterations == cpu[0].iterations
        assert one.stopped == other.stopped
        assert np.abs(one.log_bias - other.log_bias).max() <= 5e-6
        np.testing.assert_allclose(one.corrected, other.corrected, rtol=1e-5)


@pytest.mark.parametrize(
    "keywords",
    [
        {"iters": (13, 7, 12), "conv_threshold": 0.0012},
        pytest.param(
            {"iters": (4, 0, 3), "spline_order": 2, "control_points": (4, 5, 3), "tiny": 30.0},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"iters": (3, 3), "shrink_factor": 2, "voxel_order": "F", "convergence": "exact"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_both_engines_find_the_same_field(
    small: tuple[Array, Array], contrasts: list[Array], keywords: dict[str, Any]
) -> None:
    _, mask = small
    fewer = mask.copy()
    fewer[: len(mask) // 3] = 0  # another box than that of the first image
    weights = [None, np.random.default_rng(0).random(mask.shape), None]
    masks = [mask, mask, fewer]
    xla, cpu = (
        fit(contrasts, masks, weights=weights, engine=engine, **keywords)
        for engine in ("xla", "cpu")
    )
    check_the_same(xla, cpu)
    assert np.array_equal(xla[0].log_bias, xla[2].log_bias)
    np.testing.assert_allclose(
        np.concatenate(xla[0].convergence), np.concatenate(cpu[0].convergence), rtol=1e-3
    )


@pytest.mark.slow
def test_form_for_accelerators_gives_the_same_numbers(
    small: tuple[Array, Array], contrasts: list[Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords: dict[str, Any] = {"iters": (13, 7, 12), "conv_threshold": 0.0012}
    cpu = fit(contrasts, small[1], engine="cpu", **keywords)
    monkeypatch.setattr(programs, "_platform", lambda array: "gpu")
    monkeypatch.setattr("n4ax.engines.xla.engine.count_in_order", count_by_chunks)
    check_the_same(fit(contrasts, small[1], engine="xla", **keywords), cpu)


def test_an_image_beside_itself_has_the_bits_that_it_has_alone(small: tuple[Array, Array]) -> None:
    image, mask = small
    keywords: dict[str, Any] = {"iters": (3, 3), "engine": "xla"}
    alone = n4ax.fit(image, mask, **keywords)
    before = len(compiled())
    (single,) = fit([image], mask, **keywords)
    assert len(compiled()) == before  # it is the program of a single image
    assert np.array_equal(single.corrected, alone.corrected)
    for twin in fit([image, image], mask, **keywords):
        assert np.array_equal(twin.corrected, alone.corrected)
        assert twin.convergence == alone.convergence
    assert len(compiled()) > before  # so the programs are counted


def test_other_images_and_parameters_compile_nothing(
    small: tuple[Array, Array], contrasts: list[Array]
) -> None:
    _, mask = small
    fit(contrasts[:2], mask, engine="xla", iters=(3, 3))
    before = len(compiled())
    others = [np.roll(image, 1, axis=0) * 1.2 + 3 for image in contrasts[1:]]
    moved = np.roll(mask, 1, axis=0)
    found = fit(others, moved, engine="xla", iters=(2, 1), conv_threshold=1e-5, fwhm=0.2)
    assert [result.iterations for result in found] == [[2, 1], [2, 1]]
    assert len(compiled()) == before


def test_jax_arrays_come_back_as_jax_arrays(
    small: tuple[Array, Array], contrasts: list[Array]
) -> None:
    _, mask = small
    pair = [jnp.asarray(contrasts[0]), contrasts[1]]
    news: list[tuple[int, int]] = []

    def note(level: int, iteration: int, *_: Any) -> None:
        news.append((level, iteration))

    first, second = fit(pair, mask, engine="xla", iters=(2, 1), conv_threshold=0.0, progress=note)
    assert news == [(0, 1), (0, 2), (1, 1)]
    assert isinstance(first.corrected, jax.Array)
    assert isinstance(second.corrected, np.ndarray)
    assert not jax.config.jax_enable_x64  # the setting of the caller is as before
    with pytest.raises(ValueError, match=r"inside jax\.jit call n4ax\.n4"):
        jax.jit(lambda image: fit([image, image], mask)[0].corrected)(pair[0])
    with pytest.raises(ValueError, match="which the XLA engine cannot do"):
        fit(pair, mask, engine="xla", accelerate=True, conv_threshold=0)


def test_one_image_on_an_accelerator_brings_all_to_the_xla_engine(
    small: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, mask = small

    def say_so(*_: Any) -> None:
        raise KeyError("the XLA engine")

    monkeypatch.setattr(programs, "estimate", say_so)
    monkeypatch.setattr("n4ax.engines.choice.has_gpu", lambda: False)
    assert len(fit([2 * image, image], mask, iters=(1,))) == 2
    monkeypatch.setattr("n4ax.engines.choice.is_on_accelerator", lambda one: one is image)
    with pytest.raises(KeyError, match="the XLA engine"):
        fit([2 * image, image], mask, iters=(1,))
