"""Images that are not NIfTI, made by the libraries that write them, on the command line."""

import locale
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.images import formats, nifti
from n4ax.images.formats import keep_locale
from n4ax.images.names import find_files
from tests.cli.program import QUICK, expect_error, phantom, read_voxels, run, save

OBLIQUE = np.array([
    [-1.9, 0.3, 0.1, 30.5], [0.25, 1.95, -0.4, -21.0], [0.2, 0.35, 2.4, -18.25], [0, 0, 0, 1.0],
])  # fmt: skip
"""Voxels to mm (RAS) of a grid that is turned against the axes of space, but not sheared."""


@pytest.fixture(scope="module")
def place() -> npt.NDArray[np.float64]:
    turn, _, other = np.linalg.svd(OBLIQUE[:3, :3])
    affine = OBLIQUE.copy()
    affine[:3, :3] = (turn @ other) * (2.0, 2.0, 2.5)
    return affine


def write(path: Path, affine: npt.NDArray[np.float64]) -> Path:
    """Write the phantom with the library of a format."""
    voxels = phantom()
    if path.suffix in (".mgz", ".mgh"):
        nib.save(nib.MGHImage(voxels, affine), path)
    elif path.suffix == ".nii":
        save(path, voxels, affine)
    else:
        write_by_itk(path, voxels, affine)
    return path


def write_by_itk(path: Path, voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    lps = np.diag([-1, -1, 1, 1]) @ affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(sizes.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / sizes).ravel().tolist())
    sitk.WriteImage(image, str(path))


def read(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """The voxels and the place of a file, read by the library of its format."""
    if path.suffix == ".mgh":  # nibabel would leave the file open
        image = nib.MGHImage.from_bytes(path.read_bytes())
        return np.asarray(image.dataobj), image.affine
    if path.suffix in (".mgz", ".gz", ".nii"):
        image = nib.load(path)
        return np.asarray(image.dataobj), image.affine
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(path))
    corners = np.array(
        [image.TransformIndexToPhysicalPoint(v) for v in np.eye(4, 3, -1, int).tolist()]
    )
    affine = np.eye(4)
    affine[:3, 3] = corners[0]
    affine[:3, :3] = (corners[1:] - corners[0]).T
    return sitk.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine


FORMATS = [".nii", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_has_the_field_of_nifti(
    suffix: str, place: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    scan = write(tmp_path / f"head{suffix}", place)
    assert run("correct", scan, "-q", *QUICK) == 0
    kept = suffix in (".mgz", ".mgh", ".nrrd", ".mha", ".mnc")
    result = tmp_path / f"head_n4{suffix if kept else '.nii.gz'}"
    nifti = write(tmp_path / "other.nii", place)
    assert run("correct", nifti, "-o", tmp_path / "nifti.nii.gz", "-q", *QUICK) == 0
    voxels, affine = read(result)
    np.testing.assert_allclose(voxels, read_voxels(tmp_path / "nifti.nii.gz"), rtol=1e-5)
    np.testing.assert_allclose(affine, place, atol=2e-6)


@pytest.mark.parametrize("target", [".nii.gz", ".nii", ".mgz", ".mgh", ".nrrd", ".mha", ".mnc"])
@pytest.mark.parametrize("source", [".mgz", ".nrrd"])
def test_the_output_has_the_format_of_its_name(
    source: str, target: str, place: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    if target in (".nrrd", ".mha", ".mnc"):
        pytest.importorskip("SimpleITK")
    scan = write(tmp_path / f"head{source}", place)
    outputs = {name: tmp_path / f"{name}{target}" for name in ("output", "bias")}
    words = [word for name, path in outputs.items() for word in (f"--{name}", path)]
    assert run("correct", scan, *words, "-q", *QUICK) == 0
    (corrected, affine), (bias, place_of_bias) = map(read, outputs.values())
    np.testing.assert_allclose(affine, place, atol=2e-6)
    np.testing.assert_allclose(place_of_bias, place, atol=2e-6)
    np.testing.assert_allclose(corrected * bias, phantom(), rtol=1e-5)
    assert {values.dtype.newbyteorder("=") for values in (corrected, bias)} == {np.dtype("f4")}
    assert run("correct", scan, "-o", tmp_path / f"same{target}", "--dtype", "same", "-q") == 0
    assert read(tmp_path / f"same{target}")[0].dtype.newbyteorder("=") == np.int16


@pytest.mark.parametrize("suffix", [".mgz", ".mgh", ".nrrd", ".mha"])
def test_series_keep_their_volumes_and_the_time_between_them(suffix: str, tmp_path: Path) -> None:
    if suffix in (".nrrd", ".mha"):
        pytest.importorskip("SimpleITK")
    voxels = np.stack([phantom() + t for t in range(3)], axis=-1)
    series = nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.5, 1.0]))
    series.header["pixdim"][4] = 2.5
    nifti.write_image(series, tmp_path / f"bold{suffix}")
    again = nifti.read_image(tmp_path / f"bold{suffix}")
    assert np.array_equal(np.asarray(again.dataobj), voxels)
    assert float(again.header["pixdim"][4]) == 2.5
    np.testing.assert_allclose(again.affine, series.affine)


