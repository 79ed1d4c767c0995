"""N4 as a transform of TorchIO: all kinds of images, subjects, histories."""

import inspect
import re
import subprocess
import sys
from dataclasses import fields
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import n4ax

tio = pytest.importorskip("torchio", reason="TorchIO is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

from n4ax import channels  # noqa: E402
from n4ax.torchio import N4BiasFieldCorrection  # noqa: E402
from tests.support.tensors import AFFINE, HEAD, QUICK, SPACING, Array, correct  # noqa: E402


@pytest.fixture
def subject(head: Array, brain: Array) -> Any:
    """A subject with two contrasts of different data types, and a mask."""
    return tio.Subject(
        t1=make_image(head),
        t2=make_image((2000 - head).astype(np.int16)),
        brain=tio.LabelMap(tensor=brain[None], affine=AFFINE),
        age=31,
    )


def make_image(*channels: Array) -> Any:
    return tio.ScalarImage(tensor=np.stack(channels), affine=AFFINE)


# ---- kinds of images -------------------------------------------------------------------------


def test_result_is_of_the_kind_of_the_input(head: Array) -> None:
    transform, expected = N4BiasFieldCorrection(**QUICK), correct(head)
    array = transform(head[None])
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array[0], expected)
    tensor = transform(torch.from_numpy(head[None]))
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor[0].numpy(), expected)
    image = transform(make_image(head))
    assert isinstance(image, tio.ScalarImage)
    assert np.array_equal(image.affine, AFFINE)
    assert np.array_equal(image.numpy()[0], expected)
    file = transform(nib.Nifti1Image(head, AFFINE))
    assert np.array_equal(file.get_fdata(dtype=np.float32), expected)
    assert np.array_equal(file.affine, AFFINE)
    itk = sitk.GetImageFromArray(head.T)
    itk.SetSpacing(SPACING)
    found = transform(itk)
    assert np.array_equal(sitk.GetArrayFromImage(found), correct(head.T, voxel_order="C"))
    assert found.GetSpacing() == itk.GetSpacing()
    named = N4BiasFieldCorrection(include=["t1"], **QUICK)
    mapping = named({"t1": torch.from_numpy(head[None]), "age": 31})
    assert np.array_equal(mapping["t1"][0].numpy(), expected)
    assert mapping["age"] == 31


@pytest.mark.parametrize(
    ("given", "found"),
    [(np.int16, torch.float32), (np.float32, torch.float32), (np.float64, torch.float64)],
)
def test_float64_gives_float64_and_other_types_give_float32(
    head: Array, given: Any, found: Any
) -> None:
    transformed = N4BiasFieldCorrection(**QUICK)(torch.from_numpy(head[None].astype(given)))
    assert transformed.dtype == found
    assert np.array_equal(transformed[0].numpy(), correct(head.astype(given)))


def test_bfloat16_is_accepted(head: Array) -> None:
    coarse = torch.from_numpy(head[None]).to(torch.bfloat16)
    expected = correct(coarse[0].float().numpy())
    assert np.array_equal(N4BiasFieldCorrection(**QUICK)(coarse)[0].numpy(), expected)


def test_a_slice_is_corrected_in_two_dimensions(head: Array) -> None:
    """The affine swaps axes, so y of the image is z in space."""
    keywords: dict[str, Any] = {"spline_distance": 50, "shrink_factor": 2}
    transformed = N4BiasFieldCorrection(**keywords, **QUICK)(make_image(head[:, :, 18:19]))
    expected = correct(head[:, :, 18], spacing=SPACING[:2], **keywords)
    assert np.array_equal(transformed.numpy()[0, ..., 0], expected)


