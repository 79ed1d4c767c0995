"""N4 as transforms of MONAI: arrays, MetaTensors, dictionaries, compositions."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import n4ax

monai = pytest.importorskip("monai", reason="MONAI is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

from monai import data, transforms  # noqa: E402
from monai.data.meta_obj import set_track_meta  # noqa: E402

import n4ax.monai  # noqa: E402
from n4ax import channels  # noqa: E402
from n4ax.channels import make_space  # noqa: E402
from n4ax.monai import N4BiasFieldCorrection, N4BiasFieldCorrectiond  # noqa: E402
from tests.support.tensors import AFFINE, HEAD, QUICK, SPACING, Array, correct  # noqa: E402


@pytest.fixture
def sample(head: Array, brain: Array) -> dict[str, Any]:
    """A dictionary with two contrasts of different data types, and a mask."""
    return {
        "t1": make_tensor(head),
        "t2": make_tensor((2000 - head).astype(np.int16)),
        "brain": make_tensor(brain),
        "age": 31,
    }


@pytest.fixture
def metadata_is_not_tracked() -> Iterator[None]:
    set_track_meta(False)
    yield
    set_track_meta(True)


def make_tensor(*channels: Array) -> Any:
    return data.MetaTensor(np.stack(channels), affine=torch.from_numpy(AFFINE))  # type: ignore[attr-defined]


# ---- arrays ----------------------------------------------------------------------------------


def test_result_keeps_the_metadata(head: Array) -> None:
    image = make_tensor(head)
    image.meta["scanner"] = "3 T"
    image = transforms.Flip(0)(image)
    before = image.clone()
    corrected = N4BiasFieldCorrection(**QUICK)(image)
    assert isinstance(corrected, data.MetaTensor)
    assert corrected.meta["scanner"] == "3 T"
    assert torch.equal(corrected.affine, image.affine)
    assert [step["class"] for step in corrected.applied_operations] == ["Flip"]
    assert np.array_equal(corrected.numpy()[0], correct(head[::-1]))
    assert torch.equal(image, before)


def test_array_and_tensor_become_meta_tensors(head: Array) -> None:
    transform, expected = N4BiasFieldCorrection(**QUICK), correct(head)
    for image in (head[None], torch.from_numpy(head[None])):
        corrected = transform(image)
        assert isinstance(corrected, data.MetaTensor)
        assert np.array_equal(corrected.numpy()[0], expected)


@pytest.mark.usefixtures("metadata_is_not_tracked")
def test_result_is_a_plain_tensor_if_metadata_is_not_tracked(head: Array) -> None:
    transform = N4BiasFieldCorrection(spline_distance=60, **QUICK)
    corrected = transform(make_tensor(head))
    assert type(corrected) is torch.Tensor
    expected = correct(head, spline_distance=60, spacing=SPACING)  # the affine is still used
    assert np.array_equal(corrected.numpy()[0], expected)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (torch.int16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_float64_gives_float64_and_other_types_give_float32(
    head: Array, given: Any, found: Any
) -> None:
    image = torch.from_numpy(head[None]).to(given)
    corrected = N4BiasFieldCorrection(**QUICK)(image)
    assert corrected.dtype == found
    plain = image.float() if given == torch.bfloat16 else image
    assert np.array_equal(corrected[0].numpy(), correct(plain[0].numpy()))


def test_tensor_with_a_gradient_is_accepted(head: Array) -> None:
    image = torch.from_numpy(head[None]).requires_grad_()
    assert np.array_equal(N4BiasFieldCorrection(**QUICK)(image)[0].numpy(), correct(head))


def test_each_channel_has_a_field_of_its_own(head: Array, brain: Array) -> None:
    second = 2000 - head
    transform = N4BiasFieldCorrection(**QUICK)
    corrected = transform(make_tensor(head, second)).numpy()
    assert np.array_equal(corrected[0], correct(head))
    assert np.array_equal(corrected[1], correct(second))
    corrected = transform(make_tensor(head, second), brain[None]).numpy()
    assert np.array_equal(corrected[1], correct(second, brain))
    corrected = transform(make_tensor(head, second), np.stack([brain, brain[::-1]])).numpy()
    assert np.array_equal(corrected[1], correct(second, brain[::-1]))


def test_mask_may_be_an_array_a_function_or_a_word(head: Array, brain: Array) -> None:
    for mask, expected in (
        (lambda image: image > 300, head > 300),
        ("all", np.ones(head.shape)),
        ("otsu", None),
        (None, None),
    ):
        transform = N4BiasFieldCorrection(mask, **QUICK)
        assert np.array_equal(transform(make_tensor(head)).numpy()[0], correct(head, expected))
        assert np.array_equal(transform(head[None], brain[None]).numpy()[0], correct(head, brain))


def test_image_of_two_dimensions_is_corrected(head: Array) -> None:
    """The affine swaps axes, so y of the image is z in space."""
    keywords: dict[str, Any] = {"spline_distance": 50, "shrink_factor": 2}
    corrected = N4BiasFieldCorrection(**keywords, **QUICK)(make_tensor(head[:, :, 18]))
    expected = correct(head[:, :, 18], spacing=SPACING[:2], **keywords)
    assert np.array_equal(corrected.numpy()[0], expected)


def test_voxel_order_may_be_changed(head: Array) -> None:
    """An array with z first has the order "C" for ITK."""
    keywords: dict[str, Any] = {"shrink_factor": 4, "spline_distance": 60, **QUICK}
    affine = nib.load(HEAD).affine  # type: ignore[attr-defined]
    straight = data.MetaTensor(head[None], affine=torch.from_numpy(affine))
    corrected = N4BiasFieldCorrection(**keywords)(straight)
    turned = data.MetaTensor(head.T[None].copy(), affine=torch.from_numpy(affine[:, [2, 1, 0, 3]]))
    found = N4BiasFieldCorrection(voxel_order="C", **keywords)(turned)
    assert np.array_equal(found.numpy()[0].T, corrected.numpy()[0])
    place = make_space(turned.affine, 3, fastest_last=True)
    assert place == make_space(
        straight.affine, 3
    )  # so samples lie at the same points, to the last bit
    other = N4BiasFieldCorrection(voxel_order="F", **keywords)(turned)
    assert not np.array_equal(other.numpy(), found.numpy())


def test_voxel_size_is_that_of_the_affine_or_is_given(head: Array) -> None:
    expected = correct(head, spline_distance=60, spacing=SPACING)
    transform = N4BiasFieldCorrection(spline_distance=60, **QUICK)
    assert np.array_equal(transform(make_tensor(head)).numpy()[0], expected)
    with pytest.raises(ValueError, match="spline_distance is in mm and needs the voxel size"):
        transform(head[None])
    given = N4BiasFieldCorrection(spline_distance=60, spacing=SPACING, **QUICK)
    assert np.array_equal(given(head[None]).numpy()[0], expected)
    assert np.array_equal(given(data.MetaTensor(head[None])).numpy()[0], expected)
    assert not np.array_equal(correct(head, spline_distance=60, spacing=2.0), expected)


def test_numbers_are_those_of_simpleitk_in_the_same_place(head: Array, tmp_path: Path) -> None:
    """After shrinking by 4, samples lie between voxels, so the last digits of the affine matter."""
    whole = nib.load(HEAD).affine  # type: ignore[attr-defined]
    oblique = whole @ nib.affines.from_matvec(np.eye(3), (28, 26, 26))  # the piece of the head
    nib.save(nib.Nifti1Image(head, oblique), tmp_path / "head.nii")
    image = sitk.ReadImage(str(tmp_path / "head.nii"))
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([3, 2])
    n4.SetConvergenceThreshold(0.0)
    n4.Execute(sitk.Shrink(image, [4] * 3), sitk.Shrink(mask, [4] * 3))
    field = sitk.Exp(n4.GetLogBiasFieldAsImage(image))
    expected = sitk.GetArrayFromImage(image / field).T
    placed = data.MetaTensor(head[None], affine=torch.from_numpy(oblique))
    corrected = N4BiasFieldCorrection(shrink_factor=4, **QUICK)(placed).numpy()[0]
    np.testing.assert_allclose(corrected, expected, rtol=2e-6)
    elsewhere = correct(head, shrink_factor=4, spacing=image.GetSpacing())
    assert np.abs(elsewhere / np.maximum(expected, 1e-3) - 1)[expected > 0].max() > 1e-4


@pytest.mark.parametrize("scale", ["mean", "unit-field", "minmax"])
def test_parameters_reach_n4(head: Array, scale: Any) -> None:
    keywords: dict[str, Any] = {
        "over_relax": 1.5, "nbins": 100, "mesh": (2, 1, 1), "scale": scale, "outside": "keep"
    }  # fmt: skip
    corrected = N4BiasFieldCorrection(**keywords, **QUICK)(head[None])
    assert np.array_equal(corrected[0].numpy(), correct(head, **keywords))


def test_arithmetic_of_itk_reaches_n4(
    sample: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[n4ax.N4Settings] = []
    real = channels.fit_image

    def note(settings: n4ax.N4Settings, *inputs: Any) -> Any:
        seen.append(settings)
        return real(settings, *inputs)

    monkeypatch.setattr(channels, "fit_image", note)
    keywords: dict[str, Any] = {
        "arithmetic": "itk", "itk_version": 6, "itk_threads": 4, "itk_tool": "ants", **QUICK
    }  # fmt: skip
    N4BiasFieldCorrection(**keywords)(sample["t1"])
    N4BiasFieldCorrectiond(["t2"], mask_key="brain", **keywords)(sample)
    N4BiasFieldCorrection(arithmetic="itk", itk_work_units=9, **QUICK)(sample["t1"])
    expected = n4ax.N4Settings(voxel_order="F", **keywords)
    other = n4ax.N4Settings(voxel_order="F", arithmetic="itk", itk_work_units=9, **QUICK)
    assert seen == [expected, expected, other]


def test_defaults_are_those_of_the_settings() -> None:
    assert N4BiasFieldCorrection().corrector.settings == n4ax.N4Settings(voxel_order="F")


# ---- dictionaries ----------------------------------------------------------------------------


def test_mask_key_is_the_mask_of_all_images(sample: dict[str, Any], brain: Array) -> None:
    given = dict(sample)
    transform = N4BiasFieldCorrectiond(["t1", "t2"], mask_key="brain", outside="zero", **QUICK)
    corrected = transform(sample)
    for key in ("t1", "t2"):
        expected = correct(sample[key].numpy()[0], brain, outside="zero")
        assert np.array_equal(corrected[key].numpy()[0], expected)
        assert np.array_equal(corrected[key].affine, AFFINE)
    assert corrected["age"] == 31
    assert corrected["brain"] is sample["brain"]
    assert all(sample[key] is given[key] for key in given)


def test_mask_of_the_transform_is_used_without_a_mask_key(sample: dict[str, Any]) -> None:
    corrected = N4BiasFieldCorrectiond("t1", mask="all", **QUICK)(sample)
    assert np.array_equal(corrected["t1"].numpy()[0], correct(sample["t1"].numpy()[0], "all"))
    assert corrected["t2"] is sample["t2"]


@pytest.mark.parametrize("outside", ["divide", "keep"])
@pytest.mark.parametrize("mask_key", ["brain", None])
def test_all_images_are_divided_by_the_shared_field(
    sample: dict[str, Any], head: Array, brain: Array, mask_key: str | None, outside: Any
) -> None:
    array = brain if mask_key else n4ax.otsu_mask(head)
    field = n4ax.fit(head, array, voxel_order="F", **QUICK).field
    both = make_tensor(head, 3 * head)
    transform = N4BiasFieldCorrectiond(
        ["both", "t2"], mask_key, shared_field_key="t1", outside=outside, **QUICK
    )
    corrected = transform({**sample, "both": both})
    assert torch.equal(corrected["t1"], sample["t1"])
    for found, image in (
        (corrected["t2"][0], sample["t2"].numpy()[0]),
        (corrected["both"][0], head),
        (corrected["both"][1], 3 * head),
    ):
        assert np.array_equal(found.numpy(), field.apply(image, array, outside=outside))
    assert isinstance(corrected["t2"], data.MetaTensor)
    assert corrected["t2"].dtype == torch.float32
    own = N4BiasFieldCorrectiond("t1", mask_key, "t1", outside=outside, **QUICK)(sample)
    assert np.array_equal(own["t1"].numpy()[0], correct(head, array, outside=outside))


def test_the_word_of_torchio_means_the_same(sample: dict[str, Any]) -> None:
    one = N4BiasFieldCorrectiond("t2", shared_field_key="t1", **QUICK)(sample)["t2"]
    other = N4BiasFieldCorrectiond("t2", shared_field="t1", **QUICK)(sample)["t2"]
    assert np.array_equal(one.numpy(), other.numpy())


def test_shared_field_needs_one_channel_and_one_grid(sample: dict[str, Any], head: Array) -> None:
    transform = N4BiasFieldCorrectiond("t2", shared_field_key="t1", **QUICK)
    moved = data.MetaTensor(sample["t2"].numpy(), affine=torch.from_numpy(AFFINE + np.eye(4)))
    with pytest.raises(ValueError, match="t1 and t2 do not occupy the same physical space"):
        transform({**sample, "t2": moved})
    by_mask = N4BiasFieldCorrectiond("t2", mask_key="t1", **QUICK)
    with pytest.raises(ValueError, match="t1 and t2 do not occupy the same physical space"):
        by_mask({**sample, "t2": moved})
    transform({**sample, "t2": moved.as_tensor()})  # its place is not known
    with pytest.raises(
        ValueError, match="expected the same shape: resample one onto the other first"
    ):
        transform({**sample, "t2": sample["t2"][..., :30]})
    with pytest.raises(ValueError, match="image has 2 channels; a shared field needs") as info:
        transform({**sample, "t1": make_tensor(head, head)})
    assert info.value.__notes__ == ["n4ax: in image 't1'"]


def test_missing_keys_are_refused_or_skipped(sample: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="`pd` of transform `N4BiasFieldCorrectiond` was missing"):
        N4BiasFieldCorrectiond(["t1", "pd"], **QUICK)(sample)
    lenient: dict[str, Any] = {"allow_missing_keys": True, **QUICK}
    corrected = N4BiasFieldCorrectiond(["t1", "pd"], **lenient)(sample)
    assert set(corrected) == set(sample)
    assert np.array_equal(corrected["t1"].numpy()[0], correct(sample["t1"].numpy()[0]))
    for name in ("mask_key", "shared_field_key"):
        transform = N4BiasFieldCorrectiond(["t1"], **{name: "pd"}, **lenient)
        with pytest.raises(KeyError, match=rf"{name} is 'pd'; expected .*: \['t1', 't2'"):
            transform(sample)
        assert N4BiasFieldCorrectiond(["pd"], **{name: "pd"}, **lenient)(sample) == sample


def test_aliases_follow_the_names_of_monai() -> None:
    assert n4ax.monai.N4BiasFieldCorrectionD is N4BiasFieldCorrectiond
    assert n4ax.monai.N4BiasFieldCorrectionDict is N4BiasFieldCorrectiond


def test_policy_for_nan_reaches_n4(sample: dict[str, Any], head: Array) -> None:
    image = head.copy()
    image[20, 20, 20] = np.nan
    sample["t2"] = make_tensor(head, image)
    keys = ["t1", "t2"]
    with pytest.raises(ValueError, match="image has 1 NaN or infinite voxels") as info:
        N4BiasFieldCorrectiond(keys, mask="all", **QUICK)(sample)
    assert info.value.__notes__ == ["n4ax: in channel 1", "n4ax: in image 't2'"]
    corrected = N4BiasFieldCorrectiond(keys, mask="all", nonfinite="exclude", **QUICK)(sample)
    expected = correct(image, "all", nonfinite="exclude")
    assert np.array_equal(corrected["t2"].numpy()[1], expected, equal_nan=True)


# ---- compositions ----------------------------------------------------------------------------


def test_composes_with_transforms_of_monai_and_their_inverse(head: Array, tmp_path: Path) -> None:
    path = tmp_path / "t1.nii.gz"
    nib.save(nib.Nifti1Image(head, AFFINE), path)  # type: ignore[attr-defined]
    pipeline = transforms.Compose([
        transforms.LoadImaged("t1", ensure_channel_first=True),
        transforms.Orientationd("t1", "RAS", labels=None),
        N4BiasFieldCorrectiond("t1", **QUICK),
    ])  # fmt: skip
    corrected = pipeline({"t1": path})
    canonical = nib.as_closest_canonical(nib.Nifti1Image(head, AFFINE))  # type: ignore[attr-defined]
    expected = correct(canonical.get_fdata(dtype=np.float32))
    assert np.array_equal(corrected["t1"].numpy()[0], expected)
    assert np.array_equal(corrected["t1"].affine, canonical.affine)
    back = pipeline.inverse(corrected)
    assert back["t1"].shape == (1, *head.shape)
    assert np.array_equal(back["t1"].affine, AFFINE)


def test_pending_lazy_transforms_are_applied_before(head: Array) -> None:
    pipeline = transforms.Compose(
        [transforms.Flip(0), N4BiasFieldCorrection(**QUICK), transforms.ScaleIntensity()],
        lazy=True,
    )
    corrected = correct(head[::-1])
    expected = (corrected - corrected.min()) / (corrected.max() - corrected.min())
    np.testing.assert_allclose(pipeline(make_tensor(head)).numpy()[0], expected, atol=1e-6)


# ---- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"iters": ()}, "iters is empty"),
        ({"conv_threshold": "low"}, "conv_threshold is 'low'"),
        ({"shrink_factor": 0}, "shrink_factor is 0"),
        ({"spline_distance": -1}, "spline_distance is -1"),
        ({"fwhm": 0}, "fwhm is 0"),
        ({"voxel_order": "K"}, "voxel_order is 'K'"),
        ({"engine": "gpu"}, "engine is 'gpu'; expected 'cpu' or 'xla'"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"mask": "brain"}, "mask is 'brain'; expected 'otsu', 'all' or a function"),
        ({"mask": np.ones(3)}, "expected 'otsu', 'all' or a function"),
    ],
)
def test_bad_parameters_are_named_at_construction(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        N4BiasFieldCorrection(**keywords)
    with pytest.raises(ValueError, match=re.escape(words)):
        N4BiasFieldCorrectiond("t1", **keywords)


@pytest.mark.parametrize("setting", [{"scale": "minmax"}, {"non_positive": "offset"}])
def test_settings_that_depend_on_one_image_are_refused_with_a_shared_field(
    setting: dict[str, Any],
) -> None:
    (name,) = setting
    with pytest.raises(ValueError, match=f"{name} is .*, which"):
        N4BiasFieldCorrectiond("t1", shared_field_key="t1", **setting)


def test_unknown_parameters_are_named() -> None:
    with pytest.raises(TypeError, match="iterations"):
        N4BiasFieldCorrectiond("t1", iterations=3)


def test_mask_of_another_shape_is_refused(sample: dict[str, Any]) -> None:
    sample["brain"] = sample["brain"][:, 1:]
    with pytest.raises(ValueError, match=r"mask has shape \(1, 39, 44, 36\) and image has shape"):
        N4BiasFieldCorrectiond("t1", mask_key="brain", **QUICK)(sample)
    sample["brain"] = sample["brain"][0]
    with pytest.raises(ValueError, match="expected the same shape, or one channel of it"):
        N4BiasFieldCorrectiond("t1", mask_key="brain", **QUICK)(sample)


@pytest.mark.parametrize("form", [N4BiasFieldCorrection, N4BiasFieldCorrectiond])
def test_every_parameter_is_documented(form: Any) -> None:
    document = inspect.getdoc(form) or ""
    for name in inspect.signature(form.__init__).parameters:
        assert name == "self" or re.search(rf"^(\*\*)?{name}\b( :.*)?$", document, re.M), name


def test_import_without_monai_names_the_extra() -> None:
    program = "import sys; sys.modules['monai'] = None; import n4ax.monai"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: n4ax.monai needs monai")
    assert last.endswith("pip install 'n4ax[monai]'")


def test_settings_can_be_chosen_for_the_image(head: Array) -> None:
    found = N4BiasFieldCorrection(adapt=True)(make_tensor(head))
    expected = n4ax.fit(head, preset="auto", voxel_order="F", spacing=SPACING)
    assert expected.choice is not None
    assert np.array_equal(found[0].numpy(), expected.corrected)
    with pytest.raises(ValueError, match="chooses shrink_factor"):
        N4BiasFieldCorrection(adapt=True, shrink_factor=4)
