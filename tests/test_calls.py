"""What a user types in Python: settings, lists, series, paths, slips of the hand."""

import inspect
import pydoc
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax import BiasField, N4Settings, batch
from n4ax.api import correction
from n4ax.api.calls import choose_settings

Array = npt.NDArray[Any]
QUICK: dict[str, Any] = {"iters": (4, 3), "conv_threshold": 0.0}
AFFINE = np.diag([2.0, 2.5, 3.0, 1.0])


def make_image(shape: tuple[int, ...] = (14, 17, 19), seed: int = 0) -> Array:
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    noise = np.random.default_rng(seed).normal(0, 4, shape)
    tissue = np.select([radius < 0.5, radius < 0.9], [300.0, 180.0], 12.0)
    return np.maximum(tissue * np.exp(0.3 * axes[0]) + noise, 1).astype(np.float32)


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A file with a small head."""
    path = tmp_path / "head.nii.gz"
    nib.save(nib.Nifti1Image(make_image(), AFFINE), path)
    return path


# ---- settings and presets --------------------------------------------------------------------


def test_settings_are_taken_and_keywords_beside_them_go_first() -> None:
    image = make_image((20, 22))
    settings = N4Settings(iters=(9,), conv_threshold=0, shrink_factor=2)
    result = n4ax.fit(image, "all", settings=settings, iters=(3, 2))
    assert result.settings == N4Settings(iters=(3, 2), conv_threshold=0, shrink_factor=2)
    same = n4ax.fit(image, "all", iters=(3, 2), conv_threshold=0, shrink_factor=2)
    assert np.array_equal(result.corrected, same.corrected)
    alone, batch = (
        n4ax.n4(image, "all", settings=settings),
        n4ax.n4_batch([image], "all", settings=settings),
    )
    assert np.array_equal(alone, batch[0])


def test_the_arithmetic_of_itk_reaches_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    image, seen = make_image((12, 14)), []
    real = batch.fit_image

    def note(settings: N4Settings, *inputs: Any) -> Any:
        seen.append(settings)
        return real(settings, *inputs)

    monkeypatch.setattr(batch, "fit_image", note)
    monkeypatch.setattr(correction, "fit_image", note)
    keywords: dict[str, Any] = {
        "arithmetic": "itk", "itk_version": 6, "itk_threads": 4, "itk_tool": "ants"
    }  # fmt: skip
    n4ax.n4(image, "all", **keywords, **QUICK)
    result = n4ax.fit(image, "all", **keywords, **QUICK)
    n4ax.n4_batch([image, image], "all", **keywords, **QUICK)
    assert seen == [N4Settings(**keywords, **QUICK)] * 4
    assert result.settings == seen[0]
    with pytest.raises(ValueError, match=r"^itk_tool is 'ants', which matters in the arithmetic"):
        n4ax.n4_batch([image], "all", itk_tool="ants")


@pytest.mark.parametrize("preset", ["simpleitk", "ants", "antspy", "fast"])
def test_presets_are_the_methods_of_that_name(preset: Any) -> None:
    assert choose_settings(None, preset, {}) == getattr(N4Settings, preset)()
    image = make_image((24, 25))
    found = n4ax.fit(image, preset=preset, iters=(3,))
    assert found.settings == getattr(N4Settings, preset)().override(iters=(3,))
    # ANTs' program and ANTsPy use the whole image where no mask is given.
    everything = preset in ("ants", "antspy")
    expected = np.ones(image.shape, bool) if everything else n4ax.otsu_mask(image) != 0
    assert np.array_equal(found.mask, expected)
    assert n4ax.fit(image, "otsu", preset=preset, iters=(3,)).mask.sum() < image.size


def test_any_way_to_give_the_mesh_replaces_the_one_of_a_preset() -> None:
    for name, value in (("spline_distance", 200), ("control_points", 5), ("mesh", (1, 2, 1))):
        settings = N4Settings.ants().override(**{name: value})  # type: ignore[arg-type]
        given = {
            key: getattr(settings, key) for key in ("mesh", "control_points", "spline_distance")
        }
        assert {key for key, one in given.items() if one is not None} == {name}


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"settings": N4Settings(), "preset": "ants"}, ValueError, "settings and preset are both"),
        (
            {"preset": "freesurfer"},
            ValueError,
            "preset is 'freesurfer'; expected one of",
        ),
        (
            {"settings": {"iters": (3,)}},
            TypeError,
            "settings is of type dict; expected",
        ),
        ({"shrink": 4}, TypeError, "did you mean 'shrink_factor'"),
        (
            {"conv_threshold": -1e-3},
            ValueError,
            "conv_threshold is -0.001; expected",
        ),
        ({"num_threads": 2.5}, ValueError, "num_threads is 2.5; expected a whole number"),
        ({"num_threads": "2"}, ValueError, "num_threads is '2'; expected a whole number"),
        ({"num_threads": True}, ValueError, "num_threads is True"),
        ({"engine": "XLA"}, ValueError, 'engine is \'XLA\'; expected None, "cpu" or "xla"'),
        ({"mask_label": 2}, ValueError, "mask_label is 2, which chooses a value of a mask"),
        (
            {"accelerate": True, "conv_threshold": 0, "engine": "xla"},
            ValueError,
            "accelerate is True, which the XLA engine cannot do",
        ),
    ],
)
def test_slips_in_settings_are_named(
    keywords: dict[str, Any], error: type[Exception], words: str
) -> None:
    image = make_image((12, 13))
    for function, given in ((n4ax.n4, image), (n4ax.fit, image), (n4ax.n4_batch, [image])):
        with pytest.raises(error) as raised:
            function(given, "all", **keywords)
        assert words in str(raised.value)


def test_whole_numbers_may_have_any_type() -> None:
    image = make_image((12, 13))
    expected = n4ax.n4(image, "all", **QUICK)
    assert np.array_equal(n4ax.n4(image, "all", num_threads=2.0, **QUICK), expected)  # type: ignore[arg-type]
    assert np.array_equal(n4ax.n4(image, "all", num_threads=np.int8(2), **QUICK), expected)  # type: ignore[arg-type]


def test_acceleration_takes_the_cpu_engine_wherever_the_array_is() -> None:
    image = make_image((30, 31))
    expected = n4ax.n4(image, "all", preset="fast")
    found = n4ax.n4(jnp.asarray(image), "all", preset="fast")
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("affine", [np.eye(3), np.full((4, 4), np.nan), np.zeros((4, 4)), "RAS"])
def test_affine_must_be_one(affine: Any) -> None:
    with pytest.raises(ValueError, match="affine"):
        n4ax.fit(make_image((12, 13)), "all", affine=affine, **QUICK)


# ---- lists -----------------------------------------------------------------------------------


def test_a_list_of_images_means_the_same_everywhere() -> None:
    images = [make_image((12, 13, 14), seed) for seed in (1, 2)]
    expected = [n4ax.n4(image, **QUICK) for image in images]
    corrected, biases = n4ax.n4(images, return_bias=True, **QUICK)
    for found in (
        n4ax.n4(images, **QUICK),
        n4ax.n4(tuple(images), **QUICK),
        corrected,
        [result.corrected for result in n4ax.fit(images, **QUICK)],
        n4ax.n4_batch(images, **QUICK),
    ):
        assert isinstance(found, list)
        assert all(np.array_equal(one, two) for one, two in zip(found, expected, strict=True))
    for image, one, bias in zip(images, corrected, biases, strict=True):
        np.testing.assert_allclose(one, image / np.exp(bias), rtol=1e-6)


def test_masks_of_a_list_are_for_all_or_one_for_each() -> None:
    images = [make_image((12, 13, 14), seed) for seed in (1, 2)]
    mask = images[0] > 100
    for masks in ("all", mask, [mask, None], ["all", mask]):
        each = masks if isinstance(masks, list) else [masks] * 2
        expected = [n4ax.n4(image, one, **QUICK) for image, one in zip(images, each, strict=True)]
        found = n4ax.n4(images, masks, **QUICK)
        assert all(np.array_equal(one, two) for one, two in zip(found, expected, strict=True))
    with pytest.raises(ValueError, match="mask has 3 entries for 2 images"):
        n4ax.n4(images, [mask] * 3, **QUICK)
    with pytest.raises(ValueError, match="image 1: image has"):
        n4ax.n4([images[0], np.full_like(images[0], np.nan)], "all", **QUICK)


def test_a_list_of_numbers_is_one_image() -> None:
    image = make_image((9, 10)).astype(float)
    assert np.array_equal(n4ax.n4(image.tolist(), "all", **QUICK), n4ax.n4(image, "all", **QUICK))


# ---- series ----------------------------------------------------------------------------------


def make_series(order: str) -> tuple[Array, list[Array]]:
    volumes = [make_image((12, 13, 14), seed) * (1 + 0.1 * seed) for seed in (0, 1, 2)]
    return np.stack(volumes, axis=-1 if order == "F" else 0), volumes


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
def test_series_of_arrays(order: Any, library: Any) -> None:
    series, volumes = make_series(order)
    keywords = QUICK | {"voxel_order": order}
    axis = -1 if order == "F" else 0
    mean = np.mean(volumes, axis=0, dtype=np.float64).astype(np.float32)
    for word, source in (
        ("mean", mean),
        ("first", volumes[0]),
        (2, volumes[2]),
        ((1,), volumes[1]),
    ):
        one = n4ax.fit(source, "otsu", **keywords)
        expected = np.stack([one.field.apply(volume) for volume in volumes], axis=axis)
        found, bias = n4ax.n4(library(series), series=word, return_bias=True, **keywords)
        assert isinstance(found, type(library(series)))
        # A JAX array is divided by XLA, whose exponential rounds in its own way.
        np.testing.assert_allclose(found, expected, rtol=0 if library is np.asarray else 3e-7)
        np.testing.assert_allclose(bias, one.log_bias, atol=0 if library is np.asarray else 1e-7)
        result = n4ax.fit(library(series), series=word, **keywords)
        assert np.array_equal(np.asarray(result.corrected), np.asarray(found))
        assert result.iterations == one.iterations
        assert result.mask.shape == source.shape
    each = [n4ax.fit(volume, **keywords) for volume in volumes]
    found, bias = n4ax.n4(library(series), series="each", return_bias=True, **keywords)
    assert np.array_equal(np.asarray(found), np.stack([one.corrected for one in each], axis=axis))
    biases = np.stack([one.log_bias for one in each], axis=axis)
    np.testing.assert_allclose(bias, biases, atol=0 if library is np.asarray else 1e-7)
    results = n4ax.fit(library(series), series="each", **keywords)
    assert [result.iterations for result in results] == [one.iterations for one in each]


def test_series_of_images_keep_their_library(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    series, volumes = make_series("F")
    image = nib.Nifti1Image(series, AFFINE)
    image.header.set_zooms((2.0, 2.5, 3.0, 1.5))
    path = tmp_path / "bold.nii.gz"
    nib.save(image, path)
    other = sitk.GetImageFromArray(np.ascontiguousarray(series.T), isVector=False)
    other.SetSpacing((2.0, 2.5, 3.0, 1.5))
    one = n4ax.fit(nib.Nifti1Image(volumes[0], AFFINE), **QUICK)
    expected = np.stack([one.field.apply(volume) for volume in volumes], axis=-1)
    for given in (image, path, nib.load(path)):
        found, bias = n4ax.n4(given, series="first", return_bias=True, **QUICK)
        assert np.array_equal(np.asarray(found.dataobj), expected)
        assert found.header.get_zooms() == (2.0, 2.5, 3.0, 1.5)
        assert bias.shape == volumes[0].shape
        assert n4ax.fit(given, series="first", **QUICK).mask.shape == volumes[0].shape
    corrected = n4ax.n4(other, series="first", **QUICK)
    assert corrected.GetSpacing() == other.GetSpacing()
    np.testing.assert_allclose(sitk.GetArrayFromImage(corrected).T, expected, rtol=1e-6)
    each = n4ax.n4(path, series="each", **QUICK)
    assert each.shape == series.shape


def test_series_by_the_b_values_beside_the_file(tmp_path: Path) -> None:
    series, _ = make_series("F")
    nib.save(nib.Nifti1Image(series, AFFINE), tmp_path / "dwi.nii.gz")
    (tmp_path / "dwi.bval").write_text("0 1000 5\n")
    found = n4ax.n4(tmp_path / "dwi.nii.gz", series="b0", **QUICK)
    for numbers in ((0, 2), [0, 2], np.flatnonzero(np.array([0, 1000, 5]) <= 50)):
        expected = n4ax.n4(nib.Nifti1Image(series, AFFINE), series=numbers, **QUICK)
        assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    with pytest.raises(ValueError, match=r"series is 'b0', which is for the path of an image"):
        n4ax.n4(series, series="b0", voxel_order="F", **QUICK)


@pytest.mark.parametrize("order", ["C", "F"])
def test_four_axes_need_a_word(order: Any) -> None:
    series, _ = make_series(order)
    image = nib.Nifti1Image(make_series("F")[0], AFFINE)
    for given in (series, jnp.asarray(series), image, [series, series]):
        for function in (n4ax.n4, n4ax.fit):
            with pytest.raises(ValueError, match=r'series of 3 volumes.*"mean".*series="4d"'):
                function(given, voxel_order=order, **QUICK)
    with pytest.raises(ValueError, match="a series of 3 volumes"):
        n4ax.n4_batch([series], voxel_order=order, **QUICK)
    smooth = n4ax.fit(series, series="4d", voxel_order=order, **QUICK)
    assert smooth.log_bias.shape == series.shape
    assert np.array_equal(smooth.field.apply(series), smooth.corrected)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ("median", "series is 'median'; expected"),
        (3, "series is 3; the image has volumes 0 to 2"),
        ((0, 5), "series is 5; the image has volumes 0 to 2"),
        ((), "expected"),
        (1.5, "series is 1.5; expected"),
        (np.array([0.5]), "expected"),
    ],
)
def test_slips_in_series_are_named(series: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        n4ax.n4(make_series("C")[0], series=series, **QUICK)
    with pytest.raises(ValueError, match="a series has an axis beyond the three of space"):
        n4ax.n4(make_image(), series=series, **QUICK)


@pytest.mark.parametrize("outside", ["divide", "keep", "zero"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_field_is_applied_to_every_volume(order: Any, outside: Any) -> None:
    series, volumes = make_series(order)
    result = n4ax.fit(volumes[0], voxel_order=order, **QUICK)
    axis = -1 if order == "F" else 0
    expected = [result.field.apply(one, result.mask, outside=outside) for one in volumes]
    found = result.field.apply(series, result.mask, outside=outside)
    assert np.array_equal(found, np.stack(expected, axis=axis))
    whole = np.stack([result.mask] * 3, axis=axis)
    assert np.array_equal(result.field.apply(series, whole, outside=outside), found)
    if order == "C":  # an image of nibabel has its axes the other way round
        image = nib.Nifti1Image(series.T, AFFINE)
        assert np.array_equal(
            np.asarray(result.field.apply(image).dataobj).T, result.field.apply(series)
        )


# ---- paths -----------------------------------------------------------------------------------


def test_paths_are_images(head: Path) -> None:
    expected = n4ax.n4(nib.load(head), **QUICK)
    mask = head.with_name("mask.nii.gz")
    inside = (make_image() > 100).astype(np.uint8)
    nib.save(nib.Nifti1Image(inside, AFFINE), mask)
    for given in (head, str(head)):
        found = n4ax.n4(given, **QUICK)
        assert isinstance(found, nib.Nifti1Image)
        assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
        masked = n4ax.fit(given, type(given)(mask), **QUICK)
        assert np.array_equal(np.asarray(masked.mask.dataobj), inside)
    both = n4ax.n4([str(head), head], **QUICK)
    assert [type(one) for one in both] == [nib.Nifti1Image] * 2
    batch = n4ax.n4_batch([str(head), head], [mask, str(mask)], **QUICK)
    assert np.array_equal(np.asarray(batch[0].dataobj), np.asarray(masked.corrected.dataobj))
    applied = masked.field.apply(head)
    assert np.array_equal(np.asarray(applied.dataobj), np.asarray(masked.corrected.dataobj))
    assert isinstance(n4ax.otsu_mask(str(head)), nib.Nifti1Image)


def test_paths_of_freesurfer_and_of_nothing(head: Path) -> None:
    image = nib.load(head)
    volume = head.with_name("head.mgz")
    nib.save(nib.MGHImage(np.asarray(image.dataobj), AFFINE), volume)
    assert isinstance(n4ax.n4(volume, **QUICK), nib.MGHImage)
    with pytest.raises(FileNotFoundError, match=r"image is '.*missing\.nii', and there is no"):
        n4ax.n4(head.with_name("missing.nii"))
    with pytest.raises(FileNotFoundError, match=r"mask is 'brain\.nii\.gz', and there is no"):
        n4ax.n4(head, "brain.nii.gz")
    with pytest.raises(IsADirectoryError, match="which is a folder"):
        n4ax.n4(head.parent)
    head.write_bytes(b"no image at all")
    with pytest.raises(ValueError, match=r"head\.nii\.gz cannot be read as NIfTI"):
        n4ax.n4(head)


# ---- what is no image, and masks -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "image is None; expected an array, an image of nibabel"),
        (["a", "b"], "image is a list that is not made of numbers alone"),
        ([None, None], "image is a list that is not made of numbers alone"),
        ([[1.0, 2.0], [3.0]], "image is a list that is not made of numbers alone"),
        ([np.ones((4, 4)), None], "image is a list that is not made of numbers alone"),
        (
            {"t1": np.ones((4, 4))},
            "image is a dictionary with the keys 't1': pass one",
        ),
        (b"bytes", "image is of type bytes"),
        ({1, 2}, "image is of type set"),
        ((n for n in range(3)), "image is of type generator"),
    ],
)
def test_what_is_no_image_says_what_to_pass(given: Any, words: str) -> None:
    for function in (n4ax.n4, n4ax.fit):
        with pytest.raises(TypeError) as raised:
            function(given)
        assert words in str(raised.value)
    with pytest.raises(TypeError):
        n4ax.n4_batch(given if isinstance(given, dict) else None)
    field = n4ax.fit(make_image((12, 13)), "all", **QUICK).field
    with pytest.raises(TypeError) as raised:
        field.apply(given)
    assert words in str(raised.value)


@pytest.mark.parametrize("engine", ["cpu", "xla"])
def test_masked_voxels_are_left_out(engine: Any) -> None:
    image = make_image()
    image[2:5, 3:6] = np.nan
    masked = np.ma.masked_invalid(image)
    valid = ~np.ma.getmaskarray(masked)
    inside = np.where(valid, image, 0) > 100
    for mask, expected in (("all", valid), (inside, inside), (np.ones(image.shape), valid)):
        found = n4ax.fit(masked, mask, engine=engine, **QUICK)
        assert np.array_equal(found.mask.data, expected)
        assert isinstance(found.corrected, np.ma.MaskedArray)
        assert np.array_equal(found.corrected.mask, masked.mask)
        filled = np.where(valid, image, 0.0)
        same = n4ax.n4(filled, expected, engine=engine, **QUICK)
        assert np.array_equal(found.corrected.data[valid], same[valid])
    otsu = n4ax.fit(masked, engine=engine, **QUICK).mask
    assert not otsu.data[~valid].any()
    assert otsu.data.any()
    labels = np.where(inside, 3, 1)
    assert np.array_equal(n4ax.fit(masked, labels, mask_label=3, **QUICK).mask.data, inside)
    cut = np.ma.array(np.ones(image.shape), mask=~inside)
    assert np.array_equal(n4ax.fit(np.where(valid, image, 1), cut, **QUICK).mask, inside)
    with pytest.raises(ValueError, match="every voxel is masked"):
        n4ax.n4(np.ma.masked_all((8, 9)), **QUICK)


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
def test_a_map_of_probabilities_is_no_mask(library: Any) -> None:
    image = make_image((20, 22))
    probability = library(np.clip(image / 300, 0, 1))
    with pytest.raises(ValueError, match=r"mask has values between 0 and 1, such as 0\.\d+"):
        n4ax.n4(image, probability, **QUICK)
    inside = np.asarray(probability) > 0.5
    expected = n4ax.n4(image, inside, **QUICK)
    # A file may hold 1 as 255 times a rounded slope.
    rounded = np.where(inside, np.float32(255) * np.float32(1 / 255.5) + np.float32(0.0019), 0)
    assert np.array_equal(n4ax.n4(image, rounded, **QUICK), expected)
    assert np.array_equal(n4ax.n4(image, np.where(inside, 2.5, 0), **QUICK), expected)


def test_one_word_for_the_whole_image() -> None:
    image = make_image((20, 22))
    assert np.array_equal(n4ax.n4(image, "none", **QUICK), n4ax.n4(image, "all", **QUICK))
    with pytest.raises(ValueError, match="mask is 'brain'; expected an array"):
        n4ax.n4(image, "brain", **QUICK)


# ---- what comes back -------------------------------------------------------------------------


def test_results_are_shown_in_a_line() -> None:
    image = make_image()
    result = n4ax.fit(image, shrink_factor=2, **QUICK)
    assert repr(N4Settings()) == "N4Settings()"
    assert repr(N4Settings(shrink_factor=4)) == "N4Settings(shrink_factor=4)"
    assert repr(result.field) == (
        "<BiasField: 5 x 5 x 5 control points of order 3, image of (14, 17, 19)>"
    )
    assert repr(result) == (
        "<N4Result: ndarray of shape (14, 17, 19), iterations per level: 4 (iteration limit), "
        "3 (iteration limit), N4Settings(iters=(4, 3), conv_threshold=0.0, shrink_factor=2)>"
    )


@pytest.mark.parametrize("shape", [(30, 32), (14, 17, 19)])
@pytest.mark.parametrize("outside", ["divide", "zero"])
def test_notebooks_show_a_picture(shape: tuple[int, ...], outside: Any) -> None:
    result = n4ax.fit(make_image(shape), outside=outside, **QUICK)
    page = result._repr_html_()
    assert page is not None
    assert 'src="data:image/png;base64,iVBOR' in page
    assert "&lt;N4Result" in page


def test_results_can_be_compared_and_put_into_sets() -> None:
    one, two = (n4ax.fit(make_image((12, 13)), "all", **QUICK) for _ in range(2))
    assert one == one
    assert one != two
    assert len({one, two, one.field, two.field}) == 4


def test_help_begins_with_words() -> None:
    for function in (n4ax.n4, n4ax.fit, n4ax.n4_batch):
        page = pydoc.plain(pydoc.render_doc(function))
        head, _, _ = page.partition(str(function.__doc__).splitlines()[0])
        assert len(re.sub(r"\s+", " ", head)) < 800
        assert "|" not in head
        assert "Union" not in head
        assert "iters" in inspect.signature(function).parameters


def test_dir_holds_what_is_public() -> None:
    names = [name for name in dir(n4ax) if not name.startswith("__")]
    assert names == sorted(n4ax.__all__)


# ---- fields from files -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order": 5}, "a spline of order 5 needs 6 on each axis"),
        ({"order": 2.5}, "order is 2.5"),
        ({"control_points": np.ones((5, 5), np.float32)}, "3 axes"),
        ({"control_points": np.ones((5, 5, 5))}, "expected float32"),
        ({"control_points": np.full((5, 5, 5), np.nan, np.float32)}, "NaN or infinite"),
        ({"shape": (14, 17, 20)}, "axes"),
        ({"shape": ()}, "shape"),
        ({"voxel_order": "A"}, "voxel_order is 'A'"),
        ({"affine": np.eye(3)}, "affine has shape (3, 3)"),
        (
            {"axes": ((14, 0, 0, 0, 0, 14), (17, 0, 0, 1, 0, 17), (19, 0, 0, 1, 0, 19))},
            "sample an axis",
        ),
    ],
)
def test_parts_of_a_field_that_do_not_fit_are_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    result = n4ax.fit(make_image(), **QUICK)
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    result.field.save(good)
    assert np.array_equal(BiasField.load(good).evaluate(), result.field.evaluate())
    with np.load(good) as content:
        parts = {**content, **{name: np.array(value) for name, value in change.items()}}
    np.savez(bad, **parts)
    with pytest.raises(ValueError, match=r"bad\.npz is not a bias field saved by n4ax") as raised:
        BiasField.load(bad)
    assert words in str(raised.value)


def test_fields_check_engine_and_threads() -> None:
    field = n4ax.fit(make_image((12, 13)), "all", **QUICK).field
    with pytest.raises(ValueError, match="engine is 'XLA'"):
        field.evaluate(engine="XLA")  # type: ignore[arg-type]
    for call in (field.evaluate, lambda **k: field.apply(np.ones((12, 13)), **k)):
        with pytest.raises(ValueError, match=r"num_threads is 0\.5"):
            call(num_threads=0.5)


def test_inside_jax_programs_only_whole_series_work() -> None:
    import jax

    series = jnp.asarray(make_series("C")[0])
    smooth = jax.jit(lambda image: n4ax.n4(image, "all", series="4d", **QUICK))(series)
    assert smooth.shape == series.shape
    with pytest.raises(ValueError, match=r'inside JAX programs only series="4d" works'):
        jax.jit(lambda image: n4ax.n4(image, series="mean", **QUICK))(series)
    with pytest.raises(ValueError, match="a series of 3 volumes"):
        jax.jit(lambda image: n4ax.n4(image, **QUICK))(series)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ["ants", "xarray", "xarray turned", "dask", "zarr", "torch"])
@pytest.mark.parametrize("word", ["mean", "first", "each", (0, 2)])
def test_series_of_every_library(library: str, word: Any) -> None:
    series, _ = make_series("F")
    pytest.importorskip(library.partition(" ")[0])
    turned = np.ascontiguousarray(series.T)
    given, order = make_series_of(library, series, turned)
    keywords = QUICK | {"voxel_order": order}
    found = n4ax.n4(given, "all", series=word, **keywords)
    expected = n4ax.n4(turned if order == "C" else series, "all", series=word, **keywords)
    values = found.numpy() if hasattr(found, "numpy") else np.asarray(found)
    assert np.array_equal(values, expected)
    # dask stays lazy, and so does zarr, for which dask stands in.
    assert type(found).__name__ == ("Array" if library == "zarr" else type(given).__name__)


def make_series_of(library: str, series: Array, turned: Array) -> tuple[Any, Any]:
    """A series of a library, and which of its axes is x."""
    if library == "ants":
        import ants

        return ants.from_numpy(series), "F"
    if library == "torch":
        import torch

        return torch.from_numpy(turned), "C"
    if library == "zarr":
        import zarr

        return zarr.array(turned, chunks=(1, 14, 13, 12)), "C"
    if library == "dask":
        import dask.array

        return dask.array.from_array(turned, chunks=(1, 7, 13, 12)), "C"
    import xarray

    if library == "xarray":
        return xarray.DataArray(series, dims=("x", "y", "z", "t")), "F"
    return xarray.DataArray(turned, dims=("t", "z", "y", "x")), "C"


ONE = np.random.default_rng(1).uniform(50, 90, (6, 6, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"engine": np.arange(3)}, "^engine is "),
        ({"preset": ["ants", "fast"]}, "^preset is "),
        ({"num_threads": 10**400}, None),
        ({"num_threads": "2"}, "^num_threads is '2'"),
        ({"spacing": slice(1)}, "^spacing is "),
        ({"spacing": "1"}, "^spacing is "),
        ({"spacing": (1, 1, 1e-300)}, "^spacing is "),
        ({"spacing": 10**400}, "^spacing is "),
        ({"mask_label": 10**400}, "^mask_label is "),
        ({"progress": []}, "^progress is of type list"),
    ],
)
def test_an_argument_of_another_kind_is_refused_by_name(
    keywords: dict[str, Any], expected: str | None
) -> None:
    if expected is None:
        assert n4ax.n4(ONE, "all", iters=(1,), **keywords).shape == ONE.shape
        return
    with pytest.raises((ValueError, TypeError), match=expected):
        n4ax.n4(ONE, "all", iters=(1,), **keywords)


@pytest.mark.filterwarnings("error")
def test_weights_of_half_precision_are_taken_without_a_warning() -> None:
    n4ax.n4(ONE, "all", weights=np.ones(ONE.shape, np.float16), iters=(1,))


@pytest.mark.filterwarnings("error")
def test_a_masked_array_of_huge_values_gives_no_warning() -> None:
    huge = np.ma.masked_less(ONE.astype(float) * 1e306, 6e307)
    with pytest.raises(ValueError, match=r"largest number in single precision|voxel"):
        n4ax.n4(huge, iters=(1,))


@pytest.mark.parametrize("images", [3, 0.5, None, "i.nii", {1, 2}, b"ab"])
def test_what_is_no_batch_is_refused(images: Any) -> None:
    with pytest.raises(TypeError, match=r"^images is of type"):
        n4ax.n4_batch(images, "all")


def test_a_batch_of_no_images_is_refused_if_it_is_an_array() -> None:
    with pytest.raises(ValueError, match=r"^images has shape"):
        n4ax.n4_batch(np.empty((0, 4, 4)), "all")


def test_masks_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^masks is 3; expected one for each of 2 images"):
        n4ax.n4_batch([ONE, ONE], 3)


def test_a_series_of_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^image has dtype <U2; expected real numbers"):
        n4ax.n4(np.full((3, 3, 3, 2), "ab"), "all", series="mean")


def test_labels_beyond_the_type_of_an_image_raise_nothing() -> None:
    image = make_image()
    with pytest.raises(ValueError, match="mask has no voxel equal to mask_label=1000000"):
        n4ax.n4(image, np.ones(image.shape, np.float16), mask_label=10**6)
    tissues = np.ones(image.shape)
    tissues[7:], tissues[0] = 2, np.inf
    assert n4ax.fit(image, "all", tissues=tissues, iters=(2,)).iterations == [2]
