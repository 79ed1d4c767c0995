"""Each message of a verdict, provoked; and none where there is nothing to say."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.cli.correct import correct
from n4ax.cli.options import option_names
from n4ax.verdict import Message, Verdict, find_voxel_sizes
from n4ax.verdict.messages import SERIOUS
from tests.verdict.phantoms import GOOD, SPACING, make_head, make_places


def find(verdict: Verdict, code: str) -> Message:
    found = [message for message in verdict.messages if message.code == code]
    assert len(found) == 1, verdict.messages
    assert found[0].serious == (code in SERIOUS)
    return found[0]


def write_for_command(message: Message) -> str:
    return message.with_options(option_names(correct))


def test_good_settings_for_a_head_leave_nothing_to_say() -> None:
    image, log_bias, _ = make_head()
    result = n4ax.fit(image, **GOOD)
    verdict = result.verdict
    assert verdict.messages == ()
    assert not verdict.is_suspicious
    inside = result.mask
    field = np.exp(result.log_bias[inside])
    low, middle, high = np.percentile(field, (5, 50, 95))
    measures = verdict.measures
    assert measures["inu_p05"] == pytest.approx(low, rel=0.02)
    assert measures["inu_med"] == pytest.approx(middle, rel=0.02)
    assert measures["inu_p95"] == pytest.approx(high, rel=0.02)
    assert measures["inu_range"] == pytest.approx(
        float(measures["inu_p95"] or 0) - float(measures["inu_p05"] or 0), rel=1e-4
    )
    assert (result.log_bias - log_bias)[inside].std() < log_bias[inside].std() / 2
    assert float(measures["cjv_after"] or 9) < 0.8 * float(measures["cjv_before"] or 0)


def test_an_even_image_has_nothing_to_correct() -> None:
    image, _, _ = make_head(0.0)
    message = find(n4ax.fit(image, **GOOD).verdict, "flat-field")
    assert "hardly anything to correct" in str(message)
    assert write_for_command(message).endswith("a smaller --spline-distance or a larger --mask")


def test_a_distance_longer_than_the_head_is_named() -> None:
    image, _, _ = make_head(0.02)
    keywords = {**GOOD, "spacing": 0.3, "iters": (20, 20)}
    message = find(n4ax.fit(image, **keywords).verdict, "flat-field")
    assert "a distance of 200 mm at the first level, and of 100 mm at the last one" in str(message)
    assert str(message).endswith("longer than the mask (11 mm): give spline_distance=5.4")
    assert write_for_command(message).endswith("give --spline-distance 5.4")


def test_image_and_mask_that_are_swapped_are_told() -> None:
    image, _, inside = make_head()
    labels = inside.astype(np.float32) + (image > 400)
    message = find(n4ax.fit(labels, image > 1, **GOOD).verdict, "two-values")
    assert "image has 3 different intensities" in str(message)
    assert write_for_command(message).endswith("look whether image and --mask are swapped")


def test_few_samples_and_small_masks_are_told() -> None:
    image, _, _ = make_head()
    message = find(n4ax.fit(image, **{**GOOD, "shrink_factor": 8}).verdict, "few-samples")
    counted = image[4::8, 4::8, 4::8]  # 8 voxels have their sample in the middle
    assert counted.size < 200
    assert "shrink_factor below 8" in str(message)
    assert "a larger --mask, or a --shrink-factor below 8" in write_for_command(message)
    ball = np.sqrt((make_places() ** 2).sum(0)) < 0.26
    assert 200 < ball.sum() < 0.01 * image.size
    message = find(n4ax.fit(image, ball, **{**GOOD, "shrink_factor": 1}).verdict, "small-mask")
    assert f"the mask has {ball.sum()} voxels, 0.9 % of the image" in str(message)


def test_otsu_masks_that_leave_out_the_darker_part_are_told() -> None:
    image, _, inside = make_head()
    near = np.exp(-4 * (1 + make_places()[0]))  # a surface coil at one side
    image = np.where(inside, image * (0.05 + near), image).astype(np.float32)
    verdict = n4ax.fit(image, **GOOD).verdict
    message = find(verdict, "otsu-mask")
    assert verdict.is_suspicious
    assert 'or mask="all"' in str(message)
    assert write_for_command(message).endswith("give a --mask of the whole body, or --mask all")
    assert "otsu-mask" not in n4ax.fit(image, inside, **GOOD).verdict.codes


@pytest.mark.parametrize("outside", ["divide", "keep"])
def test_intensities_without_a_logarithm_are_counted(outside: Any) -> None:
    image, _, inside = make_head()
    image[inside & (make_places()[0] > 0.7)] = -3
    image[inside & (make_places()[0] < -0.75)] = 0
    keywords = {**GOOD, "outside": outside}
    message = find(n4ax.fit(image, inside, **keywords).verdict, "non-positive")
    negative = 100 * np.mean(image[inside] < 0)
    zero = 100 * np.mean(image[inside] == 0)
    told = f"{negative:.1f} % of the voxels in the mask are negative and {zero:.1f} % are 0"
    assert str(message).startswith(told)
    assert "with --non-positive exclude" in write_for_command(message)
    for choice in ("exclude", "offset"):
        result = n4ax.fit(image, inside, non_positive=choice, **keywords)
        assert "non-positive" not in result.verdict.codes


def test_a_field_that_no_coil_makes_is_told() -> None:
    image, _, inside = make_head(3.0, (300.0, 310.0))
    message = find(n4ax.fit(image, inside, **GOOD).verdict, "strong-field")
    assert "over more than a factor of 5" in str(message)
    assert "fewer levels, --iters 50x50" in write_for_command(message)


def test_meshes_as_fine_as_anatomy_are_told() -> None:
    image, _, _ = make_head()
    keywords = {**GOOD, "iters": (5, 5, 5, 5), "conv_threshold": 0.0}
    message = find(n4ax.fit(image, **keywords).verdict, "fine-mesh")
    assert "25 mm long in a mask of 144 mm" in str(message)
    assert str(message).endswith("give one level less, iters=(5, 5, 5)")
    assert write_for_command(message).endswith("give one level less, --iters 5x5x5")
    keywords |= {"spacing": None, "spline_distance": None, "iters": (2, 2, 2, 2, 2)}
    message = find(n4ax.fit(image, **keywords).verdict, "fine-mesh")
    assert "voxels long" in str(message)
    keywords |= {"iters": (2,), "mesh": 16}
    message = find(n4ax.fit(image, **keywords).verdict, "fine-mesh")
    assert str(message).endswith("give a longer spline_distance")


def test_levels_that_have_not_settled_are_told() -> None:
    image, _, _ = make_head(0.8)
    keywords = {**GOOD, "iters": (2, 50, 1)}
    message = find(n4ax.fit(image, **keywords).verdict, "iteration-limit")
    assert str(message).startswith("level 3 ended at the iteration limit while the field still")
    assert write_for_command(message).endswith("give more iterations, --iters 2x50x2")
    keywords["conv_threshold"] = 1e-5
    message = find(n4ax.fit(image, **keywords).verdict, "iteration-limit")
    assert str(message).startswith("levels 1, 2, 3 ended")
    keywords["conv_threshold"] = 0.0
    assert "iteration-limit" not in n4ax.fit(image, **keywords).verdict.codes


@pytest.mark.parametrize("keywords", [{}, {"scale": "minmax"}, {"outside": "zero"}])
def test_verdicts_do_not_depend_on_the_library_or_the_order_of_axes(keywords: Any) -> None:
    image, _, _ = make_head()
    keywords = {**GOOD, **keywords, "iters": (5, 5, 5, 5), "conv_threshold": 0.0}
    plain = n4ax.fit(image, voxel_order="F", **keywords).verdict
    turned = n4ax.fit(np.ascontiguousarray(image.T), **keywords).verdict
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    keywords["spacing"] = None
    scan = n4ax.fit(nib.Nifti1Image(image, affine), **keywords).verdict
    for other in (turned, scan):
        assert list(map(str, other.messages)) == list(map(str, plain.messages))
        known = {name: value for name, value in plain.measures.items() if value is not None}
        assert {name: other.measures[name] for name in known} == pytest.approx(known, rel=1e-4)
    assert (plain.measures["cjv_before"] is None) == (keywords.get("scale") == "minmax")


def test_results_with_a_verdict_are_pickled() -> None:
    image, _, _ = make_head()
    result = n4ax.fit(image, **{**GOOD, "shrink_factor": 8})
    codes = result.verdict.codes
    again = pickle.loads(pickle.dumps(result))
    assert again.verdict.codes == codes
    assert list(map(str, again.verdict.messages)) == list(map(str, result.verdict.messages))
    assert str(result.verdict.messages[0]) in repr(result.verdict)


@pytest.mark.parametrize("shape", [(16, 20), (16, 20, 1), (1, 16, 20), (12, 10, 8, 4)])
def test_images_of_any_number_of_axes_have_a_verdict(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).gamma(3, 40, shape).astype(np.float32)
    series = "4d" if len(shape) > 3 else None
    for mask in ("all", image > 30):
        verdict = n4ax.fit(image, mask, iters=(2, 2), series=series, num_threads=1).verdict
        assert verdict.measures["inu_med"] is not None


@pytest.mark.parametrize("value", [1e-30, 1e30, -1.0, 0.0, 5.0])
def test_absurd_images_have_a_verdict(value: float) -> None:
    image = np.full((8, 8, 8), value, np.float32)
    image[2:6, 2:6, 2:6] *= 2
    image[0, 0, 0] += 1
    try:
        result = n4ax.fit(image, "all", iters=(2,), num_threads=1)
    except ValueError:
        return  # N4 refuses it
    assert result.verdict.describe({})["Measures"] == result.verdict.measures


def test_real_images_that_go_wrong_are_told(shared: Path) -> None:
    path = shared / "data" / "pelvis_pd_3t_surfacecoil_prostatex.nii.gz"
    result = n4ax.fit(str(path), shrink_factor=4)
    assert result.verdict.codes == ["otsu-mask"]


@pytest.mark.slow
def test_real_images_with_default_settings_raise_no_false_alarm(shared: Path) -> None:
    known = {
        "mouse_anat_small_sammba": ["iteration-limit"],
        "pelvis_pd_3t_surfacecoil_prostatex": ["otsu-mask"],
        "pelvis_tfl_small_64x48x36_prostatex": ["otsu-mask"],
        "t1gd_brain_skullstripped_uint8_sclslope": ["fine-mesh", "uneven-tissues"],
    }
    for path in sorted((shared / "data").glob("*.nii.gz")):
        codes = n4ax.fit(str(path), shrink_factor=4).verdict.codes
        assert codes == known.get(path.name.removesuffix(".nii.gz"), []), path


def test_lengths_are_those_of_the_voxels() -> None:
    image, _, _ = make_head()
    affine = np.diag([3.0, -4.0, 5.0, 1.0])
    affine[:3, :3] = affine[:3, [1, 0, 2]]  # the first axis of the image runs along y
    keywords: dict[str, Any] = {**GOOD, "iters": (2, 2), "spacing": None}
    field = n4ax.fit(nib.Nifti1Image(image, affine), **keywords).field
    settings = n4ax.N4Settings(iters=(2, 2), spline_distance=200)
    assert find_voxel_sizes(field, settings) == pytest.approx((4, 3, 5))
    turned = replace(field.turn_axes(), affine=affine)
    assert find_voxel_sizes(turned, settings) == pytest.approx((5, 3, 4))
    by_distance = n4ax.fit(image, **{**keywords, "spacing": (4, 3, 5)}).field
    assert find_voxel_sizes(by_distance, settings) == pytest.approx((4, 3, 5), rel=0.1)
    assert find_voxel_sizes(by_distance, n4ax.N4Settings()) is None
