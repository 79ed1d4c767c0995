"""What comes in goes out: images of every library, with their geometry."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.images.libraries import make_like, open_image

HEAD = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
QUICK: dict[str, Any] = {"iters": (4, 3), "conv_threshold": 0.0, "shrink_factor": 3}


@pytest.fixture(scope="module")
def head() -> nib.Nifti1Image:
    """A part of the packaged head: oblique, not cubic, of integers."""
    scan = nib.load(HEAD)
    part = scan.slicer[30:90, 28:98, 30:80]  # type: ignore[attr-defined]
    turned = part.affine.copy()
    angle = np.deg2rad(12)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    turned[:3, :3] = turn @ turned[:3, :3]
    made = nib.Nifti1Image(np.asarray(part.dataobj, np.int16), turned)
    made.header["descrip"] = b"of a head"
    return made


@pytest.fixture(scope="module")
def plain(head: nib.Nifti1Image) -> npt.NDArray[np.int16]:
    return np.asarray(head.dataobj)


@pytest.fixture(scope="module")
def expected(head: nib.Nifti1Image) -> npt.NDArray[np.float32]:
    return np.asarray(n4ax.n4(head, **QUICK).dataobj)


def of_simpleitk(head: nib.Nifti1Image, voxels: npt.NDArray[Any]) -> Any:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    space = open_image(head).space
    assert space is not None
    image.SetSpacing(space.spacing)
    image.SetOrigin(space.origin)
    image.SetDirection(sum(space.direction, ()))
    image.SetMetaData("PatientName", "nobody")
    return image


def test_nibabel_image(head: nib.Nifti1Image, plain: Any, expected: Any) -> None:
    mask = nib.Nifti1Image(n4ax.otsu_mask(plain), head.affine)
    found = n4ax.n4(head, mask, **QUICK)
    assert isinstance(found, nib.Nifti1Image)
    assert np.array_equal(np.asarray(found.dataobj), expected)
    assert found.get_data_dtype() == np.float32
    assert bytes(found.header["descrip"]).startswith(b"of a head")
    np.testing.assert_array_equal(found.affine, head.affine)
    by_array = n4ax.n4(plain, spacing=head.header.get_zooms(), voxel_order="F", **QUICK)
    np.testing.assert_allclose(by_array, expected, rtol=1e-3)  # other voxels may be sampled
    assert n4ax.otsu_mask(head).get_data_dtype() == np.uint8


def test_simpleitk_image(head: nib.Nifti1Image, plain: Any, expected: Any) -> None:
    sitk = pytest.importorskip("SimpleITK")
    image = of_simpleitk(head, plain)
    found, log_bias = n4ax.n4(image, return_bias=True, **QUICK)
    for one in (found, log_bias, n4ax.otsu_mask(image)):
        assert isinstance(one, sitk.Image)
        assert one.GetSize() == image.GetSize()
        assert one.GetOrigin() == image.GetOrigin()
        assert one.GetDirection() == image.GetDirection()
        assert one.GetMetaData("PatientName") == "nobody"
    assert found.GetPixelID() == log_bias.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_allclose(sitk.GetArrayFromImage(found).T, expected, rtol=1e-6)
    # Masks as SimpleITK's arrays (z, y, x), its images, and nibabel's.
    inside = sitk.GetArrayFromImage(n4ax.otsu_mask(image))
    for mask in (inside, n4ax.otsu_mask(image), n4ax.otsu_mask(head)):
        again = n4ax.n4(image, mask, **QUICK)
        assert np.array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(found))
    double = n4ax.n4(sitk.Cast(image, sitk.sitkFloat64), **QUICK)
    assert double.GetPixelID() == sitk.sitkFloat64
    with pytest.raises(ValueError, match="image has 2 components in each voxel"):
        n4ax.n4(sitk.Compose(image, image))
    with pytest.raises(ValueError, match=r"mask is a label .*LabelMapToLabel"):
        n4ax.n4(image, sitk.BinaryImageToLabelMap(n4ax.otsu_mask(image)), **QUICK)


def test_simpleitk_series() -> None:
    sitk = pytest.importorskip("SimpleITK")
    voxels = np.random.default_rng(0).gamma(9, 30, (4, 9, 11, 12)).astype(np.float32)
    series = sitk.GetImageFromArray(voxels, isVector=False)
    found = n4ax.n4(series, "all", series="4d", iters=(3,))
    assert found.GetSize() == series.GetSize()
    expected = n4ax.n4(voxels, "all", series="4d", iters=(3,))
    assert np.array_equal(sitk.GetArrayFromImage(found), expected)


def test_antspy_image(head: nib.Nifti1Image, plain: Any, expected: Any) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ants = pytest.importorskip("ants")
    space = open_image(head).space
    assert space is not None
    image = ants.from_numpy(
        plain.astype(np.float32), space.origin, space.spacing, np.array(space.direction)
    )
    found = n4ax.n4(image, **QUICK)
    assert ants.image_physical_space_consistency(found, image)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_mgh_image(head: nib.Nifti1Image, plain: Any, expected: Any) -> None:
    image = nib.MGHImage(plain.astype(np.float32), head.affine)
    found = n4ax.n4(image, n4ax.otsu_mask(plain), **QUICK)
    assert isinstance(found, nib.MGHImage)
    np.testing.assert_allclose(np.asarray(found.dataobj), expected, rtol=1e-5)


def test_xarray(plain: Any) -> None:
    xarray = pytest.importorskip("xarray", reason="xarray is not installed: n4ax[arrays]")
    steps = (2.0, 1.5, 1.0)
    coordinates = {
        axis: np.arange(n) * step for axis, n, step in zip("zyx", plain.shape, steps, strict=True)
    }
    image = xarray.DataArray(plain, coordinates, attrs={"units": "a.u."}, name="T1w")
    found = n4ax.n4(image, spline_distance=40, **QUICK)
    expected = n4ax.n4(plain, spline_distance=40, spacing=steps, **QUICK)
    assert isinstance(found, xarray.DataArray)
    assert np.array_equal(found.values, expected)
    assert found.attrs == image.attrs
    assert found.name == "T1w"
    assert found.coords.equals(image.coords)
    with pytest.raises(ValueError, match="needs the voxel size"):
        n4ax.n4(xarray.DataArray(plain), spline_distance=40, **QUICK)


def test_torch_tensor(plain: Any) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: n4ax[torch]")
    found = n4ax.n4(torch.from_numpy(plain.astype(np.float32)), **QUICK)
    assert isinstance(found, torch.Tensor)
    assert np.array_equal(found.numpy(), n4ax.n4(plain, **QUICK))


def test_field_of_one_kind_applies_to_others(
    head: nib.Nifti1Image, plain: Any, expected: Any
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    result = n4ax.fit(head, **QUICK)
    assert np.array_equal(np.asarray(result.corrected.dataobj), expected)
    assert isinstance(result.log_bias, nib.Nifti1Image)
    np.testing.assert_array_equal(result.field.affine, head.affine)
    by_sitk = result.field.apply(of_simpleitk(head, plain))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(by_sitk).T, expected)
    np.testing.assert_array_equal(result.field.apply(plain), expected)
    other = n4ax.otsu_mask(head)
    kept = result.field.apply(head, other, outside="keep")
    outside = np.asarray(other.dataobj) == 0
    np.testing.assert_array_equal(np.asarray(kept.dataobj)[outside], plain[outside])


def test_mask_that_lies_elsewhere_is_refused(head: nib.Nifti1Image, plain: Any) -> None:
    moved = head.affine.copy()
    moved[1, 3] += 5
    mask = nib.Nifti1Image(n4ax.otsu_mask(plain), moved)
    with pytest.raises(ValueError, match="mask and image do not occupy the same physical space"):
        n4ax.n4(head, mask, **QUICK)
    with pytest.raises(ValueError, match="mask has shape"):
        n4ax.n4(head, mask.slicer[1:], **QUICK)


def test_slice_that_stands_upright(plain: Any) -> None:
    coronal = np.array([[1.0, 0, 0, 3], [0, 0, 2, 4], [0, 1, 0, 5], [0, 0, 0, 1]])
    one = plain[:, 20, :, None]
    found = n4ax.n4(nib.Nifti1Image(one, coronal), "all", **QUICK)
    assert found.shape == one.shape
    expected = n4ax.n4(one[..., 0], "all", voxel_order="F", **QUICK)
    assert np.array_equal(np.asarray(found.dataobj)[..., 0], expected)


def test_complex_images_are_refused(head: nib.Nifti1Image, plain: Any) -> None:
    with pytest.raises(ValueError, match="image has dtype complex"):
        n4ax.n4(nib.Nifti1Image(plain * np.complex64(1j), head.affine))


def test_lists_of_numbers_are_arrays() -> None:
    voxels = np.random.default_rng(0).gamma(9, 30, (20, 22))
    inside = np.ones(voxels.shape, int)
    found = n4ax.n4(voxels.tolist(), inside.tolist(), iters=(3,))
    assert np.array_equal(found, n4ax.n4(voxels, inside, iters=(3,)))


def test_batch_of_images(head: nib.Nifti1Image, expected: Any) -> None:
    pytest.importorskip("jax")
    for engine in ("cpu", "xla"):
        found = n4ax.n4_batch([head, head], engine=engine, **QUICK)
        assert isinstance(found[1], nib.Nifti1Image)
        np.testing.assert_allclose(np.asarray(found[1].dataobj), expected, rtol=1e-5)


def test_opening_gives_back_what_was_closed(head: nib.Nifti1Image, plain: Any) -> None:
    for image in (head, of_simpleitk(head, plain), plain):
        scan = open_image(make_like(image, open_image(image).voxels))
        assert np.array_equal(scan.voxels, plain)
        assert scan.space == open_image(image).space


def test_no_library_is_loaded_that_no_image_comes_from() -> None:
    code = (
        "import sys, numpy as np, n4ax; n4ax.n4(np.random.rand(20, 20) + 1, iters=(2,));"
        "names = 'nibabel', 'SimpleITK', 'xarray', 'dask', 'torch', 'jax';"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- kinds that are mixed --------------------------------------------------------------------


@pytest.fixture(scope="module")
def cube() -> npt.NDArray[np.float32]:
    """In nibabel's order; shaded otherwise along each axis, so that a turn shows."""
    voxels = np.asarray(nib.load(HEAD).dataobj, np.float32)[20:80, 20:80, 15:75]
    ramp = np.linspace(-0.5, 0.5, 60)
    return (voxels * np.exp(ramp[:, None, None] - 0.3 * ramp[None, :, None])).astype(np.float32)