def test_each_channel_has_a_field_of_its_own(head: Array, brain: Array) -> None:
    second = 2000 - head
    transformed = N4BiasFieldCorrection(**QUICK)(make_image(head, second))
    assert transformed.shape == (2, *head.shape)
    for channel, source in zip(transformed.numpy(), (head, second), strict=True):
        assert np.array_equal(channel, correct(source))
    several = tio.Subject(
        t1=make_image(head, second),
        brain=tio.LabelMap(tensor=np.stack([brain, brain[::-1]]), affine=AFFINE),
    )
    transformed = N4BiasFieldCorrection("brain", **QUICK)(several).t1.numpy()
    assert np.array_equal(transformed[1], correct(second, brain[::-1]))


# ---- subjects --------------------------------------------------------------------------------


def test_rest_of_the_subject_stays(subject: Any, head: Array) -> None:
    transformed = N4BiasFieldCorrection("all", exclude=["t2"], keep={"t1": "raw"}, **QUICK)(subject)
    assert np.array_equal(transformed.t1.numpy()[0], correct(head, "all"))
    assert torch.equal(transformed.t2.data, subject.t2.data)
    assert torch.equal(transformed.brain.data, subject.brain.data)
    assert torch.equal(transformed.raw.data, subject.t1.data)
    assert np.array_equal(transformed.t1.affine, AFFINE)
    assert transformed.age == 31
    assert np.array_equal(subject.t1.numpy()[0], head)


def test_include_selects_the_images(subject: Any) -> None:
    transformed = N4BiasFieldCorrection(include=["t2"], **QUICK)(subject)
    assert torch.equal(transformed.t1.data, subject.t1.data)
    assert np.array_equal(transformed.t2.numpy()[0], correct(subject.t2.numpy()[0]))


def test_label_map_is_the_mask_of_all_images(subject: Any, head: Array, brain: Array) -> None:
    transformed = N4BiasFieldCorrection("brain", outside="zero", **QUICK)(subject)
    for name in ("t1", "t2"):
        expected = correct(subject[name].numpy()[0], brain, outside="zero")
        assert np.array_equal(transformed[name].numpy()[0], expected)
    subject.brain.set_data(subject.brain.data * 3 + (torch.arange(36) > 20))
    transformed = N4BiasFieldCorrection("brain", mask_label=4, **QUICK)(subject)
    assert np.array_equal(transformed.t1.numpy()[0], correct(head, brain * (np.arange(36) > 20)))


def test_mask_may_be_a_function_or_a_word(subject: Any, head: Array) -> None:
    for mask, expected in (
        (lambda tensor: tensor > 300, head > 300),
        ("all", np.ones(head.shape)),
        ("otsu", None),
        (None, None),
    ):
        transformed = N4BiasFieldCorrection(mask, **QUICK)(subject)
        assert np.array_equal(transformed.t1.numpy()[0], correct(head, expected))


def test_masks_that_cannot_be_used_are_refused(subject: Any) -> None:
    with pytest.raises(ValueError, match=r"mask is 'head'; expected .* label maps .*: \['brain'\]"):
        N4BiasFieldCorrection("head")(subject)
    with pytest.raises(ValueError, match=r"mask is 't2'; expected .* label maps .*: \['brain'\]"):
        N4BiasFieldCorrection("t2")(subject)
    with pytest.raises(TypeError, match="the function mask returned a value of type int"):
        N4BiasFieldCorrection(lambda _: 1)(subject)
    subject.brain.set_data(subject.brain.data[:, 1:])
    with pytest.raises(ValueError, match=r"mask has shape \(1, 39, 44, 36\) and image has") as info:
        N4BiasFieldCorrection("brain")(subject)
    assert info.value.__notes__ == ["n4ax: in image 't1'"]


@pytest.mark.parametrize("outside", ["divide", "keep"])
@pytest.mark.parametrize("mask", ["brain", None, "all"])
def test_all_images_are_divided_by_the_shared_field(
    subject: Any, head: Array, brain: Array, mask: Any, outside: Any
) -> None:
    array = {"brain": brain, None: n4ax.otsu_mask(head), "all": np.ones_like(brain)}[mask]
    field = n4ax.fit(head, array, voxel_order="F", **QUICK).field
    transform = N4BiasFieldCorrection(mask, shared_field="t1", outside=outside, **QUICK)
    transformed = transform(subject)
    for name in ("t1", "t2"):
        expected = field.apply(subject[name].numpy()[0], array, outside=outside)
        assert np.array_equal(transformed[name].numpy()[0], expected)
        assert transformed[name].data.dtype == torch.float32
    assert np.array_equal(transformed.t1.numpy()[0], correct(head, array, outside=outside))


