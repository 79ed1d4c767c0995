"""One file through every door of n4ax: the same voxels are sampled, and the same header is read."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import n4ax
from n4ax.ants.program import main as run_ants
from n4ax.cli import main as run_n4ax
from n4ax.images.libraries import open_image
from n4ax.images.nifti import read_image, read_space
from n4ax.itk.shrink import choose_samples
from n4ax.itk.space import Space
from tests.itk.random_images import SPACINGS
from tests.support import ants
from tests.support.headers import write_raw

QUICK: dict[str, Any] = {"iters": (2,), "conv_threshold": 0.0}
PHANTOM = ants.phantom((16, 14, 12))
LABELLED: dict[str, Any] = {
    "cal_max": 1000,
    "intent_code": 1002,
    "intent_p1": 3,
    "intent_name": b"tissue",
    "aux_file": b"colours",
    "descrip": b"a scan",
}
"""Fields of a label image with a display range."""


def find_places(path: Path) -> dict[str, Space]:
    """Where each door places a volume of three axes."""
    pytest.importorskip("torchio")
    monai = pytest.importorskip("monai.transforms")
    import torchio as tio

    import n4ax.monai
    import n4ax.torchio

    loaded = monai.LoadImage(ensure_channel_first=True)(str(path))
    places = {
        "SimpleITK": open_image(sitk.ReadImage(str(path))).space,
        "nibabel": open_image(nib.load(path)).space,
        "file": read_space(read_image(path)),
        "MONAI": n4ax.monai.N4BiasFieldCorrection()._find_spacing(loaded),
        "TorchIO": n4ax.torchio._find_space(tio.ScalarImage(path)),
    }
    return places  # type: ignore[return-value]


def correct_everywhere(path: Path, shrink_factor: int, folder: Path) -> dict[str, Any]:
    """The corrected voxels of a file by each door, with the same settings."""
    pytest.importorskip("torchio")
    monai = pytest.importorskip("monai.transforms")
    import torchio as tio

    from n4ax.monai import N4BiasFieldCorrection as OfMonai
    from n4ax.torchio import N4BiasFieldCorrection as OfTorchio

    keywords = {"shrink_factor": shrink_factor, **QUICK}
    loaded = monai.LoadImage(ensure_channel_first=True)(str(path))
    by_itk = n4ax.n4(sitk.ReadImage(str(path)), **keywords)
    target = folder / "corrected.nii"
    words = ["--shrink-factor", str(shrink_factor), "--iters", "2", "--conv-threshold", "0", "-q"]
    assert run_n4ax(["correct", str(path), "-o", str(target), *words]) == 0
    return {
        "nibabel": np.asarray(n4ax.n4(nib.load(path), **keywords).dataobj),
        "SimpleITK": sitk.GetArrayFromImage(by_itk).T,
        "file": np.asarray(nib.load(target).dataobj),  # type: ignore[attr-defined]
        "MONAI": OfMonai(**keywords)(loaded).numpy()[0],
        "TorchIO": OfTorchio(**keywords)(tio.ScalarImage(path)).numpy()[0],
    }


def find_volumes(shared: Path) -> Iterator[Path]:
    for path in sorted((shared / "data").glob("*.nii.gz")):
        if len(nib.load(path).shape) == 3:  # type: ignore[attr-defined]
            yield path


# ---- which voxels are sampled ----------------------------------------------------------------


def test_all_doors_take_the_same_voxels_of_real_volumes(shared: Path) -> None:
    for path in find_volumes(shared):
        places = find_places(path)
        assert set(places.values()) == {places["SimpleITK"]}, path.name
        shape = nib.load(path).shape  # type: ignore[attr-defined]
        for factor in (2, 3, 4):
            chosen = {
                choose_samples(shape, (factor,) * 3, ((0, 0),) * 3, place)
                for place in places.values()
            }
            assert len(chosen) == 1, (path.name, factor)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (2, 1), (0, 0)])
@pytest.mark.parametrize("seed", range(6))
def test_all_doors_take_the_same_voxels_at_ties(
    tmp_path: Path, seed: int, codes: tuple[int, int]
) -> None:
    """The lengths are multiples of the factor, so all samples lie midway between two voxels."""
    random = np.random.default_rng(seed)
    affine: npt.NDArray[np.float64] = np.eye(4)
    affine[:3, :3] = np.linalg.qr(random.normal(size=(3, 3)))[0] * random.choice(SPACINGS, 3)
    affine[:3, 3] = random.normal(0, 90, 3)
    scan = nib.Nifti1Image(PHANTOM, affine)
    scan.header.set_sform(affine, codes[0])
    scan.header.set_qform(affine, codes[1])
    nib.save(scan, tmp_path / "scan.nii")
    places = find_places(tmp_path / "scan.nii")
    assert set(places.values()) == {places["SimpleITK"]}
    found = correct_everywhere(tmp_path / "scan.nii", 2, tmp_path)
    for name, voxels in found.items():
        assert np.array_equal(voxels, found["SimpleITK"]), name


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_all_doors_take_the_same_pixels_of_slices(tmp_path: Path, seed: int, axis: int) -> None:
    random = np.random.default_rng(seed)
    affine: npt.NDArray[np.float64] = np.eye(4)
    affine[:3, :3] = np.linalg.qr(random.normal(size=(3, 3)))[0] * random.choice(SPACINGS, 3)
    affine[:3, 3] = random.normal(0, 90, 3)
    nib.save(nib.Nifti1Image(PHANTOM.take([6], axis), affine), tmp_path / "slice.nii")
    found = correct_everywhere(tmp_path / "slice.nii", 2, tmp_path)
    for name, voxels in found.items():
        assert np.array_equal(voxels, found["SimpleITK"]), name


def test_moved_image_is_placed_by_its_affine(tmp_path: Path) -> None:
    """A transform may have moved the image since its file was read."""
    monai = pytest.importorskip("monai.transforms")
    tio = pytest.importorskip("torchio")

    import n4ax.monai
    import n4ax.torchio

    path = write_raw(tmp_path / "a.nii", PHANTOM)
    loaded = monai.LoadImage(ensure_channel_first=True)(str(path))
    cropped = monai.SpatialCrop(roi_start=(2, 0, 0), roi_end=(16, 14, 12))(loaded)
    space = n4ax.monai.N4BiasFieldCorrection()._find_spacing(cropped)
    assert space == Space.from_affine(cropped.affine.numpy(), 3)
    flipped = tio.Flip(axes=(0,))(tio.CropOrPad((14, 14, 12))(tio.ScalarImage(path)))
    assert n4ax.torchio._find_space(flipped) == Space.from_affine(flipped.affine, 3)


def test_affine_of_monai_may_be_that_of_itk(tmp_path: Path) -> None:
    data = pytest.importorskip("monai.data")
    from monai.utils.enums import SpaceKeys

    import n4ax.monai

    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    itk = data.MetaTensor(PHANTOM[None], affine=affine, meta={"space": SpaceKeys.LPS})
    space = n4ax.monai.N4BiasFieldCorrection()._find_spacing(itk)
    assert space.origin == (10, 20, 30)  # type: ignore[union-attr]


# ---- headers that break the rules ------------------------------------------------------------

READ_BY_ITK: dict[str, dict[str, Any]] = {
    "long quaternion": {"quatern": [0, np.sqrt(1 + 1e-3), 0], "sform_code": 0},
    "NaN in pixdim": {"pixdim": [-1, 3, np.nan, 3.5, 1, 0, 0, 0]},
    "NaN in the qform": {"qoffset": [np.nan, -66, -60], "sform_code": 0},
    "no slope but an intercept": {"scl_slope": 0, "scl_inter": 25},
    "NaN for the intercept": {"scl_slope": 2, "scl_inter": np.nan},
}
REFUSED: dict[str, dict[str, Any]] = {
    "voxels in the header": {"vox_offset": 0},
    "NaN in the sform": {"srow": [np.nan] * 12, "qform_code": 0},
    "no length": {"dim": [3, 0, 14, 12, 1, 1, 1, 1]},
}


@pytest.mark.parametrize("name", READ_BY_ITK)
def test_programs_read_what_ants_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_raw(tmp_path / "a.nii", PHANTOM, **READ_BY_ITK[name])
    words = ["-d", "3", "-i", "a.nii", "-s", "2", "-c", "[3,0]", "-o"]
    ants.run(*words, "[theirs.nii,theirs_b.nii]")
    assert run_ants([*words, "[ours.nii,ours_b.nii]"]) == 0
    ours, theirs = (
        np.asarray(nib.load(f"{who}_b.nii").dataobj)  # type: ignore[attr-defined]
        for who in ("ours", "theirs")
    )
    np.testing.assert_allclose(np.log(ours), np.log(theirs), atol=ants.LARGEST)
    assert read_space(read_image(Path("ours.nii"))).spacing == (
        read_space(read_image(Path("theirs.nii"))).spacing
    )
    words = "correct a.nii --shrink-factor 2 --iters 3 -q -o c.nii"
    assert run_n4ax(words.split()) == 0


@pytest.mark.parametrize("name", REFUSED)
def test_programs_refuse_other_headers_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_raw(tmp_path / "a.nii", PHANTOM, **REFUSED[name])
    path.write_bytes(path.read_bytes() + bytes(8))
    assert run_ants(["-d", "3", "-i", "a.nii", "-s", "2", "-c", "[3,0]", "-o", "out.nii"]) == 1
    assert run_n4ax(["correct", "a.nii", "-o", "out.nii"]) != 0
    lines = capfd.readouterr().err.splitlines()
    assert len([line for line in lines if "a.nii cannot be read" in line]) == 2
    assert not any("Traceback" in line for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


def test_image_without_an_affine_is_corrected() -> None:
    expected = np.asarray(n4ax.n4(nib.Nifti1Image(PHANTOM, np.eye(4)), **QUICK).dataobj)
    found = n4ax.n4(nib.Nifti1Image(PHANTOM, None), **QUICK)
    assert isinstance(found, nib.Nifti1Image)
    assert found.affine is None
    assert np.array_equal(np.asarray(found.dataobj), expected)
    mask = nib.Nifti1Image((PHANTOM > 100).astype(np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert n4ax.n4(nib.Nifti1Image(PHANTOM, None), mask, **QUICK).shape == PHANTOM.shape


# ---- what a result inherits ------------------------------------------------------------------


def check_inherited(image: Any) -> None:
    """Nothing says how the original's intensities are to be shown, or that they are labels."""
    header = image.header
    for name in ("cal_min", "cal_max", "intent_code", "intent_p1"):
        assert float(header[name]) == 0, name
    assert bytes(header["intent_name"]).strip(b"\0") == b""
    assert bytes(header["aux_file"]).strip(b"\0") == b""
    assert bytes(header["descrip"]).startswith(b"a scan")


