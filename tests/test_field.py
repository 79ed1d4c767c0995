"""The field as a spline: elsewhere, on other images, in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import n4ax
from n4ax import BiasField

AFFINE = np.array([[0.0, -2, 0, 60], [1.5, 0, 0, -20], [0, 0.3, 2.5, 5], [0, 0, 0, 1.0]])


def image(shape: tuple[int, ...] = (22, 26, 30)) -> npt.NDArray[np.float32]:
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.5, radius < 0.9], [800.0, 400.0], 60.0)
    noise = np.random.default_rng(0).normal(0, 8, shape)
    return (tissue * np.exp(0.4 * at[0] - 0.3 * at[-1]) + noise).clip(1).astype(np.float32)


def fitted(**keywords: Any) -> n4ax.N4Result:
    keywords = {"iters": (5, 5), "conv_threshold": 0.0} | keywords
    return n4ax.fit(image(), "all", affine=AFFINE, **keywords)


@pytest.mark.parametrize("shape", [(44, 52, 60), (11, 40, 7), (22, 26, 30)])
def test_evaluation_on_another_grid_is_simpleitks(shape: tuple[int, ...]) -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(16)
    itk = sitk.N4BiasFieldCorrectionImageFilter()
    itk.SetMaximumNumberOfIterations([5, 5])
    itk.SetConvergenceThreshold(0.0)
    itk.Execute(sitk.GetImageFromArray(image()))
    reference = sitk.GetImageFromArray(np.zeros(shape, np.float32))
    expected = sitk.GetArrayFromImage(itk.GetLogBiasFieldAsImage(reference))
    np.testing.assert_allclose(fitted().field.evaluate(shape), expected, atol=5e-6)


def itk_field(
    given: npt.NDArray[np.float32],
    mask: npt.NDArray[Any],
    shape: tuple[int, ...],
    *,
    iters: tuple[int, ...],
    order: int,
    control_points: tuple[int, ...],
) -> npt.NDArray[np.float32]:
    """SimpleITK's log field on a grid of ``shape``; everything in the order of the array."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(16)
    itk = sitk.N4BiasFieldCorrectionImageFilter()
    itk.SetMaximumNumberOfIterations(iters)
    itk.SetConvergenceThreshold(0.0)
    itk.SetSplineOrder(order)
    itk.SetNumberOfControlPoints(control_points[::-1])
    itk.Execute(sitk.GetImageFromArray(given), sitk.GetImageFromArray(mask.astype(np.uint8)))
    reference = sitk.GetImageFromArray(np.zeros(shape, np.float32))
    return sitk.GetArrayFromImage(itk.GetLogBiasFieldAsImage(reference))


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_evaluation_of_every_order_is_simpleitks(order: int) -> None:
    given, points = image((30, 41)), (order + 1, order + 3)
    field = n4ax.fit(
        given, "all", iters=(3, 2), conv_threshold=0, spline_order=order, control_points=points
    ).field
    for shape in ((30, 41), (7, 90)):
        expected = itk_field(
            given, np.ones((30, 41)), shape, iters=(3, 2), order=order, control_points=points
        )
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(field.evaluate(shape), expected, atol=1e-5)


def test_field_of_a_spline_distance_is_simpleitks_of_an_image_padded_by_hand() -> None:
    given = image((30, 41))
    result = n4ax.fit(
        given, "all", iters=(3, 2), conv_threshold=0, spline_distance=20.0, spacing=1.0
    )
    padding = [(axis.lower, axis.upper) for axis in result.field.axes]
    assert padding == [(5, 6), (0, 0)]
    padded, mask = np.pad(given, padding), np.pad(np.ones((30, 41)), padding)
    expected = itk_field(padded, mask, padded.shape, iters=(3, 2), order=3, control_points=(5, 5))
    np.testing.assert_allclose(result.log_bias, expected[5:35], atol=1e-5)


