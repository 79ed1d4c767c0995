"""Settings are chosen for the image: by how strong the shading is, or by its tissues."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import n4ax
from benchmarks.truth.judge import error
from benchmarks.truth.phantoms import Case, make_case
from n4ax import N4Settings
from n4ax.auto import shading
from n4ax.auto.tissues import SEARCHED
from n4ax.images.tissues import find_tissues

pytestmark = pytest.mark.skipif(find_spec("nilearn") is None, reason="nilearn is not installed")

VOXEL = 5.0
KINDS = {"even": ("none", 1.0, 3.5), "mild": ("coils", 1.4, VOXEL), "strong": ("7 T", 2.0, VOXEL)}
CASES = {
    name: make_case(kind, strength, "T1w", 0.02, 0, voxel)
    for name, (kind, strength, voxel) in (KINDS if find_spec("nilearn") else {}).items()
}


def fit(case: Case, **keywords: Any) -> n4ax.N4Result:
    given: dict[str, Any] = {"spacing": case.spacing, "voxel_order": "F", "preset": "auto"}
    return n4ax.fit(case.image, case.brain, **given | keywords)


def test_an_even_brain_is_left_as_it_is() -> None:
    case = CASES["even"]
    result = fit(case)
    assert result.choice is not None
    assert result.choice.leaves
    assert "left as it is" in result.choice.sentence
    assert np.array_equal(result.corrected, case.image)
    assert result.iterations == [0]
    # What the others do to it.
    assert error(fit(case, preset=None).log_bias, case) > 5


@pytest.mark.parametrize("name", ["mild", "strong"])
def test_a_shaded_brain_is_corrected_better_than_by_the_defaults(name: str) -> None:
    case = CASES[name]
    result = fit(case)
    assert result.choice is not None
    assert not result.choice.leaves
    assert error(result.log_bias, case) < 0.7 * error(fit(case, preset=None).log_bias, case)


def test_stronger_shading_gets_more_iterations() -> None:
    mild, strong = (fit(CASES[name]).settings for name in ("mild", "strong"))
    assert max(strong.iters) > max(mild.iters)


@pytest.mark.parametrize("name", CASES)
def test_with_tissues_the_choice_makes_them_most_even(name: str) -> None:
    case = CASES[name]
    result = fit(case, tissues=list(case.tissues))
    choice = result.choice
    assert choice is not None
    assert len(choice.trials) == len(SEARCHED) + 1
    measures = [trial.cjv for trial in choice.trials if trial.cjv is not None]
    best = min(choice.trials, key=lambda trial: trial.cjv or 0)
    assert len(measures) == len(choice.trials)
    assert best.settings == result.settings.override(voxel_order=best.settings.voxel_order)
    assert choice.leaves == (name == "even")
    # The tissues are at their true places, so that evenness agrees with the truth.
    assert error(result.log_bias, case) < error(fit(case, preset=None).log_bias, case)


def test_labels_choose_as_maps_do() -> None:
    case = CASES["strong"]
    labels = np.where(case.tissues.max(0) >= 0.9, case.tissues.argmax(0) + 1, 0)
    by_maps, by_labels = (fit(case, tissues=given) for given in (list(case.tissues), labels))
    assert by_maps.settings == by_labels.settings
    # FreeSurfer gives each side labels of its own: 3 and 42 are grey matter, 2 and 41 white.
    side = np.arange(len(labels))[:, None, None] < len(labels) // 2
    freesurfer = np.select(
        [(labels == 1) & side, labels == 1, (labels == 2) & side, labels == 2, labels == 3],
        [3, 42, 2, 41, 24],
    )
    for one, other in zip(
        find_tissues([labels], case.brain), find_tissues([freesurfer], case.brain), strict=True
    ):
        assert np.array_equal(one, other)


def test_the_answer_has_the_settings_that_were_chosen_and_can_be_had_by_them() -> None:
    result = fit(CASES["mild"])
    assert not result.settings.adapt
    again = fit(CASES["mild"], preset=None, settings=result.settings)
    assert np.array_equal(again.log_bias, result.log_bias)
    assert again.choice is None


def test_the_number_of_threads_does_not_matter() -> None:
    one, other = (fit(CASES["strong"], num_threads=number) for number in (1, 2))
    assert np.array_equal(one.log_bias, other.log_bias)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_the_engine_does_not_matter_for_the_choice() -> None:
    one, other = (fit(CASES["strong"], engine=name).settings for name in ("cpu", "xla"))
    assert one == other


@pytest.mark.parametrize("name", ["mild", "strong"])
def test_a_change_that_means_nothing_changes_the_field_by_less_than_a_percent(name: str) -> None:
    case = CASES[name]
    field = fit(case).log_bias
    noise = np.random.default_rng(1).normal(0, 10, case.image.shape).astype(np.float32)

    def differ(image: Any, axis: int | None = None) -> float:
        turned = case if axis is None else None
        brain = case.brain if turned else np.flip(case.brain, axis or 0)
        other = n4ax.fit(
            np.ascontiguousarray(image), np.ascontiguousarray(brain), preset="auto",
            spacing=case.spacing, voxel_order="F",
        ).log_bias  # fmt: skip
        back = other if turned else np.flip(other, axis or 0)
        return 100 * float(np.std((back - field)[case.brain]))

    assert differ(case.image * 7) < 0.01
    assert differ(np.flip(case.image, 0), axis=0) < 1
    assert differ(np.where(case.brain, case.image + noise, 0)) < 1


def test_shrink_factors_and_meshes_have_the_order_of_the_image() -> None:
    case = make_case("coils", 1.4, "T1w", 0.02, 0, (1.5, 1.5, 6.0))
    first, last = case.image, np.ascontiguousarray(case.image.T)
    one = n4ax.fit(first, case.brain, preset="auto", voxel_order="F", spacing=case.spacing)
    other = n4ax.fit(last, np.ascontiguousarray(case.brain.T), preset="auto",
                     spacing=case.spacing[::-1])  # fmt: skip
    assert one.settings.shrink_factor == (2, 2, 1)
    assert other.settings.shrink_factor == (1, 2, 2)
    assert np.array_equal(one.log_bias, other.log_bias.T)


def test_without_a_voxel_size_the_choice_is_a_mesh() -> None:
    case = CASES["mild"]
    one, other = fit(case, spacing=None), fit(case)
    assert one.settings.spline_distance is None
    assert isinstance(one.settings.mesh, tuple)
    assert other.settings.mesh is None
    assert other.settings.spline_distance is not None
    turned = n4ax.fit(case.image.T.copy(), case.brain.T.copy(), preset="auto")
    assert turned.settings.mesh == one.settings.mesh[::-1]
    assert np.array_equal(turned.log_bias.T, one.log_bias)


def test_slices_and_weights_and_a_first_field_are_taken() -> None:
    case = CASES["strong"]
    middle = case.image.shape[2] // 2
    flat = fit(case.__class__(**vars(case) | {
        "image": case.image[..., middle], "brain": case.brain[..., middle],
        "spacing": case.spacing[:2]}))  # fmt: skip
    assert flat.choice is not None
    assert flat.log_bias.shape == case.image.shape[:2]
    assert fit(case, weights=case.brain.astype(np.float32)).settings == fit(case).settings
    start = fit(case)
    again = fit(case, init=start.field)
    assert again.choice is not None
    # Little is left after the first correction.
    assert again.choice.trials[0].spread < 0.5 * start.choice.trials[0].spread


def test_air_in_the_mask_gets_the_most_iterations() -> None:
    case = make_case("coils", 1.4, "T1w", 0.02, 0, VOXEL, head=True)
    result = n4ax.fit(case.image, "all", preset="auto", voxel_order="F", spacing=case.spacing)
    assert set(result.settings.iters) == {shading.STRENGTHS[-1].iterations}


def test_what_belongs_to_a_spread_changes_steadily() -> None:
    places = [one.spread for one in shading.STRENGTHS]
    assert places == sorted(places)
    for one, other in zip(shading.STRENGTHS, shading.STRENGTHS[1:], strict=False):
        assert other.iterations >= one.iterations
        assert other.fwhm >= one.fwhm
        assert other.element <= one.element


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"iters": (50, 50)}, r'preset="auto" chooses iters for each image: leave out iters'),
        ({"spline_distance": 200.0}, "chooses spline_distance"),
        ({"shrink_factor": 4}, "chooses shrink_factor"),
        ({"tissues": np.zeros((3, 3, 3))}, r"tissues has shape \(3, 3, 3\) and image has shape"),
        ({"tissues": [np.full(CASES["mild"].image.shape, 2.0)] * 2 if CASES else []},
         "tissues are 2 images with values up to 2"),
        ({"tissues": np.full(CASES["mild"].image.shape, 0.5) if CASES else 0},
         "tissues is one image with values such as 0.5"),
        ({"tissues": np.zeros(CASES["mild"].image.shape, int) if CASES else 0},
         "tissues have 0 voxels of the second largest tissue"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(CASES["mild"], **keywords)


def test_what_needs_one_setting_for_several_images_is_refused() -> None:
    case = CASES["mild"]
    message = 'preset="auto" chooses settings for one image at a time'
    images = [case.image, case.image]
    with pytest.raises(ValueError, match=message):
        n4ax.n4_batch(images, "all", preset="auto")
    with pytest.raises(ValueError, match=message):
        n4ax.fit(images, "all", shared_field=True, preset="auto")
    with pytest.raises(ValueError, match="tissues are for an image with a field of its own"):
        n4ax.fit(images, "all", shared_field=True, tissues=[case.tissues[0]] * 2)
    series = np.stack(images, axis=-1)
    with pytest.raises(ValueError, match=message):
        n4ax.fit(series, "all", series="each", preset="auto", voxel_order="F")
    mean = n4ax.fit(series, case.brain, series="mean", preset="auto", voxel_order="F",
                    spacing=case.spacing)  # fmt: skip
    assert mean.choice is not None
    assert mean.choice.sentence == fit(case).choice.sentence
    with pytest.raises(ValueError, match="is for slices and volumes"):
        n4ax.fit(series, "all", series="4d", preset="auto", voxel_order="F")


def test_the_preset_is_a_setting() -> None:
    assert N4Settings.auto() == N4Settings(adapt=True)
    assert N4Settings.auto().override(adapt=False, iters=(3,)).iters == (3,)


def test_the_verdict_knows_the_tissues() -> None:
    case = CASES["even"]
    blind, seeing = (fit(case, preset=None, tissues=t) for t in (None, list(case.tissues)))
    assert "uneven-tissues" in seeing.verdict.codes
    before, after = (seeing.verdict.measures[name] for name in ("cjv_before", "cjv_after"))
    assert after > 2 * before
    assert blind.verdict.measures["cjv_before"] != before
    assert "uneven-tissues" not in fit(case, tissues=list(case.tissues)).verdict.codes
    assert "iteration-limit" not in fit(CASES["mild"]).verdict.codes
