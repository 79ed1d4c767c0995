"""The parts of a prediction: ulps that are expected, and the side of the threshold."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from n4ax.engines.compiled.kernel import Kernel
from n4ax.engines.cpu.change import ChangeMeter
from n4ax.engines.cpu.prediction import Course
from n4ax.engines.cpu.threads import Threads
from n4ax.method.convergence import Prediction


@pytest.mark.parametrize(("first", "share"), [(0.5, 0.5), (4.0, 4.0)])
def test_expected_ulps_follow_a_course_that_starts_at_what_is_known(
    first: float, share: float
) -> None:
    course = Course(np.array([10, 20, 40]), np.array([1.0, 3.0, 9.0]))
    found = course.expect_ulps(np.array([10, 15, 40]), np.float64(first))
    expected = np.spacing(np.float32([1.0, 2.0, 9.0]) * np.float32(share))
    assert np.array_equal(found, expected.astype(np.float64))


def test_a_course_from_zero_is_taken_as_it_is() -> None:
    course = Course(np.array([0, 10]), np.array([0.0, 8.0]))
    found = course.expect_ulps(np.array([0, 10]), np.float64(5.0))
    assert np.array_equal(found, np.spacing(np.float32([0.0, 8.0])).astype(np.float64))


@pytest.mark.parametrize(
    ("voxels", "measure", "side"),
    [(1000, 0.5, np.inf), (1000, 0.05, -np.inf), (1000, 0.101, 0.0), (1 << 30, 0.5, 0.0)],
)
def test_the_side_of_the_threshold_is_certain_only_for_as_many_voxels_as_are_summed(
    voxels: int, measure: float, side: float
) -> None:
    meter: Any = SimpleNamespace(
        _correction=None, _voxels=SimpleNamespace(number=np.array([0, 100, voxels]))
    )
    prediction = Prediction(measure, 0.0, measure)
    assert ChangeMeter._find_side(meter, prediction, 0.1) == side


def test_a_correction_scales_the_prediction() -> None:
    meter: Any = SimpleNamespace(
        _correction=0.5, _voxels=SimpleNamespace(number=np.array([0, 100, 1000]))
    )
    assert ChangeMeter._find_side(meter, Prediction(0.15, 0.0, 0.15), 0.1) == -np.inf


@pytest.mark.parametrize("count", [2, 3])
def test_numbas_kernels_are_shared_by_as_many_threads_as_there_are(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[int, int]] = []

    def note(first: int, stop: int) -> None:
        done.append((first, stop))

    kernel = Kernel(note, {})
    monkeypatch.setattr(Kernel, "bind", lambda self: FakeBound(note))
    with Threads(count) as threads:
        threads.run(10, kernel)
        assert threads._pool is not None
        assert len(threads._pool._threads) <= count - 1
    assert sorted(k for first, stop in done for k in range(first, stop)) == list(range(10))


class FakeBound:
    """A kernel that the library does not have."""

    entry = None

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, first: int, stop: int) -> None:
        self._function(first, stop)