@pytest.mark.parametrize("order", ["C", "F"])
def test_saved_field_is_the_same_field(tmp_path: Path, order: Any) -> None:
    field = fitted(voxel_order=order, shrink_factor=2, spline_distance=30, spacing=2.0).field
    field.save(tmp_path / "field.npz")
    loaded = BiasField.load(tmp_path / "field.npz")
    assert np.array_equal(loaded.evaluate(), field.evaluate())
    assert np.array_equal(loaded.evaluate((9, 8, 7)), field.evaluate((9, 8, 7)))
    assert (loaded.axes, loaded.shape, loaded.order) == (field.axes, field.shape, field.order)
    assert loaded.voxel_order == order
    np.testing.assert_array_equal(loaded.affine, AFFINE)
    assert [path.name for path in tmp_path.iterdir()] == ["field.npz"]


def test_other_files_are_not_fields(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=1)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("no")
    (tmp_path / "empty.npz").touch()
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) == 4
    for name in names:
        with pytest.raises(ValueError, match=f"{name} is not a bias field"):
            BiasField.load(tmp_path / name)


def test_damaged_files_are_not_fields_and_missing_ones_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "field.npz"
    n4ax.fit(image((12, 13)), "all", iters=(1,)).field.save(path)
    whole = path.read_bytes()
    middle = len(whole) // 5
    flipped = whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 40])
    for damaged in (whole[: len(whole) // 2], flipped + whole[middle + 40 :]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"field\.npz is not a bias field"):
            BiasField.load(path)
    with pytest.raises(FileNotFoundError):
        BiasField.load(tmp_path / "nothing.npz")


def test_field_without_an_affine_is_saved_under_the_very_name_that_is_given(tmp_path: Path) -> None:
    field = n4ax.fit(image((12, 13)), "all", iters=(1,)).field
    field.save(str(tmp_path / "field"))
    loaded = BiasField.load(str(tmp_path / "field"))
    assert loaded.affine is None
    assert loaded.shape == (12, 13)
    assert np.array_equal(loaded.control_points, field.control_points)
    assert loaded.control_points.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_apply_divides_as_simpleitk_does(dtype: Any) -> None:
    given = image((24, 30))
    itk = sitk.N4BiasFieldCorrectionImageFilter()
    itk.SetMaximumNumberOfIterations([4])
    itk.SetConvergenceThreshold(0.0)
    expected = sitk.GetArrayFromImage(itk.Execute(sitk.GetImageFromArray(given.astype(dtype))))
    field = n4ax.fit(given, "all", iters=(4,), conv_threshold=0).field
    corrected = field.apply(given.astype(dtype))
    assert corrected.dtype == expected.dtype == dtype
    np.testing.assert_allclose(corrected, expected, rtol=2e-6)


def test_apply_divides_any_type_and_treats_the_outside() -> None:
    result = fitted()
    whole = np.rint(image()).astype(np.int16)
    factor = np.exp(result.log_bias.astype(np.float64))
    np.testing.assert_allclose(result.field.apply(whole), whole / factor, rtol=1e-6)
    wide = result.field.apply(whole.astype(np.float64))
    assert wide.dtype == np.float64
    mask = image() > 300
    kept = result.field.apply(whole, mask, outside="keep")
    assert np.array_equal(kept[~mask], whole[~mask])
    assert not result.field.apply(whole, mask, outside="zero")[~mask].any()


def test_apply_refuses_what_does_not_fit() -> None:
    field = fitted().field
    with pytest.raises(ValueError, match="no mask is given"):
        field.apply(image(), outside="zero")
    with pytest.raises(ValueError, match="mask has shape"):
        field.apply(image(), np.ones((3, 3, 3)), outside="zero")
    with pytest.raises(ValueError, match="does not fit a field of 3 axes"):
        field.apply(np.ones((5, 5)))
    with pytest.raises(ValueError, match="outside is 'nothing'; expected 'divide'"):
        field.apply(image(), image() > 0, outside="nothing")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="complex"):
        field.apply(image().astype(complex))


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_evaluation_in_space_is_the_stretch_where_nothing_was_shrunk(order: int) -> None:
    field = fitted(spline_order=order, control_points=7).field
    inner = (slice(None, -1),) * 3  # the stretch takes the last voxel 1e-3 voxels inwards (ITK)
    for found in (field.evaluate_at(image().shape), field.evaluate_at(image().shape, AFFINE)):
        np.testing.assert_allclose(found[inner], field.evaluate()[inner], atol=2e-6)
        np.testing.assert_allclose(found, field.evaluate(), atol=3e-4)


def test_evaluation_in_space_follows_flips_shifts_and_finer_grids() -> None:
    field = fitted().field
    own = field.evaluate()
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = 21
    np.testing.assert_allclose(field.evaluate_at((22, 26, 30), AFFINE @ flip), own[::-1], atol=2e-5)
    shift = np.eye(4)
    shift[:3, 3] = 2, 3, 4
    shifted = field.evaluate_at((10, 10, 10), AFFINE @ shift)
    np.testing.assert_allclose(shifted, own[2:12, 3:13, 4:14], atol=2e-5)
    finer = field.evaluate_at((43, 51, 59), AFFINE @ np.diag([0.5, 0.5, 0.5, 1]))
    np.testing.assert_allclose(finer[::2, ::2, ::2], own, atol=2e-5)
    beyond = field.evaluate_at((40, 26, 30), AFFINE)
    np.testing.assert_allclose(beyond[30], own[21], atol=2e-5)


def test_after_shrinking_the_stretch_and_the_true_places_differ() -> None:
    field = fitted(shrink_factor=3).field
    axis = field.axes[0]
    assert (axis.samples, axis.shrink) == (7, 3)
    places = field.evaluate_at(image().shape)
    stretch = field.evaluate()
    assert np.abs(places - stretch).max() > 1e-3
    # Where the axes were sampled, the true places are the fit's own coordinates.
    taken = tuple(a.sampled_voxels for a in field.axes)
    on_samples = field.evaluate(tuple(a.samples for a in field.axes))
    np.testing.assert_allclose(places[taken], on_samples, atol=2e-5)


def test_axes_of_length_one_stay() -> None:
    flat = image((24, 30))
    result = n4ax.fit(flat[:, None], "all", iters=(4,), conv_threshold=0)
    assert result.field.evaluate().shape == (24, 1, 30)
    assert result.field.evaluate((48, 1, 60)).shape == (48, 1, 60)
    assert result.field.evaluate((48, 60)).shape == (48, 60)
    assert result.field.evaluate_at((24, 1, 30)).shape == (24, 1, 30)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(5, 1, 7), (1, 24, 30), (24, 30, 1), (1, 6, 1, 7), (6, 7, 1, 8)])