@pytest.mark.parametrize("suffix", [".img", ".hdr", ".nhdr", ".mhd", ".nii.zst"])
def test_a_field_is_applied_to_and_written_in_every_format(
    suffix: str, place: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    need_library(tmp_path / f"a{suffix}")
    scan = write(tmp_path / "head.nii", place)
    field = tmp_path / "field.npz"
    assert run("correct", scan, "--field", field, "-q", *QUICK) == 0
    target = tmp_path / f"result{suffix}"
    assert run("apply", field, scan, "-o", target, "-q") == 0
    made = nifti.read_image(target)
    assert np.array_equal(made.dataobj, read_voxels(tmp_path / "head_n4.nii.gz"))
    np.testing.assert_allclose(made.affine, place, atol=2e-6)
    for file in find_files(target):  # an existing file is not replaced, whichever it is
        with_one = tmp_path / file.name.replace("result", "one")
        with_one.write_bytes(b"")
        assert run("apply", field, scan, "-o", tmp_path / f"one{suffix}", "-q") == 2
        with_one.unlink()
    for file in find_files(target):
        shutil.copy(file, tmp_path / file.name.replace("result", "second"))
    second = tmp_path / f"second{suffix}"
    assert run("apply", field, second, "-o", find_files(second)[0], "--overwrite") == 2


def need_library(path: Path) -> None:
    try:
        formats.need_library(path)
    except ImportError as error:
        pytest.skip(str(error))


def test_capital_letters(place: npt.NDArray[np.float64], tmp_path: Path) -> None:
    save(tmp_path / "head.nii.gz", phantom(), place).rename(tmp_path / "HEAD.NII.GZ")
    assert run("correct", tmp_path / "HEAD.NII.GZ", "-q", *QUICK) == 0
    assert (tmp_path / "HEAD_n4.nii.gz").exists()


def test_masks_and_weights_of_other_formats(place: npt.NDArray[np.float64], tmp_path: Path) -> None:
    scan = write(tmp_path / "head.nrrd", place)
    inside = (phantom() > 200).astype(np.uint8)
    nib.save(nib.MGHImage(inside, place.astype(np.float32)), tmp_path / "mask.mgz")
    write_by_itk(tmp_path / "weights.mha", inside * 0.5, place)
    words = ("--mask", tmp_path / "mask.mgz", "--weights", tmp_path / "weights.mha")
    assert run("correct", scan, *words, "-q", *QUICK) == 0


ROOT = "1.2.826.0.1.3680043.8.498"
"""The beginning of identifiers that are made up."""


def write_series(folder: Path, number: int, voxels: npt.NDArray[np.int16]) -> list[Path]:
    """Write a series of DICOM: each slice a file, by GDCM."""
    sitk = pytest.importorskip("SimpleITK")
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing((2.0, 2.0, 2.5))
    image.SetOrigin((-20.0, 10.0, 7.5))
    paths = []
    for k in range(voxels.shape[2]):
        piece = image[:, :, k]
        place = f"-20\\10\\{7.5 + 2.5 * k}"
        tags = {
            "0008|0060": "MR", "0008|0016": "1.2.840.10008.5.1.4.1.1.4", "0020|000d": f"{ROOT}.9",
            "0020|000e": f"{ROOT}.{number}", "0008|0018": f"{ROOT}.{number}.{k + 1}",
            "0020|0013": str(k), "0020|0032": place, "0020|0037": "1\\0\\0\\0\\1\\0",
        }  # fmt: skip
        for tag, value in tags.items():
            piece.SetMetaData(tag, value)
        paths.append(folder / f"s{number}_{k:03d}.dcm")
        writer.SetFileName(str(paths[-1]))
        with keep_locale():
            writer.Execute(piece)
    return paths


def test_a_series_of_dicom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = locale.setlocale(locale.LC_CTYPE)
    paths = write_series(tmp_path / "mr", 1, phantom())
    assert run("correct", tmp_path / "mr", "-q", *QUICK) == 0
    corrected = nib.load(tmp_path / "mr_n4.nii.gz")
    affine = np.diag([-2.0, -2.0, 2.5, 1.0])
    affine[:3, 3] = 20.0, -10.0, 7.5
    np.testing.assert_allclose(corrected.affine, affine, atol=1e-5)
    nifti = save(tmp_path / "same.nii", phantom(), affine)
    assert run("correct", nifti, "-q", *QUICK) == 0
    assert np.array_equal(corrected.dataobj, read_voxels(tmp_path / "same_n4.nii.gz"))
    write_series(tmp_path / "mr", 2, phantom() // 2)
    assert locale.setlocale(locale.LC_CTYPE) == before
    assert "has 2 series of DICOM: name a file" in expect_error(capsys, "correct", tmp_path / "mr")
    assert run("correct", paths[3], "-o", tmp_path / "one.nii.gz", "-q", *QUICK) == 0
    assert np.array_equal(read_voxels(tmp_path / "one.nii.gz"), corrected.dataobj)


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("SimpleITK")
    scan = save(tmp_path / "head.nii", phantom())

    def expect(expected: str, *words: Any) -> None:
        assert expected in expect_error(capsys, "correct", *words)

    (tmp_path / "empty").mkdir()
    expect("has no images and no series of DICOM", tmp_path / "empty")
    for suffix in (".mgz", ".nrrd", ".mha", ".mnc", ".dcm"):
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(b"no image at all")
        expect(f"{path}", path)
        path.unlink()
    colours = np.zeros((8, 8, 8, 3), np.uint8)
    sitk = pytest.importorskip("SimpleITK")
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "rgb.mha"))
    expect("has 3 numbers in each voxel", tmp_path / "rgb.mha")
    expect("expected a name ending in .nii.gz or .nii or .mgz", scan, "-o", tmp_path / "n4.dcm")
    expect("expected a name ending in .nii.gz or .nii or .mgz", scan, "-o", tmp_path / "n4.gipl")


