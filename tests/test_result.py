"""The measures of a result: the same whether they are read later or asked for on the way."""

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.engines.measures import Measures
from n4ax.method import footprint

KEYWORDS: list[dict[str, Any]] = [
    {},
    {"conv_threshold": 0.0, "shrink_factor": 2},
    {"arithmetic": "itk"},
    {"convergence": "exact"},
    {"iters": (0, 4, 0)},
]


@pytest.fixture(scope="module")
def image() -> npt.NDArray[np.float32]:
    random = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 30, 36)), indexing="ij")
    classes = np.where(x**2 + y**2 + z**2 < 0.6, 100.0, 60.0)
    shading = np.exp(0.4 * x * y - 0.3 * z**2)
    return (classes * shading * random.normal(1, 0.03, x.shape)).astype(np.float32)


def find_measures(result: n4ax.N4Result[Any]) -> Measures:
    assert result.measures is not None
    return result.measures


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_measures_read_later_are_those_computed_on_the_way(
    image: npt.NDArray[np.float32], keywords: dict[str, Any]
) -> None:
    keywords = {"iters": (8, 6), "conv_threshold": 2e-3} | keywords
    mask = image > 20
    result = n4ax.fit(image, mask, **keywords)
    mask[:] = False  # what the user does with the mask afterwards
    heard: list[float] = []
    listened = n4ax.fit(image, image > 20, progress=lambda *news: heard.append(news[3]), **keywords)
    assert find_measures(copy.deepcopy(result)).read_last() == (
        listened.convergence[-1][-1] if listened.convergence[-1] else None
    )
    assert result.convergence == listened.convergence
    assert [value for level in result.convergence for value in level] == heard
    assert [len(level) for level in result.convergence] == result.iterations
    assert result.stopped == listened.stopped


def test_result_can_be_copied_pickled_and_replaced(image: npt.NDArray[np.float32]) -> None:
    result = n4ax.fit(image, "all", iters=(4, 3), conv_threshold=0.0)
    pickled = pickle.loads(pickle.dumps(result))
    copied = copy.copy(result)
    replaced = dataclasses.replace(result, stopped=["converged", "converged"])
    assert np.isfinite(np.concatenate(result.convergence)).all()
    for other in (pickled, copied, replaced, pickle.loads(pickle.dumps(result))):
        assert other.convergence == result.convergence
    assert dataclasses.replace(result, convergence=[[1.0]]).convergence == [[1.0]]
    assert dataclasses.asdict(result)["convergence"] == result.convergence


def test_lattices_that_take_too_much_memory_are_not_kept(
    image: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = n4ax.fit(image, "all", iters=(4, 3), conv_threshold=0.0)
    monkeypatch.setattr(footprint, "MOST_KEPT", 4 * (4 * 4**3 + 3 * 5**3) - 1)
    result = n4ax.fit(image, "all", iters=(4, 3), conv_threshold=0.0)
    assert len(pickle.dumps(find_measures(result))) < len(pickle.dumps(find_measures(expected)))
    known = copy.deepcopy(find_measures(result))._values
    assert known == result.convergence == expected.convergence


def test_measures_of_a_run_without_need_are_not_computed(image: npt.NDArray[np.float32]) -> None:
    result = n4ax.fit(image, "all", iters=(4, 3), conv_threshold=0.0)
    assert np.isnan(np.concatenate(find_measures(result)._values)).all()


def test_measures_of_images_that_share_a_field_are_on_the_first(
    image: npt.NDArray[np.float32],
) -> None:
    other = image[::-1].copy()
    masks = [image > 70, other > 40]
    results = n4ax.fit([image, other], masks, iters=(4, 3), conv_threshold=0.0, shared_field=True)
    heard: list[float] = []
    n4ax.fit(
        [image, other], masks, iters=(4, 3), conv_threshold=0.0, shared_field=True,
        progress=lambda *news: heard.append(news[3]),
    )  # fmt: skip
    for result in results:
        assert [value for level in result.convergence for value in level] == heard


def test_measures_of_xla_are_completed_by_the_cpu(image: npt.NDArray[np.float32]) -> None:
    pytest.importorskip("jax")
    keywords: dict[str, Any] = {"iters": (5, 4), "conv_threshold": 0.0}
    result = n4ax.fit(image, "all", engine="xla", **keywords)
    cpu = n4ax.fit(image, "all", engine="cpu", **keywords)
    assert np.isnan(np.concatenate(find_measures(result)._values)).all()
    np.testing.assert_allclose(
        np.concatenate(result.convergence), np.concatenate(cpu.convergence), rtol=1e-3
    )
