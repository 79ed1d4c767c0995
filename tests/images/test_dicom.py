"""Series of DICOM, written by pydicom as scanners write them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from n4ax.images import nifti

pytest.importorskip("SimpleITK")
pydicom = pytest.importorskip("pydicom")

ROOT = "1.2.826.0.1.3680043.8.498"
"""The beginning of identifiers that are made up."""

TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
"""Directions of the rows, the columns and the slices in DICOM's axes, LPS."""

SPACING = (0.75, 1.25, 3.5)
ORIGIN = (-40.5, 12.25, 7.0)
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def make_stored(number: int = 1) -> npt.NDArray[np.uint16]:
    """The numbers in the files, with the axes of columns, rows and slices."""
    return np.random.default_rng(number).integers(0, 4000, (9, 8, 7)).astype(np.uint16)


def write_slice(path: Path, stored: npt.NDArray[np.uint16], number: int, k: int) -> None:
    """Write slice ``k`` of the volume that ``stored`` is."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = MR_IMAGE
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.{number}.{k + 1}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data: Any = pydicom.dataset.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = MR_IMAGE, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{ROOT}.9", f"{ROOT}.{number}"
    data.Modality, data.SeriesNumber, data.InstanceNumber = "MR", number, k + 1
    data.ImageOrientationPatient = [*TURN[:, 0], *TURN[:, 1]]
    data.ImagePositionPatient = [*np.round(ORIGIN + TURN[:, 2] * SPACING[2] * k, 9)]
    data.PixelSpacing = [SPACING[1], SPACING[0]]  # between rows, then between columns
    data.SliceThickness = SPACING[2]
    data.Columns, data.Rows = stored.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.RescaleSlope, data.RescaleIntercept = 0.5, -20
    data.PixelData = np.ascontiguousarray(stored[..., k].T).tobytes()
    data.save_as(path, enforce_file_format=True)


def write_series(folder: Path, number: int = 1) -> list[Path]:
    """Write a series whose files are named in another order than that of the slices."""
    folder.mkdir(exist_ok=True)
    stored = make_stored(number)
    names = np.random.default_rng(3).permutation(stored.shape[2])
    paths = [folder / f"series{number}_{name}.dcm" for name in names]
    for k, path in enumerate(paths):
        write_slice(path, stored, number, k)
    return paths


def check(path: Path, number: int = 1) -> None:
    image = nifti.read_image(path)
    assert image.shape == (9, 8, 7)
    expected = np.eye(4)
    expected[:3, :3], expected[:3, 3] = TURN * SPACING, ORIGIN
    expected = np.diag([-1.0, -1, 1, 1]) @ expected
    np.testing.assert_allclose(image.affine, expected, atol=1e-4)
    np.testing.assert_array_equal(nifti.read_voxels(image, path), make_stored(number) * 0.5 - 20)


def test_an_oblique_series_in_files_of_any_order(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "mr")
    assert [path.name for path in paths] != sorted(path.name for path in paths)
    check(tmp_path / "mr")
    for path in (paths[0], paths[-1]):
        check(path)


def test_names_without_an_ending_and_in_capital_letters(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "mr")
    for k, path in enumerate(paths):
        path.rename(path.with_name(f"IM{k}.DCM" if k % 2 else f"IM{k}"))
    check(tmp_path / "mr")
    check(tmp_path / "mr" / "IM1.DCM")


def test_two_series_in_a_folder(tmp_path: Path) -> None:
    (first, *_), (second, *_) = (write_series(tmp_path / "mr", number) for number in (1, 2))
    check(first, 1)
    check(second, 2)
    with pytest.raises(ValueError, match=r"mr has 2 series of DICOM: name a file of one of them"):
        nifti.read_image(tmp_path / "mr")


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nhdr"])
def test_no_more_than_voxels_and_place_is_written(suffix: str, tmp_path: Path) -> None:
    write_series(tmp_path / "mr")
    image = nifti.read_image(tmp_path / "mr")
    voxels = nifti.read_voxels(image, tmp_path / "mr")
    target = tmp_path / f"head{suffix}"
    nifti.write_image(nifti.replace_voxels(image, voxels), target)
    check(target)
    assert b"0008|" not in target.read_bytes()


def change(path: Path, **values: Any) -> None:
    data = pydicom.dcmread(path)
    for name, value in values.items():
        setattr(data, name, value)
    data.save_as(path)


def test_slices_that_make_no_volume_are_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "missing")
    paths[3].unlink()
    with pytest.raises(ValueError, match=r"slices 3 and 4 are 7\.00 mm apart, and most are 3\.50"):
        nifti.read_image(tmp_path / "missing")
    paths = write_series(tmp_path / "echoes")
    first = pydicom.dcmread(paths[0]).ImagePositionPatient
    for path in paths[:2]:
        change(path, ImagePositionPatient=first)
    with pytest.raises(ValueError, match=r"2 slices at one place.*convert it with dcm2niix"):
        nifti.read_image(tmp_path / "echoes")
    paths = write_series(tmp_path / "localizer")
    change(paths[2], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    with pytest.raises(ValueError, match=r"slices in 2 orientations, such as a localizer"):
        nifti.read_image(tmp_path / "localizer")
    assert nifti.read_image(write_series(tmp_path / "whole")[0].parent).shape == (9, 8, 7)


def test_a_file_is_found_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_series(tmp_path / "mr")
    monkeypatch.chdir(tmp_path / "mr")
    assert nifti.read_image(Path(paths[2].name)).shape == (9, 8, 7)