def test_axes_of_length_one_change_nothing(shape: tuple[int, ...], order: Any) -> None:
    flat = image(tuple(n for n in shape if n != 1))
    keywords: dict[str, Any] = {"iters": (3,), "conv_threshold": 0, "voxel_order": order}
    thin = n4ax.fit(flat.reshape(shape), "all", **keywords)
    plain = n4ax.fit(flat, "all", **keywords)
    assert thin.corrected.shape == thin.log_bias.shape == shape
    assert np.array_equal(thin.corrected.reshape(flat.shape), plain.corrected)
    assert np.array_equal(thin.log_bias.reshape(flat.shape), plain.log_bias)
    np.testing.assert_allclose(thin.field.evaluate_at(shape), thin.log_bias, atol=1e-3)


def test_voxel_order_f_is_the_transposed_problem() -> None:
    given = image((12, 15, 18))
    turned = n4ax.fit(given, "all", iters=(3, 2), conv_threshold=0, voxel_order="F")
    plain = n4ax.fit(given.T, "all", iters=(3, 2), conv_threshold=0)
    assert np.array_equal(turned.log_bias, plain.log_bias.T)
    assert np.array_equal(turned.field.evaluate((9, 20, 7)), plain.field.evaluate((7, 20, 9)).T)


def test_grids_that_do_not_fit_are_refused() -> None:
    field = fitted().field
    with pytest.raises(ValueError, match="does not fit a field of 3 axes"):
        field.evaluate((5, 5))
    with pytest.raises(ValueError, match="the field's image has 3 axes"):
        field.evaluate_at((5, 5))
    with pytest.raises(ValueError, match=r"affine has shape \(3, 3\)"):
        field.evaluate_at((5, 5, 5), np.eye(3))


