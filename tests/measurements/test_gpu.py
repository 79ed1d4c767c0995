"""What ``benchmarks/gpu.py`` says about a device, on profiles and devices that stand in for it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import gpu, gpu_alternatives, gpu_processes, gpu_profile

BINS = 22


class Event(NamedTuple):
    name: str
    duration_ns: float


class Line(NamedTuple):
    name: str
    events: list[Event]


class Plane(NamedTuple):
    name: str
    lines: list[Line]


def make_planes(iterations: int, looks: int = 1) -> list[Plane]:
    """The planes of a call on a GPU: two kernels an iteration, and one once a call."""
    each = [Event("scatter", 3000.0), Event("fusion_2", 1000.0)] * iterations
    copies = [Event("MemcpyD2H", 500.0)] * (looks * iterations) + [Event("Memset", 9.0)]
    host = [Event("cuLaunchKernel", 1.0)] * (2 * iterations + 1)
    host += [Event("cuStreamSynchronize", 1.0)] * iterations + [Event("cuGraphLaunch", 1.0)]
    return [
        Plane("/device:CUSTOM:0", [Line("Stream #1", [Event("nothing", 1.0)])]),
        Plane("/device:GPU:0", [
            Line("Stream #7", [Event("prepare", 5e6), *each, *copies]),
            Line("XLA Ops", [Event("scatter", 3000.0)]),
        ]),
        Plane("/host:CPU", [Line("python", host)]),
    ]  # fmt: skip


def test_an_iteration_is_the_difference_of_two_traces() -> None:
    few, many = (gpu_profile.count_events(make_planes(n)) for n in (2, 12))
    found = gpu_profile.subtract(few, many, 10)
    assert found["device"] == "/device:GPU:0"
    assert (found["kernels"], found["looks"], found["copies"]) == (2, 1, 1)
    assert (found["launches"], found["graphs"], found["waits"]) == (2, 0, 1)
    assert found["busy"] == pytest.approx(4e-6)
    assert [one["kernel"] for one in found["largest"]] == ["scatter", "fusion_2", "prepare"]
    assert found["largest"][0] == {"kernel": "scatter", "calls": 1, "seconds": pytest.approx(3e-6)}
    text = gpu_profile.describe(found)
    assert "2.0 kernels" in text
    assert "1.00 looks of the host" in text


def test_a_loop_that_the_host_does_not_look_at_has_no_looks() -> None:
    few, many = (gpu_profile.count_events(make_planes(n, looks=0)) for n in (2, 12))
    assert gpu_profile.subtract(few, many, 10)["looks"] == 0


def test_without_an_accelerator_looks_and_launches_are_not_invented() -> None:
    def planes(number: int) -> list[Plane]:
        events = [Event("fusion", 2000.0), Event("end: fusion", 1.0)] * number
        return [Plane("/host:CPU", [Line("tf_XLAEigen/1", events), Line("python", events)])]

    few, many = (gpu_profile.count_events(planes(n)) for n in (1, 3))
    found = gpu_profile.subtract(few, many, 2)
    assert (found["device"], found["kernels"]) == ("/host:CPU", 1)
    assert "looks" not in found
    assert "only on an accelerator" in gpu_profile.describe(found)


def test_a_call_on_this_machine_can_be_traced() -> None:
    compiled = jax.jit(lambda a: jnp.sort(a) + 1)
    array = jnp.arange(1000.0)
    compiled(array)
    found = gpu_profile.profile_call(lambda: compiled(array))
    assert found["kernels"] >= 1
    assert found["busy"] > 0


def _positions(kind: str) -> Any:
    random = np.random.default_rng(3)
    if kind == "spread":
        return random.uniform(0, BINS - 2, 20_000).astype(np.float32)
    return np.full(1_000_000, 7.75, np.float32)  # all in two bins: sums must not overflow


@pytest.mark.parametrize("kind", ["spread", "two bins"])
@pytest.mark.parametrize("way", list(gpu_alternatives.list_histograms(BINS)))
def test_every_way_counts_all_voxels_in_their_bins(way: str, kind: str) -> None:
    position = _positions(kind)
    below = position.astype(np.int64)
    part = position.astype(np.float64) - below
    expected = np.bincount(below, 1 - part, BINS) + np.bincount(below + 1, part, BINS)
    with jax.enable_x64(True):
        count: Callable[..., Any] = jax.jit(gpu_alternatives.list_histograms(BINS)[way])
        found = np.asarray(count(jnp.asarray(position)), np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_way_that_fails_says_why_and_the_next_one_is_timed() -> None:
    def fail(_: Any) -> Any:
        raise NotImplementedError("not on this device\nand more")

    ways = {"first": lambda a: a + 1, "broken": fail, "other": lambda a: a + 2}
    first, broken, other = gpu_alternatives.time_ways(ways, (jnp.arange(3.0),), 2)
    assert broken == {"way": "broken", "why": "not on this device"}
    assert (first["unlike"], other["unlike"], other["largest"]) == (0, 3, 1.0)
    assert first["again"]
    text = gpu_alternatives.describe({"numbers": [first, broken, other]})
    assert "did not run: not on this device" in text


def test_bits_of_processes_are_compared_only_if_all_ran() -> None:
    same, other, failed = {"hash": "a"}, {"hash": "b"}, {"why": "out of memory"}
    assert gpu_processes.compare_bits((same, same), "a") is True
    assert gpu_processes.compare_bits((same, other), "a") is False
    assert gpu_processes.compare_bits((other, other), "a") is False
    assert gpu_processes.compare_bits((same, failed), "a") is None


def test_a_part_that_fails_does_not_end_the_report() -> None:
    found, text = gpu.attempt(lambda: 1 // 0, str)
    assert "ZeroDivisionError" in found["why"]
    assert text.startswith("failed: ")
    assert gpu.attempt(lambda: 7, str) == (7, "7")
