"""What ``n4ax correct`` says about its results, and what it does with corrected images."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.program import QUICK, expect_error, phantom, run, save

NORM = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], "Manufacturer": "Siemens"}


@pytest.fixture
def negative(tmp_path: Path) -> Path:
    """An image with negative voxels."""
    image = phantom()
    image[8:10, 8:10, 8:10] = -9
    return save(tmp_path / "negative.nii.gz", image)


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def test_notes_follow_the_summary_and_stand_in_the_record(
    negative: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.json"
    assert run("correct", negative, "--mask", "all", "--json", record, *QUICK) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    (line,) = [line for line in err.splitlines() if "negative and" in line]
    assert line.startswith("n4ax: note: 0.1 % of the voxels in the mask are negative")
    assert "with --non-positive exclude" in line
    verdict = json.loads(record.read_text())["Verdict"]
    (message,) = [m for m in verdict["Messages"] if m["Code"] == "non-positive"]
    assert message == {"Code": "non-positive", "Serious": True, "Text": line[len("n4ax: note: ") :]}
    assert set(verdict["Measures"]) == {
        "cjv_before", "cjv_after", "inu_med", "inu_range", "inu_p05", "inu_p95",
    }  # fmt: skip
    assert run("correct", negative, "--mask", "all", "-q", *QUICK) == 0
    assert capsys.readouterr() == ("", "")


def test_strict_gives_suspicious_results_another_status(
    scan: Path, negative: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--mask", "all", "-q", *QUICK]
    target = tmp_path / "out.nii.gz"
    assert run("correct", negative, "-o", target, "--strict", *words) == 1
    assert target.exists()
    end = "; --strict ends with status 1\n"
    assert capsys.readouterr() == ("", f"n4ax: suspicious: {negative} (non-positive){end}")
    assert run("correct", scan, "-o", target, "--strict", *words) == 0
    several = ["correct", scan, negative, "-o", tmp_path / "results", *words]
    assert run(*several) == 0
    notes = {row["image"]: row["notes"] for row in read_table(tmp_path / "results" / "n4ax.tsv")}
    assert notes == {"../scan.nii.gz": "n/a", "../negative.nii.gz": "non-positive"}
    assert run(*several, "--strict") == 1  # although nothing had to be done
    said = capsys.readouterr().err
    assert said == f"n4ax: suspicious: {negative} (as an earlier run found){end}"
    assert run("correct", scan, scan, "-o", tmp_path / "others", "--strict", *words) == 0
    assert capsys.readouterr() == ("", "")


def test_notes_on_many_images_are_told_once_for_each_kind(
    negative: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.nii.gz").write_bytes(negative.read_bytes())
    given = [tmp_path / f"{name}.nii.gz" for name in "ab"]
    assert run("correct", *given, "-o", tmp_path / "out", "--mask", "all", *QUICK) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "note:" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"n4ax: note: {given[0]} and 1 more: 0.1 % of the voxels")


def write_metadata(scan: Path, metadata: Any = NORM) -> None:
    (scan.parent / "scan.json").write_text(json.dumps(metadata))


def test_images_that_the_scanner_corrected_get_a_note(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_metadata(scan)
    assert run("correct", scan, *QUICK) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "already" in line]
    assert "(ImageType has NORM)" in line
    assert "--already skip leaves such images out" in line
    first = (tmp_path / "scan_n4.nii.gz").read_bytes()
    assert run("correct", scan, *QUICK, "--already", "correct", "--strict") == 0
    assert "already" not in capsys.readouterr().err
    assert (tmp_path / "scan_n4.nii.gz").read_bytes() == first
    for strange in ([1], "text", None, {"ImageType": {}}):
        write_metadata(scan, strange)
        assert run("correct", scan, *QUICK) == 0
        assert "already" not in capsys.readouterr().err
    (tmp_path / "scan.json").write_bytes(b"\xff{")
    assert run("correct", scan, *QUICK) == 0


def test_such_images_are_left_out_if_asked(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_metadata(scan)
    before = sorted(tmp_path.iterdir())
    assert run("correct", scan, *QUICK, "--already", "skip") == 0
    assert "was left out: ImageType has NORM; no file was written." in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == before
    other = save(tmp_path / "other.nii.gz", phantom())
    for shared in ([], ["--shared-field", "--field", tmp_path / "field.npz"]):
        results = tmp_path / f"results{len(shared)}"
        words = ["correct", scan, other, "-o", results, "--already", "skip", *shared, *QUICK]
        assert run(*words) == 0
        assert "Left out: 1 image that was corrected before." in capsys.readouterr().out
        states = {row["image"]: row["state"] for row in read_table(results / "n4ax.tsv")}
        assert states == {"../scan.nii.gz": "skipped", "../other.nii.gz": "corrected"}
        assert not (results / "scan_n4.nii.gz").exists()
    assert (tmp_path / "field.npz").exists()


def test_our_own_results_are_recognised(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("correct", scan, "-q", *QUICK) == 0
    result = scan.with_name("scan_n4.nii.gz")
    assert run("correct", result, *QUICK) == 0
    assert "(the header says that n4ax made it)" in capsys.readouterr().err
    assert run("correct", result, *QUICK, "--already", "skip") == 0
    assert "was left out: the header says that n4ax made it" in capsys.readouterr().out


def test_series_and_slices_have_a_verdict(tmp_path: Path) -> None:
    image = phantom().astype(np.float32)
    series = save(tmp_path / "series.nii.gz", np.stack([image, image * 1.1], axis=-1))
    scan = save(tmp_path / "scan.nii.gz", image)
    target, record = tmp_path / "out.nii.gz", tmp_path / "out.json"
    for given in (
        [series, "--series", "mean"], [series, "--series", "each"], [series, "--series", "4d"],
        [scan, "--slicewise"], [scan, "--weights-from", "multiotsu"],
    ):  # fmt: skip
        assert run("correct", *given, "-o", target, "--json", record, "-q", *QUICK) == 0
        assert json.loads(record.read_text())["Verdict"]["Measures"]["inu_med"] > 0


def test_words_for_already_are_checked(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--already" in expect_error(capsys, "correct", scan, "--already", "maybe")
