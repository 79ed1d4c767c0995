"""The accelerated schedule: close to the outcome of all iterations."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import n4ax
from benchmarks.accelerated import HEADS
from n4ax.method import accelerated
from n4ax.method.accelerated import (
    FEWEST,
    LONGEST,
    Step,
    choose_thinning,
    has_enough,
    plan_steps,
)
from n4ax.settings import N4Settings
from tests.support.long import mark

FAST = N4Settings.fast().keywords()
ALL = FAST | {"accelerate": False}
OLD = ALL | {"iters": (8, 12, 12, 8), "over_relax": 1.8}
"""The default schedule of n4ax 0.1."""

SMALL = ("flair_head_ms_3mm", "flair_head_tcga_thick5p5mm_oblique", "brain_2d_rss8ch_sigpy",
         "mouse_anat_small_sammba", "epi_7t_layerfmri_oblique_sclslope")  # fmt: skip
"""Heads that are corrected three times within a few seconds; the others are slow."""

LARGEST = ("t1w_head_gre_3t_uih_0p5mm", "t1w_head_studyforrest_0p7mm")
"""Each takes longer than all others together, and is like another."""


def log_bias(image: Any, mask: Any = None, **keywords: Any) -> npt.NDArray[Any]:
    return np.asarray(n4ax.n4(image, mask, return_bias=True, **keywords)[1])


def mean_difference(mask: Any, first: Any, second: Any) -> float:
    return float(np.abs(first - second)[np.asarray(mask) != 0].mean())


@pytest.fixture(scope="module")
def head() -> npt.NDArray[np.float32]:
    return volume(Path(n4ax.__file__).parent / "data" / "head.nii.gz")


def volume(path: Path) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(np.asarray(nib.load(path).dataobj, np.float32).squeeze().T)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=mark(name not in SMALL, name in LARGEST)) for name in HEADS],
)
def test_real_heads_are_within_three_tenths_of_a_percent(
    name: str, shared: Path, tell: Any
) -> None:
    image = volume(shared / "data" / f"{name}.nii.gz")
    mask = n4ax.otsu_mask(image)
    whole = log_bias(image, mask, **ALL)
    off = mean_difference(mask, log_bias(image, mask, **FAST), whole)
    assert off < 0.003
    old = mean_difference(mask, log_bias(image, mask, **OLD), whole)
    tell(f"accelerated, {name}: {off:.2%} from all iterations; (8, 12, 12, 8) x 1.8: {old:.1%}")
    assert old > 5 * off


def test_the_packaged_head_too(head: Any) -> None:
    mask = n4ax.otsu_mask(head)
    off = mean_difference(mask, log_bias(head, mask, **FAST), log_bias(head, mask, **ALL))
    assert 0 < off < 0.003


@pytest.mark.parametrize(
    "keywords",
    [
        {"shrink_factor": 2},
        {"spline_distance": 100, "spacing": 2.5},
        {"spline_order": 2},
        {"mesh": (2, 1, 3)},
        {"iters": (120, 30)},
    ],
    ids=str,
)
def test_it_follows_every_setting(head: Any, keywords: dict[str, Any]) -> None:
    mask = n4ax.otsu_mask(head)
    whole = log_bias(head, mask, **ALL | keywords)
    off = mean_difference(mask, log_bias(head, mask, **FAST | keywords), whole)
    assert off < 0.01
    assert off < 0.05 * np.abs(whole[mask != 0]).mean()


def test_with_background_in_the_mask_it_is_further_off(head: Any) -> None:
    # The background has few and low grey levels, so its histogram consists of spikes. A part of
    # the voxels tells less about such a histogram.
    whole = log_bias(head, "all", **ALL)
    off = np.abs(log_bias(head, "all", **FAST) - whole).mean()
    assert off < 0.05
    assert off < 0.2 * np.abs(whole).mean()


def test_a_mask_of_one_slice_is_not_thinned_away(head: Any) -> None:
    image = np.zeros((100, 576, 576), np.float32)
    image[50] = np.kron(head[44], np.ones((6, 6)))
    mask = (image > 60).astype(np.uint8)
    every = choose_thinning(mask != 0, (8, 8, 8))
    assert every[0] == 2  # which would leave out the slice
    whole = log_bias(image, mask, **ALL)
    assert mean_difference(mask, log_bias(image, mask, **FAST), whole) < 0.01


def test_weights_count(head: Any) -> None:
    mask = n4ax.otsu_mask(head)
    weights = mask * np.linspace(0.1, 1, head.shape[0])[:, None, None]
    whole = log_bias(head, mask, weights=weights, **ALL)
    off = mean_difference(mask, log_bias(head, mask, weights=weights, **FAST), whole)
    assert off < 0.003
    assert mean_difference(mask, log_bias(head, mask, **FAST), whole) > 2 * off


def test_with_looks_alone_it_is_n4(head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerated, "plan_steps", lambda iterations: [Step(1, True)] * iterations)
    fast, whole = (log_bias(head, iters=(6, 5), **chosen) for chosen in _short(FAST, ALL))
    np.testing.assert_allclose(fast, whole, atol=3e-6)


def _short(*keywords: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in given.items() if k != "iters"} for given in keywords]


def test_two_dimensions_and_images_too_small_to_thin() -> None:
    x = np.linspace(-1, 1, 60)
    y, x = np.meshgrid(x, x, indexing="ij")
    noise = np.random.default_rng(0).normal(0, 2, x.shape)
    image = (np.where(x**2 + y**2 < 0.5, 200.0, 120.0) * np.exp(0.3 * x) + noise).astype(np.float32)
    assert choose_thinning(np.ones(image.shape, bool), (8, 8)) == (1, 1)
    off = np.abs(log_bias(image, "all", **FAST) - log_bias(image, "all", **ALL)).mean()
    assert off < 0.01


def test_several_images_with_one_field(head: Any) -> None:
    mask = n4ax.otsu_mask(head)
    pair = [head, 0.5 * head[::-1]]
    fast, whole = (
        n4ax.fit(pair, mask, shared_field=True, **keywords)[0].log_bias for keywords in (FAST, ALL)
    )
    assert mean_difference(mask, fast, whole) < 0.005


def test_threads_do_not_change_a_bit(head: Any) -> None:
    big = np.tile(head, (1, 1, 2))
    one, two = (n4ax.n4(big, num_threads=n, **FAST) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_what_the_result_says(head: Any) -> None:
    calls: list[tuple[int, int, int, float]] = []
    result = n4ax.fit(head, progress=lambda *call: calls.append(call), **FAST)
    assert result.iterations == [50, 50, 50, 50]
    assert result.stopped == ["iteration limit"] * 4
    assert np.isnan(np.concatenate(result.convergence)).all()
    assert [call[1] for call in calls if call[0] == 3][-1] == 50
    assert all(np.isnan(call[3]) and call[2] == 50 for call in calls)
    assert len(calls) < 120


def test_a_level_without_iterations_is_passed_over(head: Any) -> None:
    keywords = _short(FAST, ALL)
    fast, whole = (log_bias(head, iters=(0, 20), **chosen) for chosen in keywords)
    assert mean_difference(n4ax.otsu_mask(head), fast, whole) < 0.01


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"conv_threshold": 0.001}, "conv_threshold=0"),
        ({"conv_threshold": 0, "over_relax": 1.8}, "over_relax=1"),
        ({"conv_threshold": 0, "accelerate": 1}, "True or False"),
    ],
)
def test_what_does_not_go_with_it_is_refused(keywords: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        N4Settings(**{"accelerate": True} | keywords)


def test_steps_become_longer_as_the_level_goes_on() -> None:
    found = [step.length for step in plan_steps(30)]
    assert found == [1, 1, 1, 1, 1, 3, 1, 1, 4, 1, 1, 4, 1, 1, 4, 1, 1, 2]


@given(st.integers(0, 400))
def test_the_steps_of_a_level_are_its_iterations(iterations: int) -> None:
    found = list(plan_steps(iterations))
    assert sum(step.length for step in found) == iterations
    assert all(1 <= step.length <= LONGEST for step in found)
    lengths = [step.length for step in found]
    # After a longer step there are two of one iteration, which damp what the longer one amplified.
    assert all(lengths[k + 1 : k + 3] in ([1, 1], [1], [])
               for k, n in enumerate(lengths) if n > 1)  # fmt: skip
    if iterations >= 50:
        assert sum(step.look for step in found) >= 3


def test_looks_come_with_the_first_longer_step_once_they_are_due() -> None:
    steps = list(plan_steps(130))
    begin = [sum(step.length for step in steps[:k]) for k in range(len(steps))]
    looked = [done for done, step in zip(begin, steps, strict=True) if step.look]
    longer = [done for done, step in zip(begin, steps, strict=True) if step.length > 1]
    due = (12, 30, 50, 70, 90, 110)
    assert looked == [3, *(min(done for done in longer if done >= at) for at in due)]


@pytest.mark.parametrize("shape", [(176, 192, 192), (26, 256, 208), (20, 30), (40, 50, 60, 7)])
def test_a_thinned_image_keeps_enough(shape: tuple[int, ...]) -> None:
    included = np.ones(shape, bool)
    every = choose_thinning(included, [8] * len(shape))
    assert all(n // k >= min(n, 24) for n, k in zip(shape, every, strict=True))
    assert included.size / np.prod(every) >= min(FEWEST, included.size)


@pytest.mark.parametrize(
    ("shape", "finest", "every"),
    [
        ((200, 200, 200), (8, 16, 64), (4, 2, 1)),  # a fine mesh is thinned less
        ((96, 120, 120), (9, 16, 20), (2, 1, 1)),  # 54, 96 and 120 samples are wanted
        ((71, 73, 400), (8, 8, 8), (1, 2, 6)),  # 48 samples are, and one in 6 is the least
    ],
)
def test_samples_follow_the_image_and_the_mesh(
    shape: tuple[int, ...], finest: tuple[int, ...], every: tuple[int, ...]
) -> None:
    assert choose_thinning(np.ones(shape, bool), finest) == every


@pytest.mark.parametrize(
    ("voxels", "every"), [(80_000, (2, 2, 2)), (79_999, (1, 2, 2)), (9_999, (1, 1, 1))]
)
def test_a_small_mask_is_thinned_until_enough_is_left(voxels: int, every: tuple[int, ...]) -> None:
    included = np.zeros((96, 96, 96), bool)
    included.flat[:voxels] = True
    assert choose_thinning(included, (8, 8, 8)) == every


@pytest.mark.parametrize("more", [0, 1])
def test_half_of_the_fewest_samples_are_enough(more: int) -> None:
    included = np.arange(20_000) < 4999 + more
    assert has_enough(included) is bool(more)
