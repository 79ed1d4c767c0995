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
    (tmp_path / "text.npz").write_text("no")
    for name in ("other.npz", "text.npz"):
        with pytest.raises(ValueError, match=f"{name} is not a bias field"):
            BiasField.load(tmp_path / name)


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
    taken = tuple(a.taken for a in field.axes)
    on_samples = field.evaluate(tuple(a.samples for a in field.axes))
    np.testing.assert_allclose(places[taken], on_samples, atol=2e-5)


def test_axes_of_length_one_stay() -> None:
    flat = image((24, 30))
    result = n4ax.fit(flat[:, None], "all", iters=(4,), conv_threshold=0)
    assert result.field.evaluate().shape == (24, 1, 30)
    assert result.field.evaluate((48, 1, 60)).shape == (48, 1, 60)
    assert result.field.evaluate((48, 60)).shape == (48, 60)
    assert result.field.evaluate_at((24, 1, 30)).shape == (24, 1, 30)


def test_affine_without_one_of_its_own_is_refused() -> None:
    field = n4ax.fit(image(), "all", iters=(1,)).field
    with pytest.raises(ValueError, match="does not know where its own image lay"):
        field.evaluate_at(image().shape, np.eye(4))
