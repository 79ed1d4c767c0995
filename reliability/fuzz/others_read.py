"""A valid file, read by nibabel and by ITK as n4ax reads it."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.nifti2 import Nifti2Header

from n4ax.images.peek import read_header
from reliability.fuzz.reading import read_whole


def check_others(path: Path, text: str) -> None:
    """Check that the file was read, and that nibabel and ITK read the same from it."""
    image, voxels, space, affine = read_whole(path)
    if not _has_intercept_alone(path):
        check_nibabel(path, voxels, affine, text)
    if not isinstance(image.header, Nifti2Header):
        check_itk(path, voxels, space)


def _has_intercept_alone(path: Path) -> bool:
    """Whether the slope is 0, where ITK adds the intercept and nibabel does not."""
    return bool(read_header(path)["scl_slope"] == 0)


def check_nibabel(path: Path, voxels: Any, affine: Any, text: str) -> None:
    """Compare voxels and affine with nibabel's."""
    theirs: Any = nib.load(path)
    with np.errstate(all="ignore"):
        values = np.asarray(theirs.get_fdata(), np.float32)
    assert values.shape == voxels.shape, text
    close = np.isclose(values, voxels, rtol=3e-7, atol=1e-6, equal_nan=True)
    assert close.all(), (values[~close][:3], voxels[~close][:3])
    if not hasattr(theirs.header, "get_xyzt_units") or theirs.header.get_xyzt_units()[0] != "mm":
        return
    assert np.allclose(theirs.affine, affine, atol=1e-3), (theirs.affine, affine)


def check_itk(path: Path, voxels: Any, space: Any) -> None:
    """Compare voxels and place with ITK's, bit by bit."""
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        if "determinant is 0" not in str(error):  # of a plane that does not lie along x and y
            raise
        return
    theirs = sitk.GetArrayViewFromImage(image).T
    own = voxels.reshape(theirs.shape)
    other = theirs != own
    assert np.array_equal(theirs, own, equal_nan=True), (theirs[other][:3], own[other][:3])
    n = min(image.GetDimension(), len(space.spacing))
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)[:n, :n]
    place = image.GetSpacing()[:n], image.GetOrigin()[:n], direction.tolist()
    rows = np.array(space.direction)[:n, :n].tolist()
    assert place == (space.spacing[:n], space.origin[:n], rows), (place, space)
