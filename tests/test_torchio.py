"""N4 as a transform of TorchIO: images of every kind, subjects, histories, real data loaders."""

import inspect
import pickle
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import n4ax

tio = pytest.importorskip("torchio", reason="TorchIO is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

import n4ax.channels  # noqa: E402
from n4ax.torchio import N4BiasFieldCorrection  # noqa: E402

Array = npt.NDArray[Any]
HEAD = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
QUICK: dict[str, Any] = {"iters": (3, 2), "conv_threshold": 0.0}
AFFINE = np.array([[-2.0, 0, 0, 40], [0, 0, 1.5, -30], [0, 2.5, 0, 10], [0, 0, 0, 1]])
SPACING = (2.0, 2.5, 1.5)


@pytest.fixture(scope="module")
def head() -> Array:
    """A piece of the packaged head, x first."""
    return np.asarray(nib.load(HEAD).dataobj, np.float32)[28:68, 26:70, 26:62]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def brain(head: Array) -> Array:
    """A ball in it."""
    axes = (np.linspace(-1, 1, n) for n in head.shape)
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return ((x - 0.2) ** 2 + y**2 + (z + 0.1) ** 2 < 0.6).astype(np.uint8)


@pytest.fixture
def subject(head: Array, brain: Array) -> Any:
    """Two contrasts, of two types, and a mask."""
    return tio.Subject(
        t1=scalar(head),
        t2=scalar((2000 - head).astype(np.int16)),
        brain=tio.LabelMap(tensor=brain[None], affine=AFFINE),
        age=31,
    )


def scalar(*channels: Array) -> Any:
    return tio.ScalarImage(tensor=np.stack(channels), affine=AFFINE)


def direct(image: Any, mask: Any = None, **keywords: Any) -> Any:
    """What n4ax gives for an array with x first."""
    return n4ax.n4(image, mask, **{"voxel_order": "F", **QUICK, **keywords})


# ---- data loaders ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eight(head: Array) -> list[Array]:
    """Volumes that differ, by scale and orientation."""
    return [
        np.ascontiguousarray(np.flip(head * (1 + 0.3 * n), axis=tuple(range(n % 4))))
        for n in range(8)
    ]


# Where another test has imported JAX, and from Python 3.12 on where there are threads, a fork is
# warned about; torch warns of more workers than processors.
@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_data_loader_give_the_bits_of_the_direct_call(
    start: str, eight: list[Array], brain: Array
) -> None:
    expected = [direct(volume, brain) for volume in eight]  # kernels compiled before the fork
    subjects = [
        tio.Subject(
            t1=tio.ScalarImage(tensor=volume[None], affine=AFFINE),
            brain=tio.LabelMap(tensor=brain[None], affine=AFFINE),
        )
        for volume in eight
    ]
    transform = tio.Compose([N4BiasFieldCorrection("brain", **QUICK), tio.Clamp(out_max=1e6)])
    dataset = tio.SubjectsDataset(subjects, transform=transform)
    loader = tio.SubjectsLoader(
        dataset, batch_size=2, num_workers=2, multiprocessing_context=start, timeout=120
    )
    found = torch.cat([batch["t1"][tio.DATA] for batch in loader])
    assert found.shape == (8, 1, *brain.shape)
    assert found.dtype == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one[0].numpy(), other)


def test_a_worker_uses_one_thread_unless_told(monkeypatch: pytest.MonkeyPatch, head: Array) -> None:
    used: list[int | None] = []

    def recorded(*arguments: Any, num_threads: int | None, **keywords: Any) -> Any:
        used.append(num_threads)
        return fit_image(*arguments, num_threads=num_threads, **keywords)

    fit_image = n4ax.channels.fit_image
    monkeypatch.setattr(n4ax.channels, "fit_image", recorded)
    plain, told = N4BiasFieldCorrection(**QUICK), N4BiasFieldCorrection(num_threads=2, **QUICK)
    first = plain(head[None])
    monkeypatch.setattr(n4ax.channels, "get_worker_info", lambda: "a worker")
    assert np.array_equal(plain(head[None]), first)
    assert np.array_equal(told(head[None]), first)
    assert used == [None, 1, 2]


def test_transform_can_be_pickled(head: Array) -> None:
    transform = N4BiasFieldCorrection("all", **QUICK)
    assert np.array_equal(pickle.loads(pickle.dumps(transform))(head[None]), transform(head[None]))


# ---- what comes in goes out ------------------------------------------------------------------


