"""ITK's images in space: its matrices, its points, and the samples that it shrinks to."""

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from n4ax.images import nifti
from n4ax.itk.linpack import inverse, singular_values
from n4ax.itk.space import Space
from n4ax.method.grid import sampled_axes

SPACINGS = (1.0, 1.2, 0.9, 0.7, 2.0, 0.9375, 1 / 3, 5.5)


def random_image(seed: int, ndim: int) -> tuple[sitk.Image, Space]:
    """An image whose voxels are their own numbers, oblique in space."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(ndim, ndim)))[0]
    if seed % 4 == 0:
        turn = np.eye(ndim)[random.permutation(ndim)] * random.choice([-1, 1], ndim)
    shape = tuple(int(n) for n in random.integers(6, 24, ndim))
    voxels = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    image = sitk.GetImageFromArray(voxels.T)
    image.SetSpacing([float(s) for s in random.choice(SPACINGS, ndim)])
    image.SetOrigin(random.normal(0, 80, ndim).tolist())
    image.SetDirection(turn.ravel().tolist())
    rows = np.reshape(image.GetDirection(), (ndim, ndim)).tolist()
    space = Space(image.GetSpacing(), image.GetOrigin(), tuple(tuple(row) for row in rows))
    return image, space


@pytest.mark.parametrize("ndim", [2, 3])
def test_samples_of_oblique_images_are_those_that_itk_shrinks_to(ndim: int) -> None:
    for seed in range(150):
        image, space = random_image(seed, ndim)
        factors = [int(s) for s in np.random.default_rng(seed).integers(1, 6, ndim)]
        shape = image.GetSize()
        axes = sampled_axes(shape, factors, [(0, 0)] * ndim, space)
        taken = np.arange(np.prod(shape)).reshape(shape)[tuple(axis.taken for axis in axes)]
        expected = sitk.GetArrayFromImage(sitk.Shrink(image, factors)).T
        np.testing.assert_array_equal(taken, expected, err_msg=str(seed))


@pytest.mark.parametrize("ndim", [2, 3])
def test_points_and_inverse_are_itks_to_the_last_bit(ndim: int) -> None:
    for seed in range(100):
        image, space = random_image(seed, ndim)
        voxel = [int(n) for n in np.random.default_rng(seed).integers(-50, 50, ndim)]
        between = [n + 0.5 for n in voxel]
        assert space.point_of(voxel) == image.TransformIndexToPhysicalPoint(voxel)
        assert space.point_at(between) == image.TransformContinuousIndexToPhysicalPoint(between)
        image.SetOrigin([0.0] * ndim)
        points = np.eye(ndim).tolist()
        columns = [image.TransformPhysicalPointToContinuousIndex(point) for point in points]
        matrix = np.array(space.direction) * space.spacing
        np.testing.assert_array_equal(inverse(matrix), np.array(columns).T)


def test_singular_values_are_right() -> None:
    matrix = np.random.default_rng(0).normal(size=(4, 4))
    values, vectors = singular_values(matrix)
    np.testing.assert_allclose(values, np.linalg.svd(matrix)[1])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-12)


def test_a_matrix_without_an_inverse_is_refused() -> None:
    with pytest.raises(ValueError, match="singular"):
        inverse(np.zeros((3, 3)))


def test_differences_are_told_in_voxels() -> None:
    space = Space.plain((2.0, 1.0))
    moved = Space(space.spacing, (0.01, 0.0), space.direction)
    assert space.differs_from(moved, 0.006) is None
    assert space.differs_from(moved, 0.004) == "origins (0, 0) and (0.01, 0)"
    assert "voxel sizes" in str(space.differs_from(Space.plain((2.0, 1.1)), 1e-3))


@pytest.mark.parametrize(
    ("sform_code", "qform_code"), [(1, 1), (2, 0), (0, 1), (1, 0), (1, 2), (0, 0)]
)
def test_headers_are_read_as_itk_reads_them(
    tmp_path_factory: pytest.TempPathFactory, sform_code: int, qform_code: int
) -> None:
    path = tmp_path_factory.mktemp("headers") / "scan.nii"
    for seed in range(20):
        random = np.random.default_rng(seed)
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        affine: npt.NDArray[np.float64] = np.eye(4)
        affine[:3, :3] = turn * random.choice(SPACINGS, 3)
        affine[:3, 3] = random.normal(0, 90, 3)
        scan = nib.Nifti1Image(random.integers(-99, 999, (5, 6, 7)).astype(np.int16), affine)
        scan.header.set_sform(affine, sform_code)
        scan.header.set_qform(affine, qform_code)
        scan.header.set_slope_inter(0.0137 if seed % 2 else 1.0, 3.3 if seed % 2 else 0.0)
        nib.save(scan, path)
        image, theirs = nifti.read_image(path), sitk.ReadImage(str(path))
        space = nifti.space_of(image)
        assert space.spacing == theirs.GetSpacing()
        assert space.origin == theirs.GetOrigin()
        assert sum(space.direction, ()) == theirs.GetDirection()
        voxels = sitk.GetArrayFromImage(sitk.Cast(theirs, sitk.sitkFloat32)).T
        np.testing.assert_array_equal(nifti.read_voxels(image, path), voxels)