def test_results_in_python_inherit_no_display_range_or_intent(tmp_path: Path) -> None:
    scan = nib.load(write_raw(tmp_path / "a.nii", PHANTOM, **LABELLED))
    corrected, log_bias = n4ax.n4(scan, return_bias=True, **QUICK)
    for image in (corrected, log_bias, n4ax.otsu_mask(scan)):
        check_inherited(image)
    assert float(scan.header["cal_max"]) == 1000  # type: ignore[attr-defined]


def test_results_of_the_programs_inherit_no_display_range_or_intent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_raw(tmp_path / "a.nii", PHANTOM, **LABELLED)
    assert (
        run_ants(["-d", "3", "-i", "a.nii", "-s", "2", "-c", "[3,0]", "-o", "[b.nii,c.nii]"]) == 0
    )
    words = "correct a.nii --shrink-factor 2 --iters 3 -q -o d.nii --bias e.nii"
    assert run_n4ax(words.split()) == 0
    assert run_n4ax([*words.split()[:-3], "f.nii", "--dtype", "same"]) == 0
    for name in "bcdef":
        check_inherited(nib.load(f"{name}.nii"))


def test_results_of_a_study_inherit_no_display_range_or_intent(tmp_path: Path) -> None:
    folder = tmp_path / "study" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    write_raw(folder / "sub-01_T1w.nii", PHANTOM, **LABELLED)
    words = [str(tmp_path / "study"), str(tmp_path / "out"), "participant"]
    options = ["--shrink-factor", "2", "--iters", "3"]
    subprocess.run([sys.executable, "-m", "n4ax", "bids", *words, *options], check=True)
    written = sorted((tmp_path / "out").rglob("*.nii.gz"))
    assert len(written) == 2
    for path in written:
        check_inherited(nib.load(path))


def test_results_of_simpleitk_inherit_no_display_range_or_intent(tmp_path: Path) -> None:
    scan = sitk.ReadImage(str(write_raw(tmp_path / "a.nii", PHANTOM, **LABELLED)))
    for image in n4ax.n4(scan, return_bias=True, **QUICK):
        kept = image.GetMetaDataKeys()
        assert "descrip" in kept
        assert [key for key in kept if key.startswith(("cal_", "intent_", "aux_"))] == []


def test_results_in_analyze_format_inherit_no_range() -> None:
    scan = nib.AnalyzeImage(PHANTOM, np.eye(4))
    scan.header["cal_max"] = scan.header["glmax"] = 1000
    for image in n4ax.n4(scan, return_bias=True, **QUICK):
        assert float(image.header["cal_max"]) == float(image.header["glmax"]) == 0
