"""``n4ax correct --preset auto``: settings that are chosen for each image, and by its tissues."""

import json
from pathlib import Path

import numpy as np
import pytest

import n4ax
from tests.cli.program import expect_error, read_voxels, run, save
from tests.support.heads import make_small_head


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shaded head and an even one, with masks and labels."""
    for name, swing in (("shaded", 0.9), ("even", 0.0)):
        head = make_small_head(swing, 3)
        affine = np.diag([*(head.spacing,) * 3, 1.0])
        for end, voxels in (("", head.image), ("_mask", head.mask), ("_seg", head.labels)):
            save(tmp_path / f"{name}{end}.nii.gz", voxels, affine)
    return tmp_path


def test_the_summary_and_the_record_say_what_was_chosen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, mask = folder / "shaded.nii.gz", folder / "shaded_mask.nii.gz"
    words = ["--mask", mask, "--preset", "auto"]
    target, record = folder / "out.nii.gz", folder / "out.json"
    assert run("correct", image, *words, "-o", target, "--json", record) == 0
    expected = n4ax.fit(str(image), str(mask), preset="auto")
    assert expected.choice is not None
    assert expected.choice.sentence in capsys.readouterr().out
    assert np.array_equal(read_voxels(target), np.asarray(expected.corrected.dataobj))
    written = json.loads(record.read_text())
    assert written["Choice"]["Sentence"] == expected.choice.sentence
    assert written["Settings"]["spline_distance"] == expected.settings.spline_distance
    assert written["Settings"]["iters"] == list(expected.settings.iters)
    assert "adapt" not in written["Settings"]


def test_tissues_are_found_by_a_pattern_and_are_part_of_the_stamp(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--mask", "{stem}_mask.nii.gz", "--tissues", "{stem}_seg.nii.gz", "--preset", "auto"]
    command = ["correct", folder / "shaded.nii.gz", folder / "even.nii.gz", "-o", folder / "r/"]
    assert run(*command, *words) == 0
    assert "2 corrected" in capsys.readouterr().out
    seen = json.loads((folder / "r" / "n4ax.json").read_text())
    sentences = json.dumps(seen)
    assert "makes the two tissues most even" in sentences
    assert run(*command, *words) == 0
    assert "2 unchanged" in capsys.readouterr().out
    labels = folder / "shaded_seg.nii.gz"
    save(labels, np.roll(read_voxels(labels), 1, axis=0), np.diag([12.0, 12.0, 12.0, 1.0]))
    assert run(*command, *words) != 2
    assert "1 corrected, 1 unchanged" in capsys.readouterr().out


def test_what_cannot_be_is_refused_by_the_names_of_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("correct", folder / "shaded.nii.gz", "--preset", "auto")
    error = expect_error(capsys, *start, "--iters", "50x50")
    assert "--preset auto chooses --iters for each image: leave out --iters" in error
    for words in (["--slicewise"], ["--shared-field"], ["--weights-from", "multiotsu"]):
        error = expect_error(capsys, *start, *words)
        assert "--preset auto chooses settings for one image at a time" in error
    for option in ("--slicewise", "--shared-field"):
        error = expect_error(capsys, *start[:2], "--tissues", folder / "shaded_seg.nii.gz", option)
        assert f"--tissues are for one volume with one field: leave out {option}" in error
    error = expect_error(capsys, *start, "--tissues", folder / "none.nii.gz")
    assert "--tissues" in error
    assert "none.nii.gz" in error


def test_the_methods_say_how_settings_were_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("correct", "--methods", "--preset", "auto") == 0
    by_strength = capsys.readouterr().out
    assert "by how much a first estimate of the field varied" in by_strength
    assert "50, 50, 50, 50" not in by_strength
    assert run("correct", "--methods", "--preset", "auto", "--tissues", "seg.nii.gz") == 0
    assert "of the two largest tissues" in capsys.readouterr().out