def kinds_of(voxels: npt.NDArray[Any]) -> dict[str, Any]:
    """The same image in every library that says how its axes run."""
    import SimpleITK as sitk
    import xarray

    spacing = (1.0, 1.2, 1.5)
    affine = np.diag([-1.0, -1.2, 1.5, 1.0])  # in ITK's convention along the axes of space
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing)
    at = {axis: np.arange(60) * step for axis, step in zip("xyz", spacing, strict=True)}
    xyz = xarray.DataArray(voxels, at, dims=("x", "y", "z"))
    return {
        "nibabel": nib.Nifti1Image(voxels, affine),
        "SimpleITK": image,
        "xarray xyz": xyz,
        "xarray zyx": xyz.transpose("z", "y", "x"),
    }


def as_xyz(image: Any) -> npt.NDArray[Any]:
    scan = open_image(image)
    return np.asarray(scan.voxels) if scan.order == "F" else np.asarray(scan.voxels).T


def test_masks_of_every_library_go_with_images_of_every_library(cube: Any) -> None:
    pytest.importorskip("SimpleITK")
    pytest.importorskip("xarray")
    inside = ((cube > 80) & (np.arange(60)[:, None, None] > 12)).astype(np.uint8)
    images, masks = kinds_of(cube), kinds_of(inside)
    expected = as_xyz(n4ax.n4(images["nibabel"], masks["nibabel"], outside="keep", **QUICK))
    assert not np.allclose(expected, as_xyz(n4ax.n4(images["nibabel"], inside.T, **QUICK)))
    for kind, image in images.items():
        for other, mask in masks.items():
            found = as_xyz(n4ax.n4(image, mask, outside="keep", **QUICK))
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=f"{kind}, {other}")