def test_affine_without_one_of_its_own_is_refused() -> None:
    field = n4ax.fit(image(), "all", iters=(1,)).field
    with pytest.raises(ValueError, match="does not know where its own image lies"):
        field.evaluate_at(image().shape, np.eye(4))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (3.5, "whole numbers"),
        ("xyz", "whole numbers"),
        (None, "whole numbers"),
        ((4, 0, 4), "at least 1"),
        ((10**9,) * 3, "at most 6.9e\\+10 voxels"),
        ((10**400,) * 3, "at most 6.9e\\+10 voxels"),
        ([[4], [4]], "whole numbers"),
    ],
)
def test_what_is_no_shape_of_a_grid_is_refused(shape: Any, expected: str) -> None:
    field = fitted().field
    with pytest.raises(ValueError, match=f"^shape is .*{expected}"):
        field.evaluate_at(shape)
    if shape is not None:  # the shape of its own image
        with pytest.raises(ValueError, match=f"^shape is .*{expected}"):
            field.evaluate(shape)


def test_an_image_without_voxels_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit a field"):
        fitted().field.apply(np.zeros((0, 26, 30)))


def test_a_series_without_volumes_is_refused() -> None:
    field = fitted().field
    with pytest.raises(ValueError, match="image is a series of 0 volumes; give at least one"):
        field.apply(np.ones((0, *field.shape), np.float32))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "affine",
    ["x", np.zeros((4, 4)), np.eye(4) * 1e300, [[10**400]], np.eye(3), np.eye(4).astype(str)],
)
def test_an_affine_that_leads_nowhere_is_refused(affine: Any) -> None:
    with pytest.raises(ValueError, match=r"^affine "):
        fitted().field.evaluate_at((4, 4, 4), affine)


def test_a_mask_that_holds_no_real_numbers_is_refused() -> None:
    mask = np.zeros((22, 26, 30), "f4,i2")
    with pytest.raises(ValueError, match=r"^mask has dtype"):
        fitted().field.apply(image(), mask, outside="keep")


@pytest.mark.parametrize("path", [3, None, b"field.npz", ["field.npz"]])
def test_what_is_no_name_of_a_file_is_refused(path: Any) -> None:
    with pytest.raises(TypeError, match=f"^path is of type {type(path).__name__}"):
        fitted().field.save(path)
    with pytest.raises(TypeError, match=f"^path is of type {type(path).__name__}"):
        BiasField.load(path)


@pytest.mark.filterwarnings("error")
def test_the_field_in_the_arithmetic_of_itk_has_a_grid_of_one_voxel_on_an_axis() -> None:
    field = fitted(arithmetic="itk").field
    assert np.isfinite(field.evaluate((1, 5, 6))).all()


@pytest.mark.parametrize(
    ("name", "value"), [("shape", 3), ("axes", "xyz"), ("axes", 3), ("order", None)]
)
def test_parts_of_another_kind_make_no_field(name: str, value: Any) -> None:
    parts = {**vars(fitted().field), name: value}
    with pytest.raises(ValueError, match=f"^{name} is "):
        BiasField(**parts)