def test_shared_field_is_for_included_images_and_all_their_channels(head: Array) -> None:
    subject = tio.Subject(t1=make_image(head), echoes=make_image(head, 3 * head))
    transform = N4BiasFieldCorrection(shared_field="t1", include=["echoes"], **QUICK)
    transformed = transform(subject)
    field = n4ax.fit(head, voxel_order="F", **QUICK).field
    assert torch.equal(transformed.t1.data, subject.t1.data)
    assert np.array_equal(transformed.echoes.numpy()[1], field.apply(3 * head))


def test_shared_field_needs_one_channel_and_one_grid(subject: Any, head: Array) -> None:
    with pytest.raises(ValueError, match=r"shared_field is 'pd'; expected .*: \['t1', 't2'\]"):
        N4BiasFieldCorrection(shared_field="pd", **QUICK)(subject)
    subject["t2"].affine = AFFINE + np.eye(4)[0][:, None] * np.eye(4)[3]
    with pytest.raises(ValueError, match="t2 and t1 do not occupy the same physical space"):
        N4BiasFieldCorrection(shared_field="t1", **QUICK)(subject)
    subject["t2"].affine = AFFINE
    subject.t2.set_data(subject.t2.data[..., :30])
    with pytest.raises(
        ValueError, match="expected the same shape: resample one onto the other first"
    ):
        N4BiasFieldCorrection(shared_field="t1", **QUICK)(subject)
    subject.t1.set_data(torch.from_numpy(np.stack([head, head])))
    with pytest.raises(ValueError, match="image has 2 channels; a shared field needs") as info:
        N4BiasFieldCorrection(shared_field="t1", **QUICK)(subject)
    assert info.value.__notes__ == ["n4ax: in image 't1'"]


def test_replayed_history_gives_the_same_bits(subject: Any) -> None:
    transform = N4BiasFieldCorrection(
        "brain", shared_field="t1", exclude=["t3"], shrink_factor=2, fwhm=0.2, **QUICK
    )
    transformed = transform(subject)
    (replayed,) = transformed.history
    assert isinstance(replayed, N4BiasFieldCorrection)
    assert str(replayed) == str(transform)
    assert replayed.exclude == ["t3"]
    again = transformed.get_composed_history()(subject)
    for name in ("t1", "t2"):
        assert torch.equal(again[name].data, transformed[name].data)


def test_hydra_configuration_makes_the_same_transform() -> None:
    transform = N4BiasFieldCorrection("brain", shrink_factor=(1, 2, 2), fwhm=0.2, **QUICK)
    config = transform.to_hydra_config()
    assert config.pop("_target_") == "n4ax.torchio.N4BiasFieldCorrection"
    assert str(N4BiasFieldCorrection(**config)) == str(transform)


def test_composes_with_transforms_of_torchio(subject: Any, head: Array, brain: Array) -> None:
    pipeline = tio.Compose([
        tio.RescaleIntensity((0, 500)),
        N4BiasFieldCorrection("brain", **QUICK),
        tio.ZNormalization(masking_method="brain"),
    ])  # fmt: skip
    transformed = pipeline(subject)
    rescaled = tio.RescaleIntensity((0, 500))(subject).t1.numpy()[0]
    corrected = correct(rescaled, brain)
    inside = corrected[brain > 0].astype(np.float64)
    expected = (corrected - inside.mean()) / inside.std(ddof=1)
    np.testing.assert_allclose(transformed.t1.numpy()[0], expected, atol=1e-5)
    assert [one.name for one in transformed.history][1] == "N4BiasFieldCorrection"


