"""ANTsPy's functions give the same results on every kind of image."""

from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax.ants
from n4ax.ants.functions import find_quantiles
from tests.support.ants import SPACING, phantom

ONCE: dict[str, Any] = {"convergence": {"iters": [2], "tol": 0}, "shrink_factor": 2}


def scan(kind: Any = nib.Nifti1Image, shift: float = 0.0, shape: tuple[int, ...] = ()) -> Any:
    """The phantom as a nibabel image."""
    affine = np.array([[-2.0, 0, 0, 20 + shift], [0, 0, 2.5, -9], [0, 2, 0, 4], [0, 0, 0, 1]])
    voxels = phantom()
    return kind(voxels.reshape(shape or voxels.shape), affine)


@pytest.fixture(scope="module")
def antspy() -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("ants")


KEYWORDS: list[dict[str, Any]] = [
    {"convergence": {"iters": [4, 4], "tol": 1e-7}},
    {"convergence": {"iters": [5], "tol": 0}, "spline_param": 40, "shrink_factor": 2},
    {
        "convergence": {"iters": [5], "tol": 0}, "spline_param": (2, 1, 2), "shrink_factor": 3,
        "rescale_intensities": True,
    },
]  # fmt: skip


@pytest.mark.parametrize("keywords", KEYWORDS)
@pytest.mark.parametrize("return_bias_field", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_function_gives_the_images_of_antspy(
    antspy: Any, keywords: dict[str, Any], return_bias_field: bool, masked: bool
) -> None:
    image = antspy.from_numpy(phantom(), spacing=SPACING, origin=(3.0, -20.0, 7.0))
    keywords = {**keywords, "return_bias_field": return_bias_field}
    if masked:
        inside = np.zeros(image.shape, np.float32)
        inside[3:-3, 3:-3, 2:-2] = 1
        keywords["mask"] = image.new_image_like(inside)
        keywords["weight_mask"] = image.new_image_like(inside * 0.5)
    expected = antspy.n4_bias_field_correction(image, **keywords)
    ours = n4ax.ants.n4_bias_field_correction(image, **keywords)
    assert isinstance(ours, type(image))
    assert antspy.image_physical_space_consistency(ours, image)
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=2e-5)


def test_function_works_on_arrays_and_nibabel_images(capsys: pytest.CaptureFixture[str]) -> None:
    image = phantom()
    keywords: dict[str, Any] = {"convergence": {"iters": [3], "tol": 0}, "spline_param": 40}
    by_array = n4ax.ants.n4_bias_field_correction(image, spacing=SPACING, **keywords)
    scan = nib.Nifti1Image(image, np.diag([*SPACING, 1.0]))
    by_scan = n4ax.ants.n4_bias_field_correction(scan, verbose=True, **keywords)
    assert "Iteration 3 (of 3)" in capsys.readouterr().out
    assert isinstance(by_scan, nib.Nifti1Image)
    np.testing.assert_allclose(np.asarray(by_scan.dataobj), by_array, rtol=1e-4)
    assert by_array.dtype == np.float32


def test_signatures_are_antspys(antspy: Any) -> None:
    import inspect

    for name in ("n4_bias_field_correction", "abp_n4"):
        theirs = inspect.signature(getattr(antspy, name)).parameters
        ours = inspect.signature(getattr(n4ax.ants, name)).parameters
        for parameter in theirs.values():
            default = ours[parameter.name].default
            assert list(ours).index(parameter.name) == list(theirs).index(parameter.name)
            same = dict(default) if parameter.name == "convergence" else default
            assert same == parameter.default


def test_abp_n4_truncates_as_antspy_does(antspy: Any) -> None:
    voxels = phantom((72, 68, 60))
    voxels[:6] = 0
    image = antspy.from_numpy(voxels)
    inside = image.new_image_like((voxels > 0).astype(np.float32))
    ours = n4ax.ants.abp_n4(image, mask=inside).numpy()
    theirs = antspy.abp_n4(image, mask=inside).numpy()
    assert ours.min() == pytest.approx(theirs.min(), rel=1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=2e-3)
    with pytest.raises(ValueError, match="usen3"):
        n4ax.ants.abp_n4(image, usen3=True)