def test_every_kind_of_image_is_taken_and_given_back(head: Array) -> None:
    transform, expected = N4BiasFieldCorrection(**QUICK), direct(head)
    array = transform(head[None])
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array[0], expected)
    tensor = transform(torch.from_numpy(head[None]))
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor[0].numpy(), expected)
    image = transform(scalar(head))
    assert isinstance(image, tio.ScalarImage)
    assert np.array_equal(image.affine, AFFINE)
    assert np.array_equal(image.numpy()[0], expected)
    file = transform(nib.Nifti1Image(head, AFFINE))
    assert np.array_equal(file.get_fdata(dtype=np.float32), expected)
    assert np.array_equal(file.affine, AFFINE)
    itk = sitk.GetImageFromArray(head.T)
    itk.SetSpacing(SPACING)
    found = transform(itk)
    assert np.array_equal(sitk.GetArrayFromImage(found), direct(head.T, voxel_order="C"))
    assert found.GetSpacing() == itk.GetSpacing()
    named = N4BiasFieldCorrection(include=["t1"], **QUICK)
    mapping = named({"t1": torch.from_numpy(head[None]), "age": 31})
    assert np.array_equal(mapping["t1"][0].numpy(), expected)
    assert mapping["age"] == 31


@pytest.mark.parametrize(
    ("given", "found"),
    [(np.int16, torch.float32), (np.float32, torch.float32), (np.float64, torch.float64)],
)
def test_float64_stays_and_the_rest_is_float32(head: Array, given: Any, found: Any) -> None:
    transformed = N4BiasFieldCorrection(**QUICK)(torch.from_numpy(head[None].astype(given)))
    assert transformed.dtype == found
    assert np.array_equal(transformed[0].numpy(), direct(head.astype(given)))


def test_bfloat16_is_taken(head: Array) -> None:
    coarse = torch.from_numpy(head[None]).to(torch.bfloat16)
    expected = direct(coarse[0].float().numpy())
    assert np.array_equal(N4BiasFieldCorrection(**QUICK)(coarse)[0].numpy(), expected)


def test_a_slice_is_corrected_in_two_dimensions(head: Array) -> None:
    """With an affine that turns axes, y of the image is z in space."""
    keywords: dict[str, Any] = {"spline_distance": 50, "shrink_factor": 2}
    transformed = N4BiasFieldCorrection(**keywords, **QUICK)(scalar(head[:, :, 18:19]))
    expected = direct(head[:, :, 18], spacing=SPACING[:2], **keywords)
    assert np.array_equal(transformed.numpy()[0, ..., 0], expected)


def test_channels_are_corrected_one_by_one(head: Array, brain: Array) -> None:
    second = 2000 - head
    transformed = N4BiasFieldCorrection(**QUICK)(scalar(head, second))
    assert transformed.shape == (2, *head.shape)
    for channel, source in zip(transformed.numpy(), (head, second), strict=True):
        assert np.array_equal(channel, direct(source))
    several = tio.Subject(
        t1=scalar(head, second),
        brain=tio.LabelMap(tensor=np.stack([brain, brain[::-1]]), affine=AFFINE),
    )
    transformed = N4BiasFieldCorrection("brain", **QUICK)(several).t1.numpy()
    assert np.array_equal(transformed[1], direct(second, brain[::-1]))


# ---- subjects --------------------------------------------------------------------------------


def test_subject_keeps_everything_else(subject: Any, head: Array) -> None:
    transformed = N4BiasFieldCorrection("all", exclude=["t2"], keep={"t1": "raw"}, **QUICK)(subject)
    assert np.array_equal(transformed.t1.numpy()[0], direct(head, "all"))
    assert torch.equal(transformed.t2.data, subject.t2.data)
    assert torch.equal(transformed.brain.data, subject.brain.data)
    assert torch.equal(transformed.raw.data, subject.t1.data)
    assert np.array_equal(transformed.t1.affine, AFFINE)
    assert transformed.age == 31
    assert np.array_equal(subject.t1.numpy()[0], head)


def test_include_names_the_images_to_correct(subject: Any) -> None:
    transformed = N4BiasFieldCorrection(include=["t2"], **QUICK)(subject)
    assert torch.equal(transformed.t1.data, subject.t1.data)
    assert np.array_equal(transformed.t2.numpy()[0], direct(subject.t2.numpy()[0]))