# ---- numbers ---------------------------------------------------------------------------------


def test_voxel_size_is_that_of_the_affine(head: Array) -> None:
    transformed = N4BiasFieldCorrection(spline_distance=60, **QUICK)(make_image(head))
    expected = correct(head, spline_distance=60, spacing=SPACING)
    assert np.array_equal(transformed.numpy()[0], expected)
    assert not np.array_equal(correct(head, spline_distance=60, spacing=2.0), expected)


def test_file_gives_the_numbers_of_simpleitk_with_shrinking() -> None:
    """After shrinking by 4, samples lie between voxels, so the last digits of the header matter."""
    image = sitk.ReadImage(str(HEAD), sitk.sitkFloat32)
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([3, 2])
    n4.SetConvergenceThreshold(0.0)
    n4.Execute(sitk.Shrink(image, [4] * 3), sitk.Shrink(mask, [4] * 3))
    field = sitk.Exp(n4.GetLogBiasFieldAsImage(image))
    expected = sitk.GetArrayFromImage(image / field).T
    transformed = N4BiasFieldCorrection(shrink_factor=4, **QUICK)(tio.ScalarImage(HEAD))
    np.testing.assert_allclose(transformed.numpy()[0], expected, rtol=2e-6)


@pytest.mark.parametrize("scale", ["mean", "unit-field", "minmax"])
def test_parameters_reach_n4(head: Array, scale: Any) -> None:
    keywords: dict[str, Any] = {
        "over_relax": 1.5, "nbins": 100, "mesh": (2, 1, 1), "scale": scale, "outside": "keep"
    }  # fmt: skip
    transformed = N4BiasFieldCorrection(**keywords, **QUICK)(head[None])
    assert np.array_equal(transformed[0], correct(head, **keywords))


