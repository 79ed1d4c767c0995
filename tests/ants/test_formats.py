"""ANTs' program reads and writes the formats that people have, and says what converts others."""

import sys
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from n4ax.ants import images
from n4ax.ants.options import read_options
from n4ax.ants.program import main
from n4ax.images import names, nifti
from tests.support.ants import phantom

QUICK = ["-c", "[3x2,0]", "-s", "1"]
"""Five iterations on all voxels: the formats keep different digits of a place, and these decide
which voxels ITK takes where samples lie midway between two."""
FORMATS = [".nii", ".NII.GZ", ".mgz", ".mgh", ".nrrd", ".mha", ".mnc"]


@pytest.fixture
def scans(folder: Path) -> Path:
    """The working folder with an oblique image and a mask, in every format."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    affine = turn @ np.diag([2.0, 2.0, 2.5, 1.0])
    affine[:3, 3] = -20.5, 13.25, 7
    inside = np.zeros((28, 26, 22), np.uint8)
    inside[3:-3, 3:-3, 2:-2] = 1
    for name, voxels in (("t1", phantom()), ("brain", inside)):
        nib.save(nib.Nifti1Image(voxels, affine), f"{name}.nii")
        read = nifti.read_image(Path(f"{name}.nii"))
        for suffix in FORMATS[1:]:
            made = nifti.replace_voxels(read, voxels, voxels.dtype)
            nifti.write_image(made, Path(f"{name}{suffix}"))
        nib.save(nib.Nifti1Pair(voxels, affine), f"{name}.img")
    return folder


def correct(image: str, *words: str, output: str = "out.nii") -> tuple[Any, Any]:
    """Run the program, and read the voxels that it wrote and the positions of the corners."""
    assert main(["-i", image, *words, *QUICK, "-o", output]) == 0
    return read(output)


def read(name: str) -> tuple[Any, Any]:
    """The voxels of a file and where its corners are in mm, by the library of the format."""
    if name.endswith((".nrrd", ".mha", ".mnc")):
        image = sitk.ReadImage(name)
        corners = product(*((0, n - 1) for n in image.GetSize()))
        points = [image.TransformIndexToPhysicalPoint(corner) for corner in corners]
        return sitk.GetArrayFromImage(image).T, np.array(points) * [-1, -1, 1]
    path = Path(name)
    if name.endswith(".mgh"):  # nibabel would leave the file open
        scan: Any = nib.MGHImage.from_bytes(path.read_bytes())
    else:
        scan = nib.load(path.rename(path.with_name(path.name.lower())))
    corners = list(product(*((0, n - 1) for n in scan.shape)))
    return np.asarray(scan.dataobj), nib.affines.apply_affine(scan.affine, corners)


@pytest.mark.parametrize("suffix", FORMATS[1:])
def test_all_formats_have_the_same_voxels_in_the_same_place(suffix: str, scans: Path) -> None:
    voxels, corners = correct("t1.nii", "-x", "brain.nii")
    assert not np.array_equal(voxels, phantom())
    for output in ("out.nii", f"out{suffix}"):
        found, at = correct(f"t1{suffix}", "-x", f"brain{suffix}", output=output)
        assert found.dtype.newbyteorder("=") == np.float32
        np.testing.assert_array_equal(found, voxels)
        np.testing.assert_allclose(at, corners, atol=1e-4)


def test_the_mask_may_have_another_format_than_the_image(scans: Path) -> None:
    voxels, _ = correct("t1.nii", "-x", "brain.nii", "-w", "brain.nii")
    for image, mask, weights in ((".nii", ".mgz", ".img"), (".mha", ".img", ".nrrd")):
        found, _ = correct(f"t1{image}", "-x", f"brain{mask}", "-w", f"brain{weights}")
        np.testing.assert_array_equal(found, voxels)


def test_both_outputs_may_have_other_formats_than_the_input(scans: Path) -> None:
    assert main(["-i", "t1.nii", *QUICK, "-o", "[ c,1.mgz , b.mha ]"]) == 0
    corrected, at = read("c,1.mgz")
    bias, at_bias = read("b.mha")
    np.testing.assert_allclose(corrected, phantom() / bias, rtol=1e-6)
    np.testing.assert_allclose(at, at_bias, atol=1e-4)


def test_one_slice_and_series_are_written_too(folder: Path) -> None:
    for words, shape in (
        (["-i", "flat.nii.gz"], (28, 26)),
        (["-i", "series.nii.gz"], (28, 26, 22)),
        (["-i", "series.nii.gz", "-d", "4"], (28, 26, 22, 3)),
    ):
        for output in ("out.nii.gz", "out.mgz", "out.nrrd"):
            assert main([*words, *QUICK, "-o", output]) == 0
        expected = np.asarray(nib.load("out.nii.gz").dataobj)
        assert expected.shape == shape
        found = np.asarray(nib.load("out.mgz").dataobj)
        np.testing.assert_array_equal(found.reshape(shape), expected)
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(sitk.ReadImage("out.nrrd")).T, expected
        )


def test_all_endings_end_a_name_with_brackets_and_commas() -> None:
    for suffix in {*names.READ, *names.WRITTEN, ".MGZ", ".Nii.gz"}:
        for words, found in (
            ([f"[a,1{suffix},b{suffix}]"], [f"a,1{suffix}", f"b{suffix}"]),
            ([f"(1)c{suffix}"], [f"(1)c{suffix}"]),
            ([f"-c{suffix}"], [f"-c{suffix}"]),
        ):
            options = read_options(["-i", f"-t1{suffix}", "-o", *words])
            assert options.image == Path(f"-t1{suffix}")
            outputs = [path for path in (options.corrected, options.bias) if path]
            assert outputs == [Path(name) for name in found]


REFUSED = {
    "a b.1.mif.gz": "convert it first: mrconvert 'a b.1.mif.gz' 'a b.1.nii.gz'",
    "x.MIF": "convert it first: mrconvert x.MIF x.nii.gz",
    "x+orig.HEAD": "convert it first: 3dAFNItoNIFTI -prefix x.nii.gz x+orig",
    "x+tlrc.BRIK.gz": "convert it first: 3dAFNItoNIFTI -prefix x.nii.gz x+tlrc",
    "x.v": "n4ax reads .nii.gz, .nii.zst, .nii, .hdr, .img, .mgz",
    "x.tif": "; convert it to NIfTI first",
    "x.vtk.gz": "; convert it to NIfTI first",
    "scans": "is a folder, or is not a file; expected an image file: for a folder of DICOM",
}


@pytest.mark.parametrize("flag", ["-i", "-x", "-w"])
@pytest.mark.parametrize("name", REFUSED)
def test_other_formats_are_refused_with_the_command_that_converts_them(
    name: str, flag: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if name == "scans":
        Path(name).mkdir()
    else:
        Path(name).write_bytes(b"an image")
    before = sorted(folder.iterdir())
    inputs = {"-i": "im.nii.gz", flag: name}
    words = [word for pair in inputs.items() for word in pair]
    assert main([*words, "-o", "out.nii.gz"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert f"N4BiasFieldCorrection (n4ax): error: {flag} {name}" in err
    assert REFUSED[name] in err
    assert len(err.splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_a_file_that_is_missing_is_named_before_all_else(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("x.mif").touch()
    for words in (
        ["-i", "x.mif", "-x", "missing.mgz"],
        ["-i", "missing.mgz", "-w", "x.mif"],
    ):
        assert main([*words, "-o", "out.xyz"]) == 1
        assert "missing.mgz does not exist" in capfd.readouterr().err


def test_a_format_that_needs_a_library_is_refused_before_the_work(
    scans: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with monkeypatch.context() as patch:
        patch.setattr("n4ax.ants.program._read_volume", pytest.fail)
        assert main(["-i", "t1.nii", "-o", "out.nrrd"]) == 1
    message = "out.nrrd, an image of a format of ITK, needs SimpleITK, which cannot be imported"
    assert f"error: {message}" in capfd.readouterr().err
    assert main(["-i", "t1.nrrd", "-o", "out.nii"]) == 1
    assert "needs SimpleITK" in capfd.readouterr().err


def test_the_two_names_of_a_pair_are_the_same_image(tmp_path: Path) -> None:
    image, header, other = (tmp_path / name for name in ("a.img", "a.hdr", "b.hdr"))
    images.check_outputs("-o", [image, other], kept=[tmp_path / "a.nii"])
    with pytest.raises(ValueError, match="would overwrite the mask or the weights"):
        images.check_outputs("-o", [image, other], kept=[header])
    with pytest.raises(ValueError, match=r"-o names .*a\.hdr for both outputs"):
        images.check_outputs("-o", [image, header], kept=[])


@pytest.mark.parametrize("suffix", [".img", ".mgz"])
def test_nipype_runs_it_on_other_formats(suffix: str, scans: Path) -> None:
    pytest.importorskip("nipype", reason="nipype is not installed")
    from n4ax.nipype import N4BiasFieldCorrection

    quick: dict[str, Any] = {"n_iterations": [3, 2], "shrink_factor": 1, "save_bias": True}
    mask = str(scans / f"brain{suffix}")
    node = N4BiasFieldCorrection(input_image=str(scans / f"t1{suffix}"), mask_image=mask, **quick)
    outputs = node.run().outputs
    written = [Path(outputs.output_image), Path(outputs.bias_image)]
    assert written == [scans / f"t1_corrected{suffix}", scans / f"t1_bias{suffix}"]
    voxels, corners = correct("t1.nii", "-x", "brain.nii")
    found, at = read(str(written[0]))
    np.testing.assert_array_equal(found, voxels)
    np.testing.assert_allclose(at, corners, atol=1e-4)
    assert all(file.exists() for path in written for file in names.find_files(path))