def test_images_share_a_mask_by_name(subject: Any, head: Array, brain: Array) -> None:
    transformed = N4BiasFieldCorrection("brain", outside="zero", **QUICK)(subject)
    for name in ("t1", "t2"):
        expected = direct(subject[name].numpy()[0], brain, outside="zero")
        assert np.array_equal(transformed[name].numpy()[0], expected)
    subject.brain.set_data(subject.brain.data * 3 + (torch.arange(36) > 20))
    transformed = N4BiasFieldCorrection("brain", mask_label=4, **QUICK)(subject)
    assert np.array_equal(transformed.t1.numpy()[0], direct(head, brain * (np.arange(36) > 20)))


def test_mask_by_a_function_and_by_words(subject: Any, head: Array) -> None:
    for mask, expected in (
        (lambda tensor: tensor > 300, head > 300),
        ("all", np.ones(head.shape)),
        ("otsu", None),
        (None, None),
    ):
        transformed = N4BiasFieldCorrection(mask, **QUICK)(subject)
        assert np.array_equal(transformed.t1.numpy()[0], direct(head, expected))


def test_a_mask_that_is_not_there_is_answered_with_those_that_are(subject: Any) -> None:
    with pytest.raises(ValueError, match=r"mask is 'head'; this subject has the label maps \['br"):
        N4BiasFieldCorrection("head")(subject)
    with pytest.raises(ValueError, match=r"mask is 't2'; this subject has the label maps"):
        N4BiasFieldCorrection("t2")(subject)
    with pytest.raises(TypeError, match="mask gave a int"):
        N4BiasFieldCorrection(lambda _: 1)(subject)
    subject.brain.set_data(subject.brain.data[:, 1:])
    with pytest.raises(ValueError, match=r"mask has shape \(1, 39, 44, 36\) and image has") as info:
        N4BiasFieldCorrection("brain")(subject)
    assert info.value.__notes__ == ["n4ax: in image 't1'"]


