"""N4 from a given field: what is found is added to it, on whatever grid and mesh it comes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import n4ax
from n4ax import BiasField
from n4ax.field.start import express

SHAPE = (18, 20, 22)
QUICK: dict[str, Any] = {"iters": (4, 3, 2), "conv_threshold": 0.0}


def make_image(shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.float32]:
    at = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = np.sqrt(sum(x * x for x in at))
    tissue = np.select([radius < 0.5, radius < 0.9], [800.0, 400.0], 60.0)
    noise = np.random.default_rng(0).normal(0, 8, shape)
    return (tissue * np.exp(0.4 * at[0] - 0.3 * at[-1]) + noise).clip(1).astype(np.float32)


def fit(image: Any = None, **keywords: Any) -> n4ax.N4Result:
    return n4ax.fit(
        make_image() if image is None else image, **{"mask": "all", **QUICK, **keywords}
    )


def nothing_like(field: BiasField) -> BiasField:
    return replace(field, control_points=np.zeros_like(field.control_points))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_field_of_zeros_changes_no_bit(dtype: Any) -> None:
    image = np.rint(make_image()).astype(dtype)
    plain = fit(image, mask="otsu")
    started = fit(image, mask="otsu", init=nothing_like(plain.field))
    assert np.array_equal(started.field.control_points, plain.field.control_points)
    assert np.array_equal(started.corrected, plain.corrected)
    assert started.corrected.dtype == plain.corrected.dtype
    assert started.iterations == plain.iterations


@pytest.mark.parametrize(
    "first",
    [
        {},
        {"iters": (4,)},
        {"iters": (2, 2, 2, 1)},
        {"shrink_factor": 3},
        {"control_points": (4, 5, 7)},
    ],
    ids=["same", "coarser", "finer", "shrunk", "mixed"],
)
def test_field_is_the_first_plus_what_is_found_after_the_division(first: dict[str, Any]) -> None:
    given = fit(**first).field
    rest = fit(given.apply(make_image()))
    whole = fit(init=given)
    assert np.ptp(rest.log_bias) > 0.01
    np.testing.assert_allclose(
        whole.field.evaluate(), given.evaluate() + rest.field.evaluate(), atol=2e-6
    )
    np.testing.assert_allclose(whole.corrected, rest.corrected, rtol=3e-6)
    np.testing.assert_allclose(whole.field.apply(make_image()), whole.corrected, rtol=1e-6)
    assert whole.iterations == rest.iterations


@pytest.mark.parametrize(
    "first", [{"mesh": 3, "iters": (4, 2)}, {"spline_order": 2}, {"mesh": 7, "iters": (3,)}]
)
def test_another_mesh_is_fitted_closely(first: dict[str, Any]) -> None:
    given = fit(**first).field
    rest = fit(given.apply(make_image()))
    whole = fit(init=given)
    gap = whole.field.evaluate() - given.evaluate() - rest.field.evaluate()
    assert np.ptp(given.evaluate()) > 0.3
    assert np.abs(gap).max() < 2e-3
    assert np.sqrt((gap**2).mean()) < 3e-4


def test_a_field_of_2_mm_is_close_on_an_image_of_1_mm() -> None:
    """Both images cover one field of view, so that the corners of their grids differ."""
    coarse, fine = np.diag([2.0, 2, 2, 1]), np.eye(4)
    fine[:3, 3] = -0.5
    given = fit(make_image((18, 20, 22)), affine=coarse, iters=(10, 10, 10)).field
    blank = fit(make_image((36, 40, 44)), affine=fine, iters=(0, 0, 0, 0)).field
    start = express(given, blank)
    expected = given.evaluate_at(blank.shape, fine)
    gap = start.evaluate() - expected
    assert np.ptp(expected) > 0.8
    assert np.abs(gap).max() < 1e-3
    assert np.sqrt((gap**2).mean()) < 2e-4


def test_turned_and_padded_images_take_the_field_where_it_lies() -> None:
    given = fit(affine=np.diag([2.0, 2, 2, 1]), iters=(6, 6)).field
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    turned[:3, 3] = 9, 8, 7
    image = make_image((20, 22, 24))
    padded: dict[str, Any] = {"spline_distance": 15, "spacing": 1.0, "affine": turned}
    whole = fit(image, init=given, **padded)
    expected = given.evaluate_at(image.shape, turned)
    assert max(axis.lower for axis in whole.field.axes) > 1
    blank = nothing_like(whole.field)
    np.testing.assert_allclose(express(given, blank).evaluate(), expected, atol=1.5e-3)
    rest = fit(image / np.exp(expected), **padded)
    np.testing.assert_allclose(whole.log_bias, expected + rest.log_bias, atol=4e-3)
    factor = np.exp(whole.log_bias.astype(np.float64))
    np.testing.assert_allclose(whole.corrected, image / factor, rtol=1e-6)


def test_without_a_place_the_field_is_stretched() -> None:
    given = fit().field
    image = make_image((26, 25, 30))
    whole, rest = fit(image, init=given), fit(given.apply(image))
    np.testing.assert_allclose(
        whole.log_bias, given.evaluate(image.shape) + rest.log_bias, atol=1e-3
    )


def test_levels_and_the_outside_are_those_of_the_whole_field() -> None:
    given, image = fit().field.shift(0.3), make_image()
    mask = image > 300
    whole = fit(image, init=given, mask=mask, scale="mean", outside="keep")
    assert np.array_equal(whole.corrected[~mask], image[~mask])
    np.testing.assert_allclose(whole.corrected[mask].mean(), image[mask].mean(), rtol=1e-5)
    unit = fit(image, init=given, mask=mask, scale="unit-field")
    assert abs(unit.log_bias[mask].mean()) < 1e-5
    again = fit(image, init=given, mask=mask, scale="minmax")
    assert again.corrected[mask].max() == image[mask].max()


def test_the_mask_is_found_on_the_divided_image() -> None:
    image, slope = make_image(), np.linspace(-1.5, 1.5, SHAPE[0])[:, None, None]
    shaded = (image * np.exp(slope)).astype(np.float32)
    steep = fit(np.exp(slope) * np.full(SHAPE, 100.0), iters=(0,)).field
    points = np.linspace(-4.5, 4.5, 4, dtype=np.float32)[:, None, None]
    steep = replace(steep, control_points=np.broadcast_to(points, (4, 4, 4)).copy())
    np.testing.assert_allclose(steep.evaluate(), np.broadcast_to(slope, SHAPE), atol=2e-3)
    found = fit(shaded, mask="otsu", init=steep)
    assert np.array_equal(found.mask, n4ax.otsu_mask(steep.apply(shaded)))
    assert not np.array_equal(found.mask, n4ax.otsu_mask(shaded))


def test_images_of_every_library(tmp_path: Path) -> None:
    image, affine = make_image(), np.diag([2.0, 2, 1.5, 1])
    scan = nib.Nifti1Image(image, affine)
    itk = sitk.GetImageFromArray(np.ascontiguousarray(image.T))
    itk.SetSpacing((2, 2, 1.5))
    itk.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    given = fit(scan).field
    given.save(tmp_path / "field.nii.gz")
    expected = fit(scan, init=tmp_path / "field.nii.gz")
    for one in (scan, itk):
        found = fit(one, init=given)
        assert type(found.corrected) is type(one)
        np.testing.assert_allclose(
            found.field.control_points, expected.field.control_points, atol=1e-6
        )
    again = n4ax.n4(image, "all", init=str(tmp_path / "field.nii.gz"), voxel_order="F", **QUICK)
    np.testing.assert_allclose(again, expected.corrected.get_fdata(), rtol=1e-5)
    # A field of an array with z first is turned for an image with x first.
    plain = fit(np.ascontiguousarray(image.T)).field
    plain = replace(plain, axes_known=True)
    np.testing.assert_allclose(
        fit(scan, init=plain).field.control_points, expected.field.control_points, atol=1e-6
    )


def test_tensors_and_dask_arrays() -> None:
    torch = pytest.importorskip("torch")
    dask = pytest.importorskip("dask.array")
    image = make_image()
    given = fit().field
    expected = n4ax.n4(image, "all", init=given, **QUICK)
    tensor = n4ax.n4(torch.from_numpy(image), "all", init=given, **QUICK)
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), expected)
    lazy = n4ax.n4(dask.from_array(image, chunks=(9, 20, 11)), "all", init=given, **QUICK)
    assert isinstance(lazy, dask.Array)
    np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-6)


def test_engines_agree() -> None:
    jnp = pytest.importorskip("jax.numpy")
    given = fit(iters=(4, 3)).field
    cpu = fit(init=given, engine="cpu", iters=(4,))
    xla = fit(jnp.asarray(make_image()), init=given, engine="xla", iters=(4,))
    assert isinstance(xla.corrected, jnp.ndarray)
    assert xla.field.control_points.shape == (5, 5, 5)
    np.testing.assert_allclose(xla.log_bias, cpu.log_bias, atol=2e-5)
    np.testing.assert_allclose(xla.corrected, cpu.corrected, rtol=3e-5)


def test_several_images_and_series_start_from_one_field() -> None:
    images = [make_image(), make_image()[::-1].copy()]
    given = fit().field
    divided = [given.apply(image) for image in images]
    whole = n4ax.fit(images, "all", init=given, shared_field=True, **QUICK)
    rest = n4ax.fit(divided, "all", shared_field=True, **QUICK)
    for one, other in zip(whole, rest, strict=True):
        np.testing.assert_allclose(one.corrected, other.corrected, rtol=3e-6)
    assert np.array_equal(whole[0].field.control_points, whole[1].field.control_points)
    series, shares = np.stack(images), np.stack(divided)
    for estimate in ("first", "each"):
        one = n4ax.n4(series, "all", init=given, series=estimate, **QUICK)
        other = n4ax.n4(shares, "all", series=estimate, **QUICK)
        np.testing.assert_allclose(one, other, rtol=3e-6)


def test_starts_that_cannot_be_are_refused(tmp_path: Path) -> None:
    given = fit().field

    def expect(message: str, image: Any = None, **keywords: Any) -> None:
        with pytest.raises(ValueError, match=message):
            fit(image, **{"init": given, **keywords})

    expect("ITK has no initial field: use arithmetic=limit", arithmetic="itk")
    expect('init is given and non_positive is "offset"', non_positive="offset")
    expect(r"a field of 3 axes, for an image of shape \(18, 20, 22\)", make_image((20, 22)))
    expect("a field of 3 axes", make_image((6, 7, 8, 9)), series="4d")
    far = np.eye(4)
    far[:3, 3] = 900
    placed = replace(given, affine=np.eye(4))
    expect("they do not overlap", init=placed, affine=far)
    through_time = fit(make_image((6, 7, 8, 9)), series="4d", affine=np.eye(4)).field
    expect(
        "a field through time fits its own grid only",
        make_image((6, 7, 8, 5)),
        series="4d",
        affine=far,
        init=through_time,
    )
    with pytest.raises(TypeError, match=r"init is of type ndarray; expected an n4ax\.BiasField"):
        fit(init=given.evaluate())
    with pytest.raises(FileNotFoundError):
        fit(init=tmp_path / "none.npz")
    with pytest.raises(TypeError, match="'init' is not a parameter"):
        n4ax.n4_batch([make_image()], "all", init=given)  # pyright: ignore[reportCallIssue]


def test_programs_of_jax_refuse_a_start() -> None:
    jax = pytest.importorskip("jax")
    given = fit().field
    with pytest.raises(ValueError, match="init is given inside a JAX program"):
        jax.jit(lambda image: n4ax.n4(image, "all", init=given, **QUICK))(make_image())