@pytest.mark.parametrize(("lower", "upper", "bins"), [(0.01, 0.999, 256), (0.05, 0.6, 64)])
def test_quantiles_are_those_of_antspy(antspy: Any, lower: float, upper: float, bins: int) -> None:
    voxels = phantom((72, 68, 60))
    voxels[:6] = 0
    image = antspy.from_numpy(voxels)
    cut = antspy.iMath(image, "TruncateIntensity", lower, upper, bins).numpy()
    found = find_quantiles(voxels, lower, upper, bins)
    assert found == pytest.approx((cut.min(), cut.max()), rel=1e-6)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"mask": np.ones((3, 3, 3))}, "mask has shape"),
        ({"mask": np.ones((28, 26))}, "mask has shape"),
        ({"spacing": (1.0, 2.0)}, "one for each of the 3 axes of image"),
        ({"image": nib.Nifti1Image(phantom() * 1j, np.eye(4))}, "image has dtype complex"),
        ({"image": scan(), "mask": scan(shift=30.0)}, "do not occupy the same physical space"),
        ({"image": scan(nib.MGHImage), "mask": scan(shift=30.0)}, "not occupy the same physical"),
        ({"mask": np.zeros((28, 26, 22))}, "mask is empty"),
        ({"spline_param": (1, 2)}, "3 mesh elements"),
        ({"image": phantom() * 1j}, "image has dtype complex"),
        ({"shrink_factor": 30}, "a field needs 2"),
    ],
)
def test_functions_name_what_is_wrong(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        n4ax.ants.n4_bias_field_correction(**{"image": phantom(), **keywords})


def test_components_are_refused(antspy: Any) -> None:
    image = antspy.from_numpy(phantom())
    with pytest.raises(ValueError, match="image has 2 components"):
        n4ax.ants.n4_bias_field_correction(antspy.merge_channels([image, image]))


def test_a_file_with_one_volume_is_a_volume() -> None:
    one = scan(shape=(28, 26, 22, 1))
    found = n4ax.ants.n4_bias_field_correction(one, mask=scan(), **ONCE)
    expected = n4ax.ants.n4_bias_field_correction(scan(), **ONCE)
    assert found.shape == one.shape
    assert np.array_equal(np.asarray(found.dataobj)[..., 0], np.asarray(expected.dataobj))


def test_images_of_every_kind_go_with_masks_of_every_kind(antspy: Any) -> None:
    inside = phantom() > 100
    mask = nib.Nifti1Image(inside.astype(np.uint8), scan().affine)
    expected = n4ax.ants.n4_bias_field_correction(scan(), mask=mask, **ONCE)
    surfer = n4ax.ants.n4_bias_field_correction(scan(nib.MGHImage), mask=mask, **ONCE)
    assert isinstance(surfer, nib.MGHImage)
    assert surfer.get_data_dtype().newbyteorder("=") == np.float32
    np.testing.assert_array_equal(surfer.affine, expected.affine)
    np.testing.assert_allclose(np.asarray(surfer.dataobj), np.asarray(expected.dataobj), rtol=1e-5)
    for given in (mask, inside, antspy.from_numpy(inside.astype(np.float32), origin=(9, 9, 9))):
        found = n4ax.ants.n4_bias_field_correction(phantom(), mask=given, **ONCE)
        np.testing.assert_allclose(found, np.asarray(expected.dataobj), rtol=1e-5)


def test_nan_voxels_are_zeros_with_a_warning() -> None:
    image = phantom()
    image[3, 4, 5] = np.nan
    with pytest.warns(UserWarning, match="image has 1 NaN or infinite voxels") as caught:
        found = n4ax.ants.n4_bias_field_correction(image, **ONCE)
    assert caught[0].filename == __file__
    assert np.isfinite(found).all()


def test_verbose_prints_what_antspy_prints(antspy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    image = antspy.from_numpy(phantom(), spacing=SPACING)
    keywords: dict[str, Any] = {"spline_param": 30, "verbose": True, **ONCE}
    printed = []
    for function in (n4ax.ants.n4_bias_field_correction, antspy.n4_bias_field_correction):
        function(image, **keywords)
        lines = capfd.readouterr().out.splitlines()
        printed.append([line for line in lines if line.split(":")[0].strip() in COMPARED])
    assert printed[0] == printed[1]
    assert len(printed[0]) == len(COMPARED)


COMPARED = {
    "Original intensity range", "Specified spline distance", "original image size",
    "padded image size", "number of control points", "Number of histogram bins", "Spline order",
    "Maximum number of iterations", "Number of fitting levels", "ElapsedIterations",
}  # fmt: skip


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"convergence": 3}, "convergence is 3; expected a dictionary"),
        ({"convergence": {"iters": [2]}}, "expected a dictionary with 'iters' and 'tol'"),
        ({"convergence": {"iters": [2], "tol": "x"}}, "convergence has 'tol' 'x'"),
        ({"convergence": {"iters": [2], "tol": np.nan}}, "convergence has 'tol' nan"),
        ({"spline_param": "x"}, "spline_param is 'x'; expected a distance"),
        ({"spline_param": np.inf}, "spline_param is inf"),
        ({"spline_param": 0.5}, "at least 1 mm"),
        ({"spacing": "x"}, "spacing is 'x'; expected one voxel size"),
        ({"spacing": 0}, "spacing is 0"),
        ({"spacing": 1e308}, "spacing is 1e\\+308"),
        ({"verbose": []}, "verbose is \\[\\]; expected True or False"),
        ({"return_bias_field": "no"}, "return_bias_field is 'no'; expected True or False"),
        ({"rescale_intensities": np.ones(3)}, "rescale_intensities is array"),
    ],
)
def test_an_argument_of_another_kind_is_refused_by_name(
    keywords: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        n4ax.ants.n4_bias_field_correction(phantom(), **{**ONCE, **keywords})


@pytest.mark.parametrize("shape", [(), (5,), (0, 4), (4, 4, 0)])
def test_an_array_that_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image has shape"):
        n4ax.ants.n4_bias_field_correction(np.ones(shape), **ONCE)


def test_a_masked_array_is_not_taken_for_its_data() -> None:
    masked = np.ma.masked_less(phantom(), 40)
    with pytest.raises(ValueError, match="image is a masked array"):
        n4ax.ants.n4_bias_field_correction(masked, **ONCE)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_single_precision_cannot_hold_is_read_as_zero_with_a_warning() -> None:
    image = phantom().astype(float)
    image[3, 3, 3] = 1e300
    with pytest.warns(UserWarning, match="1 NaN or infinite voxels"):
        n4ax.ants.n4_bias_field_correction(image, **ONCE)


@pytest.mark.parametrize("limits", [3, (0.1, 0.9), (0.9, 0.1, 8), (0, 1, 2.5), (0, 1, 1e9), "abc"])
def test_quantiles_of_another_form_are_refused(limits: Any) -> None:
    with pytest.raises(ValueError, match=r"intensity_truncation is .*two quantiles from 0 to 1"):
        n4ax.ants.abp_n4(phantom(), limits)


def test_a_range_too_narrow_for_the_bins_is_refused() -> None:
    image = np.full((6, 6, 6), 1.0, np.float32)
    image[0] = np.nextafter(np.float32(1), np.float32(2))
    with pytest.raises(ValueError, match="too narrow for 256 bins"):
        find_quantiles(image * np.float32(1e-38), 0.1, 0.9, 256)


def test_an_arithmetic_that_is_an_array_is_refused() -> None:
    with pytest.raises(ValueError, match=r"arithmetic is .*; expected one of 'limit', 'itk'"):
        n4ax.ants.n4_bias_field_correction(phantom(), arithmetic=np.arange(3))  # type: ignore[arg-type]
