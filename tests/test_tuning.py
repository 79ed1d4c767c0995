"""One setting for several images: the same search as for one of them, in any order."""

import shlex
from dataclasses import replace
from itertools import permutations
from math import prod
from statistics import median
from typing import Any

import numpy as np
import pytest

import n4ax
from n4ax.auto import shading
from n4ax.auto.choice import list_searched, make_by_shading, make_first
from n4ax.errors import InputError
from n4ax.inputs import Inputs, Run
from n4ax.pipeline import view_image
from n4ax.tuning import Look, Tuning, find_settings
from n4ax.tuning.commands import wrap, write_ants, write_n4ax
from tests.support.heads import Head, make_small_head

AUTO = n4ax.N4Settings.auto().override(voxel_order="F")
PLAIN = AUTO.override(adapt=False)
SWINGS = (0.0, 0.3, 0.8)


def look_at(name: str, head: Head, *, tissues: bool = False) -> Look:
    maps = [head.labels] if tissues else []
    inputs = Inputs(head.image, head.mask, spacing=head.spacing, tissues=maps)
    return Look(name, *view_image(AUTO, inputs, Run("cpu", 1)))


def ramp(look: Look, by: float) -> Look:
    """The same image, whose field is always a ramp of so many percent, for its settings' FWHM."""
    place = np.linspace(-1, 1, look.view.image.shape[0])[:, None, None]
    ones = np.ones(look.view.image.shape)
    spread = float(np.std((place * ones)[look.view.bright]))
    return look._replace(
        solve=lambda settings: by / 100 / spread * place * ones * (settings.fwhm / 0.15)
    )


@pytest.fixture(scope="module")
def looks() -> list[Look]:
    return [look_at(f"head{swing}", make_small_head(swing)) for swing in SWINGS]


@pytest.fixture(scope="module")
def segmented() -> list[Look]:
    """The same heads, one of them of other voxels, with tissues."""
    heads = [make_small_head(swing, 3 if swing == 0.3 else 2) for swing in SWINGS]
    return [look_at(f"head{k}", head, tissues=True) for k, head in enumerate(heads)]


@pytest.fixture(scope="module")
def tuned(segmented: list[Look]) -> Tuning:
    return find_settings(AUTO, segmented)


@pytest.mark.parametrize("swing", [0.0, 0.8])
@pytest.mark.parametrize("tissues", [False, True])
def test_the_answer_for_one_image_is_that_of_auto(swing: float, tissues: bool) -> None:
    head = make_small_head(swing)
    alone = n4ax.fit(
        head.image, head.mask, preset="auto", spacing=head.spacing, num_threads=1,
        voxel_order="F", tissues=[head.labels] if tissues else None,
    )  # fmt: skip
    found = find_settings(AUTO, [look_at("head", head, tissues=tissues)])
    assert alone.choice is not None
    assert found.settings == alone.choice.settings
    assert found.leaves == alone.choice.leaves
    assert found.images[0].trials == alone.choice.trials
    assert ("No correction" in found.sentence) == found.leaves


def test_images_under_a_field_are_not_left(segmented: list[Look], tuned: Tuning) -> None:
    assert not tuned.leaves
    assert find_settings(AUTO, segmented[:1]).leaves  # which is flat


def test_every_image_is_tried_with_the_same_settings(segmented: list[Look], tuned: Tuning) -> None:
    reach = median(look.view.reach for look in segmented)
    assert tuned.reach == reach
    assert len({look.view.reach for look in segmented}) > 1
    assert list(tuned.candidates) == list_searched(PLAIN, segmented[0].view, reach)
    for one in tuned.images:
        assert tuple(trial.settings for trial in one.trials) == tuned.candidates


def test_the_criterion_is_the_geometric_mean_of_the_ratios(tuned: Tuning) -> None:
    for number, criterion in enumerate(tuned.criteria):
        ratios = [(one.trials[number].cjv or 0) / (one.trials[0].cjv or 0) for one in tuned.images]
        assert criterion == pytest.approx(prod(ratios) ** (1 / len(ratios)), rel=1e-12)
    assert tuned.criteria[0] == 1
    assert tuned.settings == tuned.candidates[int(np.argmin(tuned.criteria))]
    assert f"falls to {100 * min(tuned.criteria):.0f} %" in tuned.sentence


def test_images_that_become_less_even_are_named(tuned: Tuning) -> None:
    (flat,) = [one for one in tuned.images if one.name == "head0"]
    assert (flat.trials[tuned.chosen].cjv or 0) > (flat.trials[0].cjv or 0)
    assert any("less even in head0:" in note for note in tuned.notes)


@pytest.mark.parametrize("tissues", [False, True])
def test_the_order_of_the_images_does_not_count(segmented: list[Look], tissues: bool) -> None:
    amounts = (31.0, 77.0, 123.0)  # the logarithms of the ratios are not small
    given = [ramp(look, by) for look, by in zip(segmented, amounts, strict=True)]
    if not tissues:
        given = [look._replace(view=replace(look.view, tissues=())) for look in given]
    first, *others = [find_settings(AUTO, order) for order in permutations(given)]
    assert len(first.candidates) == (22 if tissues else 0)
    for other in others:
        assert other.settings == first.settings
        assert other.criteria == first.criteria
        assert (other.reach, other.sentence) == (first.reach, first.sentence)
        assert other.notes == first.notes
        assert set(other.images) == set(first.images)