def test_formats_of_itk_without_simpleitk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    scan = save(tmp_path / "head.nii", phantom())
    (tmp_path / "head.mha").write_bytes(b"ObjectType = Image\n")
    needed = "pip install 'n4ax[simpleitk]'"
    assert needed in expect_error(capsys, "correct", tmp_path / "head.mha")
    assert needed in expect_error(capsys, "correct", scan, "-o", tmp_path / "n4.nrrd", *QUICK)


@pytest.mark.parametrize("suffix", [".mgz", ".nrrd", ".nii"])
def test_units_of_headers_are_kept_in_mm_and_seconds(tmp_path: Path, suffix: str) -> None:
    if suffix == ".nrrd":
        pytest.importorskip("SimpleITK")
    volumes = np.stack([phantom()] * 2, axis=-1)
    scan = nib.Nifti1Image(volumes, np.diag([2000, 2000, 2500, 1]))
    scan.header.set_xyzt_units("micron", "msec")
    scan.header["pixdim"][4] = 2500
    nib.save(scan, tmp_path / "scan.nii")
    target, field = tmp_path / f"out{suffix}", tmp_path / "f.nii"
    words = ["--series", "mean", "-o", target, "--field", field, "-q"]
    assert run("correct", tmp_path / "scan.nii", *words, *QUICK) == 0
    image = nifti.read_image(target)
    np.testing.assert_allclose(nifti.read_affine(image), np.diag([2, 2, 2.5, 1]), atol=1e-6)
    np.testing.assert_allclose(nifti.read_voxel_sizes(image), (2, 2, 2.5, 2.5), rtol=1e-6)
    np.testing.assert_allclose(n4ax.BiasField.load(field).affine, np.diag([2, 2, 2.5, 1]))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("shrink", [3, 4])
def test_files_of_itk_are_sampled_where_itk_samples_them(
    tmp_path: Path, suffix: str, shrink: int
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    image = sitk.GetImageFromArray(phantom((48, 40, 32)).T.astype(np.float32))
    image.SetSpacing((0.9375, 0.9375, 1.1))
    image.SetOrigin((-80.123456789, 33.3333333, 7.7))
    image.SetDirection((turn * np.sign(np.linalg.det(turn))).ravel())
    sitk.WriteImage(image, str(tmp_path / f"scan{suffix}"))
    image = sitk.ReadImage(str(tmp_path / f"scan{suffix}"), sitk.sitkFloat32)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([5, 5])
    n4.SetConvergenceThreshold(0)
    n4.SetNumberOfThreads(2)
    small = sitk.Shrink(image, [shrink] * 3)
    n4.Execute(small, sitk.Cast(small * 0 + 1, sitk.sitkUInt8))
    expected = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).T
    bias = tmp_path / "bias.nii"
    words = ["--bias", bias, "--mask", "all", "--iters", "5x5", "--conv-threshold", "0", "-q"]
    words += ["--arithmetic", "itk", "--itk-threads", "2"]
    scan = tmp_path / f"scan{suffix}"
    assert run("correct", scan, *words, "--shrink-factor", str(shrink)) == 0
    # A bias field in float32 has logarithms to 1e-7 or so; samples elsewhere differ by 0.01.
    np.testing.assert_allclose(np.log(read_voxels(bias)), expected, atol=1e-6)