@pytest.mark.parametrize("outside", ["divide", "keep"])
@pytest.mark.parametrize("mask", ["brain", None, "all"])
def test_images_share_the_field_of_one(
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
    assert np.array_equal(transformed.t1.numpy()[0], direct(head, array, outside=outside))


def test_shared_field_goes_to_images_that_are_included_and_to_all_channels(head: Array) -> None:
    subject = tio.Subject(t1=scalar(head), echoes=scalar(head, 3 * head))
    transform = N4BiasFieldCorrection(shared_field="t1", include=["echoes"], **QUICK)
    transformed = transform(subject)
    field = n4ax.fit(head, voxel_order="F", **QUICK).field
    assert torch.equal(transformed.t1.data, subject.t1.data)
    assert np.array_equal(transformed.echoes.numpy()[1], field.apply(3 * head))


def test_shared_field_needs_one_channel_and_one_grid(subject: Any, head: Array) -> None:
    with pytest.raises(ValueError, match=r"shared_field is 'pd'; this subject has .*'t1', 't2'\]"):
        N4BiasFieldCorrection(shared_field="pd", **QUICK)(subject)
    subject["t2"].affine = AFFINE + np.eye(4)[0][:, None] * np.eye(4)[3]
    with pytest.raises(ValueError, match="t2 and t1 do not occupy the same physical space"):
        N4BiasFieldCorrection(shared_field="t1", **QUICK)(subject)
    subject["t2"].affine = AFFINE
    subject.t2.set_data(subject.t2.data[..., :30])
    with pytest.raises(ValueError, match="resample one onto the other first"):
        N4BiasFieldCorrection(shared_field="t1", **QUICK)(subject)
    subject.t1.set_data(torch.from_numpy(np.stack([head, head])))
    with pytest.raises(ValueError, match="needs an image of one channel; it has 2") as info:
        N4BiasFieldCorrection(shared_field="t1", **QUICK)(subject)
    assert info.value.__notes__ == ["n4ax: in image 't1'"]


def test_history_replays_to_the_same_bits(subject: Any) -> None:
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
    corrected = direct(rescaled, brain)
    inside = corrected[brain > 0].astype(np.float64)
    expected = (corrected - inside.mean()) / inside.std(ddof=1)
    np.testing.assert_allclose(transformed.t1.numpy()[0], expected, atol=1e-5)
    assert [one.name for one in transformed.history][1] == "N4BiasFieldCorrection"


# ---- numbers ---------------------------------------------------------------------------------


def test_voxel_size_comes_from_the_affine(head: Array) -> None:
    transformed = N4BiasFieldCorrection(spline_distance=60, **QUICK)(scalar(head))
    expected = direct(head, spline_distance=60, spacing=SPACING)
    assert np.array_equal(transformed.numpy()[0], expected)
    assert not np.array_equal(direct(head, spline_distance=60, spacing=2.0), expected)


def test_file_gives_the_numbers_of_simpleitk_shrunken_too() -> None:
    """Shrunken by 4, samples lie between voxels: the last digits of the header decide."""
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
def test_parameters_are_passed_on(head: Array, scale: Any) -> None:
    keywords: dict[str, Any] = {
        "over_relax": 1.5, "nbins": 100, "mesh": (2, 1, 1), "scale": scale, "outside": "keep"
    }  # fmt: skip
    transformed = N4BiasFieldCorrection(**keywords, **QUICK)(head[None])
    assert np.array_equal(transformed[0], direct(head, **keywords))


def test_defaults_are_those_of_the_settings() -> None:
    transform = N4BiasFieldCorrection()
    for name, value in n4ax.N4Settings(voxel_order="F").keywords().items():
        assert getattr(transform, name, "F") == value
    assert set(transform.args_names) >= {one.name for one in fields(n4ax.N4Settings)} - {
        "voxel_order"
    }


def test_policy_for_nan_is_passed_on(subject: Any, head: Array) -> None:
    image = head.copy()
    image[20, 20, 20] = np.nan
    subject.t1.set_data(torch.from_numpy(image[None]))
    with pytest.raises(ValueError, match="image has 1 NaN or infinite voxels") as info:
        N4BiasFieldCorrection("all", **QUICK)(subject)
    assert info.value.__notes__ == ["n4ax: in image 't1'"]
    transformed = N4BiasFieldCorrection("all", nonfinite="exclude", **QUICK)(subject)
    expected = direct(image, "all", nonfinite="exclude")
    assert np.array_equal(transformed.t1.numpy()[0], expected, equal_nan=True)
    both = scalar(head, image)
    with pytest.raises(ValueError, match="NaN or infinite") as info:
        N4BiasFieldCorrection("all", **QUICK)(both)
    assert info.value.__notes__[0] == "n4ax: in channel 1"


def test_floating_point_exceptions_are_no_errors_as_in_the_direct_call(head: Array) -> None:
    """TorchIO makes NumPy raise on them."""
    image = head.astype(np.float64)
    image[0, 0, 0] = 1e300  # not inside, and beyond float32
    with pytest.warns(RuntimeWarning, match="overflow"):
        expected = direct(image, (image > 300) & (image < 1e9))
    transform = N4BiasFieldCorrection(lambda t: (t > 300) & (t < 1e9), **QUICK)
    with pytest.warns(RuntimeWarning, match="overflow"):
        transformed = transform(image[None])
    assert np.array_equal(transformed[0], expected)


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"iters": ()}, "iters is empty"),
        ({"conv_threshold": "low"}, "conv_threshold is 'low'"),
        ({"shrink_factor": 0}, "shrink_factor is 0"),
        ({"spline_distance": -1}, "spline_distance is -1"),
        ({"fwhm": 0}, "fwhm is 0"),
        ({"outside": "drop"}, "outside is 'drop'"),
        ({"engine": "gpu"}, "engine is 'gpu'; expected 'cpu' or 'xla'"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"num_threads": 1.5}, "num_threads is 1.5"),
        ({"mask": 3}, "mask is 3; expected the name of a label map"),
        ({"shared_field": True}, "shared_field is True; expected the name of an image"),
        ({"shared_field": "t1", "scale": "minmax"}, "scale is 'minmax', which belongs to one"),
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


def test_without_torchio_the_extra_is_named() -> None:
    program = "import sys; sys.modules['torchio'] = None; import n4ax.torchio"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: n4ax.torchio needs TorchIO")
    assert last.endswith("pip install 'n4ax[torchio]'")


def test_mask_that_lies_elsewhere_is_refused(subject: Any, brain: Array) -> None:
    moved = np.array(AFFINE, float)
    moved[0, 3] += 50
    subject["brain"] = tio.LabelMap(tensor=brain[None], affine=moved)
    with pytest.raises(ValueError, match="do not occupy the same physical space"):
        N4BiasFieldCorrection("brain", **QUICK)(subject)
    subject["brain"] = tio.LabelMap(tensor=brain[None])  # does not say where it lies
    N4BiasFieldCorrection("brain", **QUICK)(subject)
