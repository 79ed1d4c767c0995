"""Mistakes that people make: each is told in one line, and nothing is written."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.cli.program import AFFINE, QUICK, phantom, run, save


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that people confuse."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "head.nii.gz", phantom())
    save(tmp_path / "t2.nii.gz", phantom())
    save(tmp_path / "bold.nii.gz", np.stack([phantom()] * 3, axis=-1))
    save(tmp_path / "p.nii.gz", (phantom() / 1200).astype(np.float32))
    save(tmp_path / "small_mask.nii.gz", np.ones((12, 10, 8), np.uint8))
    save(tmp_path / "empty_mask.nii.gz", np.zeros(phantom().shape, np.uint8))
    moved = AFFINE.copy()
    moved[:3, 3] = 400, 0, 0
    nib.save(nib.Nifti1Image(phantom(), moved), tmp_path / "other_person.nii.gz")
    assert run("correct", "head.nii.gz", "--field", "head.npz", "-o", "h.nii", "-q", *QUICK) == 0
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "text.nii.gz").write_text("no image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pointer.nii.gz").write_text("../.git/annex/objects/x/y/z.nii.gz")
    return tmp_path


MISTAKES = {
    "no command": ("head.nii.gz", "to correct images: n4ax correct head.nii.gz"),
    "no command, with options": ("head.nii.gz -o o.nii", "n4ax correct head.nii.gz -o o.nii"),
    "the output as a second image": (
        "correct head.nii.gz out.nii.gz",
        "n4ax correct head.nii.gz -o out.nii.gz",
    ),
    "a slip in a command": ("corect head.nii.gz", "No such command 'corect'"),
    "no image at all": ("correct", "give an image, a folder, or several of them"),
    "a name that is wrong": ("correct heda.nii.gz", "'heda.nii.gz' does not exist"),
    "a glob without a file": ("correct sub-*.nii.gz", "'sub-*.nii.gz' fits no file"),
    "a folder without images": ("correct empty", "has no images and no series of DICOM"),
    "text for an image": ("correct text.nii.gz", "text.nii.gz cannot be read as NIfTI"),
    "a pointer of datalad": ("correct pointer.nii.gz", "datalad get"),
    "a series": ("correct bold.nii.gz", "--series mean, --series first, --series each"),
    "slices of a series": ("correct bold.nii.gz --slicewise", "--slicewise is for volumes"),
    "one file for two images": (
        "correct head.nii.gz t2.nii.gz -o out.nii.gz",
        "--output out.nii.gz is one file for 2 images: give a folder, or a pattern",
    ),
    "one figure for two images": (
        "correct head.nii.gz t2.nii.gz --figure f.png",
        "--figure f.png is one file for 2 images: give a pattern such as '{stem}_figure.png'",
    ),
    "a word that is none": (
        "correct head.nii.gz t2.nii.gz --mask {name}_mask.nii.gz",
        "the words of patterns are {stem} and {folder}",
    ),
    "a mask of another grid": (
        "correct head.nii.gz --mask small_mask.nii.gz",
        "--mask small_mask.nii.gz has shape (12, 10, 8) and head.nii.gz has shape (24, 20, 16)",
    ),
    "an empty mask": ("correct head.nii.gz --mask empty_mask.nii.gz", "no voxel other than 0"),
    "a map of probabilities": ("correct head.nii.gz --mask p.nii.gz", "--mask-above 0.5"),
    "the output is the input": ("correct head.nii.gz -o head.nii.gz", "would overwrite the input"),
    "a format that is none": ("correct head.nii.gz -o out.jpg", "expected a name ending in .nii"),
    "a folder that is not there": ("correct head.nii.gz -o results/out.nii", "No such file"),
    "an output without an ending": ("correct head.nii.gz -o out", "for a folder write out/"),
    "a unit in a number": ("correct head.nii.gz --spline-distance 200mm", "'200mm' is not a valid"),
    "iterations of ANTs": ("correct head.nii.gz --iters [50x50]", "is not a whole number"),
    "an option of ANTs": ("correct -i head.nii.gz", "No such option"),
    "a field for another person": (
        "apply head.npz other_person.nii.gz",
        "other_person.nii.gz lies at x 400 to 446",
    ),
    "an image for a field": ("apply empty_mask.nii.gz head.nii.gz", "not above 0"),
    "text in place of a field": ("apply notes.txt head.nii.gz", "notes.txt cannot be read"),
    "too many jobs of nothing": ("correct head.nii.gz --jobs 0", "'--jobs': 0 is not in the range"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words, expected = MISTAKES[name]
    before = {path: path.stat().st_mtime_ns for path in files.rglob("*")}
    assert run(*words.split(" ")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("n4ax: error: ")
    assert expected in err
    assert {path: path.stat().st_mtime_ns for path in files.rglob("*")} == before