def test_plain_arrays_beside_simpleitk_are_its_arrays(cube: Any) -> None:
    pytest.importorskip("SimpleITK")
    inside = ((cube > 80) & (np.arange(60)[:, None, None] > 12)).astype(np.uint8)
    image, mask = kinds_of(cube)["SimpleITK"], kinds_of(inside)["SimpleITK"]
    expected = as_xyz(n4ax.n4(image, mask, **QUICK))
    np.testing.assert_array_equal(as_xyz(n4ax.n4(image, inside.T, **QUICK)), expected)
    by_array = n4ax.n4(np.ascontiguousarray(cube.T), mask, spacing=(1.5, 1.2, 1.0), **QUICK)
    np.testing.assert_allclose(by_array.T, expected, rtol=1e-5)
    turned = n4ax.n4(cube, mask, spacing=(1.0, 1.2, 1.5), voxel_order="F", **QUICK)
    np.testing.assert_allclose(turned, expected, rtol=1e-5)


def test_field_turns_with_the_axes_of_the_image(cube: Any) -> None:
    pytest.importorskip("SimpleITK")
    pytest.importorskip("xarray")
    images = kinds_of(cube)
    for kind, image in images.items():
        result = n4ax.fit(image, "all", **QUICK)
        expected = as_xyz(result.corrected)
        for other, given in images.items():
            found = as_xyz(result.field.apply(given))
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=f"{kind}, {other}")
    with_affine = n4ax.fit(cube, "all", affine=images["nibabel"].affine, voxel_order="F", **QUICK)
    found = as_xyz(with_affine.field.apply(images["xarray zyx"]))
    np.testing.assert_allclose(found, with_affine.corrected, rtol=1e-5)
    plain = n4ax.fit(np.ascontiguousarray(cube.T), "all", **QUICK)
    found = as_xyz(plain.field.apply(images["SimpleITK"]))
    np.testing.assert_allclose(found, plain.corrected.T, rtol=1e-5)