def test_without_tissues_the_median_shading_counts(looks: list[Look]) -> None:
    given = [ramp(look, by) for look, by in zip(looks, (2.0, 9.0, 40.0), strict=True)]
    found = find_settings(AUTO, given)
    assert [one.trials[0].spread for one in found.images] == pytest.approx([2, 9, 40])
    assert [one.trials[0].settings for one in found.images] == [
        make_first(PLAIN, look.view) for look in given
    ]
    strength = shading.weigh(found.spread, given[0].view.fullness)
    assert found.settings == make_by_shading(PLAIN, given[0].view, found.reach, strength)
    assert "9.0 % (median of 3 images, 2.0 to 40.0 %)" in found.sentence
    left = find_settings(AUTO, [given[0], ramp(looks[1], 3.0), given[2]])
    assert left.leaves
    assert left.sentence.startswith("No correction is the best choice: first estimates")


def test_the_shrink_factor_is_that_of_the_median_voxel_size(looks: list[Look]) -> None:
    def shrink(look: Look, factor: int) -> Look:
        return ramp(look, 12)._replace(view=replace(look.view, shrink=(factor,) * 3))

    given = [shrink(look, factor) for look, factor in zip(looks, (1, 4, 2), strict=True)]
    found = find_settings(AUTO, given)
    assert found.settings.shrink_factor == (2, 2, 2)
    (note,) = found.notes
    assert "(1x1x1, 2x2x2, 4x4x4). Taken is 2x2x2, that of head0.8," in note
    assert find_settings(AUTO, [ramp(look, 12) for look in looks]).notes == ()


@pytest.mark.parametrize("order", ["C", "F"])
def test_thick_slices_are_not_shrunk(order: Any) -> None:
    steps, factors = ((5.0, 1.0, 1.0), (1, 2, 2)) if order == "C" else ((1.0, 1.0, 5.0), (2, 2, 1))
    shape = tuple(150 // int(step) for step in steps)
    image = 1 + np.random.default_rng(0).random(shape, np.float32)
    inputs, settings = Inputs(image, "all", spacing=steps), AUTO.override(voxel_order=order)
    look = Look("slices", *view_image(settings, inputs, Run("cpu", 1)))
    assert (look.view.shrink, look.view.spacing) == ((1, 2, 2), (5, 2, 2))
    assert find_settings(settings, [ramp(look, 9)]).settings.shrink_factor == factors
    assert n4ax.fit(
        image, "all", preset="auto", spacing=steps, voxel_order=order
    ).settings.shrink_factor == factors  # fmt: skip


def test_images_that_do_not_go_together_are_refused(
    looks: list[Look], segmented: list[Look]
) -> None:
    with pytest.raises(InputError, match=r"tissues are given for head2 and not for head0\.0"):
        find_settings(AUTO, [looks[0], segmented[2]])
    flat = looks[1]._replace(view=replace(looks[1].view, shrink=(1, 1)))
    with pytest.raises(InputError, match=r"head0\.0 has 3 and head0\.3 has 2"):
        find_settings(AUTO, [looks[0], flat])
    # Two tissues of one brightness, and air that is darker.
    labels = sum(tissue.astype(int) for tissue in segmented[1].view.tissues)
    even = replace(segmented[1].view, image=np.where(labels, 9.0, 1.0))
    with pytest.raises(InputError, match="tissues show two tissues in head1 that are not distinct"):
        find_settings(AUTO, [segmented[0], ramp(segmented[1]._replace(view=even), 5)])


def test_the_progress_names_each_image(looks: list[Look]) -> None:
    seen: list[Any] = []
    find_settings(AUTO, [ramp(look, 5) for look in looks], seen.append)
    assert seen == [look.name for look in looks]


def test_command_lines_have_the_settings() -> None:
    settings = PLAIN.override(
        spline_distance=133.0, iters=(50, 50), fwhm=0.05, shrink_factor=(4, 4, 2),
        conv_threshold=1e-7,
    )  # fmt: skip
    words = write_n4ax(settings, ["--mask", "{stem} mask.nii.gz"])
    assert shlex.join(words) == (
        "n4ax correct IMAGE --mask '{stem} mask.nii.gz' --spline-distance 133 --iters 50x50 "
        "--fwhm 0.05 --shrink-factor 4x4x2 --conv-threshold 1e-7"
    )
    assert write_ants(settings, has_mask=True) == [
        "N4BiasFieldCorrection", "-d", "3", "-i", "IMAGE", "-o", "OUTPUT", "-x", "MASK",
        "-s", "2", "-b", "[133]", "-c", "[50x50,1e-7]", "-t", "[0.05,0.01,200]",
    ]  # fmt: skip
    assert "-x" not in write_ants(settings, has_mask=False)
    lines = wrap(words)
    assert len(lines) > 1
    assert max(map(len, lines)) <= 80
    assert shlex.split("\n".join(lines).replace("\\\n", " ")) == words
