"""From file to file, ``n4ax correct`` writes the voxels that a script of SimpleITK writes."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from tests.cli.program import phantom, run
from tests.support import itk
from tests.support.bits import check_bits

QUICK: dict[str, Any] = {"iters": (4, 3), "conv_threshold": 0.0}
OPTIONS = ("--iters", "4x3", "--conv-threshold", "0", "-q")

TYPES = {"float32": sitk.sitkFloat32, "int16": sitk.sitkInt16, "uint8": sitk.sitkUInt8}


def write_scan(folder: Path, kind: str) -> tuple[Path, Path]:
    """An oblique image in a type of its own, and a mask."""
    random = np.random.default_rng(4)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(random.normal(size=(3, 3)))[0] * (0.9, 1.1, 2.3)
    affine[:3, 3] = random.normal(0, 50, 3)
    voxels = phantom((24, 22, 18))
    inside = (voxels > 150).astype(np.uint8)
    given = (voxels // 8 if kind == "uint8" else voxels).astype(kind)
    paths = folder / "scan.nii", folder / "mask.nii"
    for path, array in zip(paths, (given, inside), strict=True):
        nib.save(nib.Nifti1Image(array, affine), path)
    return paths


def read_voxels(path: Path) -> npt.NDArray[Any]:
    """The voxels as they are in the file, with the last axis x as in SimpleITK."""
    return np.asarray(nib.load(path).dataobj.get_unscaled()).T


@pytest.mark.parametrize("threads", [1, 64])
@pytest.mark.parametrize("shrink", [1, 2])
@pytest.mark.parametrize("kind", TYPES)
def test_files_have_the_voxels_of_simpleitk(
    kind: str, shrink: int, threads: int, tmp_path: Path
) -> None:
    scan, inside = write_scan(tmp_path, kind)
    image = sitk.ReadImage(str(scan), sitk.sitkFloat32)
    mask = sitk.ReadImage(str(inside), sitk.sitkUInt8)
    theirs = itk.correct_image(image, mask, shrink_factor=shrink, threads=threads, **QUICK)
    written = sitk.Cast(sitk.GetImageFromArray(theirs.corrected), TYPES[kind])
    bias = sitk.Exp(sitk.GetImageFromArray(theirs.log_bias))

    corrected, field = tmp_path / "corrected.nii", tmp_path / "field.nii"
    words = [
        "--arithmetic",
        "itk",
        "--itk-threads",
        threads,
        "--shrink-factor",
        shrink,
        "--mask",
        inside,
    ]
    words += ["--dtype", "same", "-o", corrected, "--bias", field]
    assert run("correct", scan, *OPTIONS, *words) == 0
    check_bits(read_voxels(corrected), sitk.GetArrayFromImage(written), "corrected image")
    check_bits(read_voxels(field), sitk.GetArrayFromImage(bias), "field")