def test_arithmetic_of_itk_reaches_n4(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[n4ax.N4Settings] = []
    real = channels.fit_image

    def note(settings: n4ax.N4Settings, *inputs: Any) -> Any:
        seen.append(settings)
        return real(settings, *inputs)

    monkeypatch.setattr(channels, "fit_image", note)
    keywords: dict[str, Any] = {
        "arithmetic": "itk", "itk_version": 6, "itk_threads": 4, "itk_tool": "ants"
    }  # fmt: skip
    transformed = N4BiasFieldCorrection("brain", include=["t1"], **keywords, **QUICK)(subject)
    transformed.get_composed_history()(subject)
    N4BiasFieldCorrection(arithmetic="itk", itk_work_units=9, **QUICK)(subject.t1)
    expected = n4ax.N4Settings(voxel_order="F", **keywords, **QUICK)
    other = n4ax.N4Settings(voxel_order="F", arithmetic="itk", itk_work_units=9, **QUICK)
    assert seen == [expected, expected, other]


def test_defaults_are_those_of_the_settings() -> None:
    transform = N4BiasFieldCorrection()
    for name, value in n4ax.N4Settings(voxel_order="F").keywords().items():
        assert getattr(transform, name, "F") == value
    assert set(transform.args_names) >= {one.name for one in fields(n4ax.N4Settings)} - {
        "voxel_order"
    }


def test_policy_for_nan_reaches_n4(subject: Any, head: Array) -> None:
    image = head.copy()
    image[20, 20, 20] = np.nan
    subject.t1.set_data(torch.from_numpy(image[None]))
    with pytest.raises(ValueError, match="image has 1 NaN or infinite voxels") as info:
        N4BiasFieldCorrection("all", **QUICK)(subject)
    assert info.value.__notes__ == ["n4ax: in image 't1'"]
    transformed = N4BiasFieldCorrection("all", nonfinite="exclude", **QUICK)(subject)
    expected = correct(image, "all", nonfinite="exclude")
    assert np.array_equal(transformed.t1.numpy()[0], expected, equal_nan=True)
    both = make_image(head, image)
    with pytest.raises(ValueError, match="NaN or infinite") as info:
        N4BiasFieldCorrection("all", **QUICK)(both)
    assert info.value.__notes__[0] == "n4ax: in channel 1"


def test_floating_point_exceptions_are_warnings_as_in_the_direct_call(head: Array) -> None:
    """TorchIO makes NumPy raise an error at every floating-point exception."""
    image = head.astype(np.float64)
    image[0, 0, 0] = 1e300  # outside the mask, and too large for float32
    with pytest.warns(RuntimeWarning, match="overflow"):
        expected = correct(image, (image > 300) & (image < 1e9))
    transform = N4BiasFieldCorrection(lambda t: (t > 300) & (t < 1e9), **QUICK)
    with pytest.warns(RuntimeWarning, match="overflow"):
        transformed = transform(image[None])
    assert np.array_equal(transformed[0], expected)


# ---- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"iters": ()}, "iters is empty"),
        ({"conv_threshold": "low"}, "conv_threshold is 'low'"),
        ({"shrink_factor": 0}, "shrink_factor is 0"),
        ({"spline_distance": -1}, "spline_distance is -1"),
        ({"fwhm": 0}, "fwhm is 0"),
        ({"outside": "drop"}, "outside is 'drop'"),
        ({"itk_threads": 4}, "itk_threads is 4, which matters in the arithmetic of ITK alone"),
        ({"engine": "gpu"}, "engine is 'gpu'; expected 'cpu' or 'xla'"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"num_threads": 1.5}, "num_threads is 1.5"),
        ({"mask": 3}, "mask is 3; expected the name of a label map"),
        ({"shared_field": True}, "shared_field is True; expected the name of an image"),
        ({"shared_field": "t1", "scale": "minmax"}, "scale is 'minmax', which"),
        ({"shared_field": "t1", "non_positive": "offset"}, "non_positive is 'offset', which"),
    ],
)
def test_bad_parameters_are_named_at_construction(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        N4BiasFieldCorrection(**keywords)


@pytest.mark.parametrize("name", ["iterations", "voxel_order"])
def test_unknown_parameters_are_named(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        N4BiasFieldCorrection(**{name: "C"})


def test_every_parameter_is_documented() -> None:
    document = inspect.getdoc(N4BiasFieldCorrection) or ""
    for name in inspect.signature(N4BiasFieldCorrection).parameters:
        assert re.search(rf"^(\*\*)?{name}\b( :.*)?$", document, re.M), name


def test_import_without_torchio_names_the_extra() -> None:
    program = "import sys; sys.modules['torchio'] = None; import n4ax.torchio"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: n4ax.torchio needs torchio")
    assert last.endswith("pip install 'n4ax[torchio]'")


def test_mask_that_lies_elsewhere_is_refused(subject: Any, brain: Array) -> None:
    moved = np.array(AFFINE, float)
    moved[0, 3] += 50
    subject["brain"] = tio.LabelMap(tensor=brain[None], affine=moved)
    with pytest.raises(ValueError, match="do not occupy the same physical space"):
        N4BiasFieldCorrection("brain", **QUICK)(subject)
    subject["brain"] = tio.LabelMap(tensor=brain[None])  # its place is not known
    N4BiasFieldCorrection("brain", **QUICK)(subject)


def test_settings_can_be_chosen_for_the_image(head: Array) -> None:
    transform = N4BiasFieldCorrection(adapt=True, mask="otsu")
    subject = transform(tio.Subject(t1=make_image(head)))
    expected = n4ax.fit(head, preset="auto", voxel_order="F", spacing=SPACING)
    assert expected.choice is not None
    assert np.array_equal(subject.t1.data[0].numpy(), expected.corrected)
    assert "adapt=True" in repr(subject.history[0]) or subject.history[0].adapt
    with pytest.raises(ValueError, match="chooses iters"):
        N4BiasFieldCorrection(adapt=True, iters=(3,))