def test_mask_of_one_volume_goes_with_a_volume(head: nib.Nifti1Image, plain: Any) -> None:
    mask = n4ax.otsu_mask(plain)
    expected = n4ax.n4(head, mask, **QUICK)
    one = nib.Nifti1Image(mask[..., None], head.affine)
    found = n4ax.n4(head, one, **QUICK)
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))


def test_voxel_size_of_xarrays(plain: Any) -> None:
    xarray = pytest.importorskip("xarray")
    z, y, x = plain.shape
    up = {"z": np.arange(z) * 2.0, "y": np.arange(y) * 1.5, "x": np.arange(x) * 1.0}
    expected = n4ax.n4(plain, spline_distance=40, spacing=(2.0, 1.5, 1.0), **QUICK)
    for coordinates in (up, {**up, "y": up["y"][::-1]}):
        image = xarray.DataArray(plain, coordinates, dims=("z", "y", "x"))
        image.encoding = {"dtype": "int16", "scale_factor": 0.1}
        found = n4ax.n4(image, spline_distance=40, **QUICK)
        assert np.array_equal(found.values, expected)
        assert found.encoding == {}
    series = xarray.DataArray(plain[None], {"t": [0.0], **up}, dims=("t", "z", "y", "x"))
    assert np.array_equal(n4ax.n4(series, spline_distance=40, **QUICK).values[0], expected)


def test_torch_tensors_of_a_graph_and_of_half_precision(plain: Any) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: n4ax[torchio]")
    tensor = torch.from_numpy(plain.astype(np.float32))
    expected = n4ax.n4(plain, **QUICK)
    parameter = torch.nn.Parameter(tensor)
    assert np.array_equal(n4ax.n4(parameter, **QUICK).numpy(), expected)
    half = n4ax.n4((tensor / 8).bfloat16(), **QUICK)
    assert half.dtype == torch.float32
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(plain.astype(np.float32))
    mask = n4ax.otsu_mask(plain)
    by_tensor = n4ax.n4(image, torch.from_numpy(mask), **QUICK)
    by_array = n4ax.n4(image, mask, **QUICK)
    assert np.array_equal(sitk.GetArrayFromImage(by_tensor), sitk.GetArrayFromImage(by_array))


def test_metatensor_of_monai(plain: Any) -> None:
    monai = pytest.importorskip("monai", reason="monai is not installed: n4ax[monai]")
    image = monai.data.MetaTensor(plain.astype(np.float32), meta={"site": "here"})
    found = n4ax.n4(image, **QUICK)
    assert isinstance(found, monai.data.MetaTensor)
    assert found.meta["site"] == "here"
    assert np.array_equal(found.numpy(), n4ax.n4(plain, **QUICK))
