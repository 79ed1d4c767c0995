"""``n4ax tune``: what it prints and writes, and that its command lines do what it says."""

import csv
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.ants.program import main as run_ants
from n4ax.level import compute_bias
from tests.cli.program import expect_error, read_voxels, run, save
from tests.support.heads import make_small_head

MASK = ["--mask", "{stem}_mask.nii.gz"]
TISSUES = ["--tissues", "{stem}_seg.nii.gz"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat head and two shaded ones, one of them of larger voxels; masks and labels."""
    folder = tmp_path_factory.mktemp("study")
    for name, swing, step in (("flat", 0.0, 2), ("mild", 0.5, 3), ("strong", 0.9, 2)):
        head = make_small_head(swing, step)
        affine = np.diag([*(head.spacing,) * 3, 1.0])
        save(folder / f"{name}.nii.gz", head.image, affine)
        save(folder / f"{name}_mask.nii.gz", head.mask, affine)
        save(folder / f"{name}_seg.nii.gz", head.labels, affine)
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(made, tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    return folder


def read_commands(out: str) -> dict[str, list[str]]:
    """The words of the command lines that were printed, by their program."""
    parts = out.replace("\\\n", " ").split("\n\nWith ")[1:]
    read = {}
    for part in parts:
        name, lines = part.split(":\n\n", 1)
        read[name] = shlex.split(lines.split("\n\n")[0])
    return read


def read_record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "tune.json").read_text(encoding="utf-8"))


def test_tables_and_sentence_fit_80_columns_and_nothing_is_written(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(study.rglob("*"))
    assert run("tune", study, *MASK, *TISSUES) == 0
    out, err = capsys.readouterr()
    assert sorted(study.rglob("*")) == before
    assert sorted(Path().iterdir()) == [Path("study")]
    assert max(map(len, out.splitlines())) <= 80
    images, best, sentence, *_ = out.split("\n\n")
    head, *rows = [line.split() for line in images.splitlines()]
    assert head == ["image", "reach", "CJV", "before", "after"]
    assert [Path(row[0][-14:]).name for row in rows[:3]] == [
        "flat.nii.gz", "mild.nii.gz", "strong.nii.gz",
    ]  # fmt: skip
    assert best.count("<- chosen") == 1
    assert "leave as it is" in best
    assert sentence.startswith("Chosen: a spline distance of ")
    assert "n4ax: 3 of 3 done" in err


def test_files_hold_everything_that_was_tried(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", study, *MASK, *TISSUES, "-o", "new/tuning") == 0
    assert "Wrote new/tuning/tune.tsv, new/tuning/tune.json" in capsys.readouterr().out
    folder = Path("new/tuning")
    record = read_record(folder)
    with (folder / "tune.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert len(rows) == 3 * len(record["Tried"]) == 66
    (chosen,) = {(r["spline_distance_mm"], r["iterations"], r["fwhm"])
                 for r in rows if r["chosen"] == "yes"}  # fmt: skip
    settings = record["Settings"]
    assert float(chosen[0]) == settings["spline_distance"]
    assert chosen[1] == "x".join(map(str, settings["iters"]))
    assert float(chosen[2]) == settings["fwhm"]
    best = min(record["Tried"], key=lambda one: one["Criterion"])
    assert best["SplineDistance"] == settings["spline_distance"]
    assert set(record["SoftwareVersions"]) == {"n4ax", "numpy"}
    assert record["Mask"] == MASK[1]
    for image in record["Images"]:
        assert set(image["Inputs"]) == {"Image", "Mask", "Tissues"}
        assert len(image["Digests"]) == 3
        assert len(image["Tried"]) == 22
        assert image["Tried"][0]["SpreadPercent"] == 0
    pytest.importorskip("matplotlib")
    assert (folder / "tune.png").read_bytes().startswith(b"\x89PNG")


def test_the_answer_does_not_depend_on_order_and_threads(study: Path) -> None:
    names = [study / f"{name}.nii.gz" for name in ("flat", "mild", "strong")]
    assert run("tune", *names, *MASK, "-q", "-o", "a", "--num-threads", 1) == 0
    assert run("tune", *names[::-1], *MASK, "-q", "-o", "b", "--num-threads", 2) == 0
    first, second = (read_record(Path(name)) for name in "ab")
    assert first["Images"] == second["Images"][::-1]
    for name in set(first) - {"Images"}:
        assert first[name] == second[name]
    rows = [sorted(Path(name, "tune.tsv").read_text().splitlines()) for name in "ab"]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("tissues", [[], TISSUES])
def test_the_command_line_of_n4ax_gives_the_settings(
    study: Path, capsys: pytest.CaptureFixture[str], tissues: list[str]
) -> None:
    image = study / "strong.nii.gz"
    dilated = ["--mask-dilate", "-4", "--mask-label", "1", "--nonfinite", "exclude"]
    assert run("tune", image, *MASK, *dilated, *tissues, "-o", "tuning") == 0
    words = read_commands(capsys.readouterr().out)["n4ax"]
    record = read_record(Path("tuning"))
    assert shlex.split(record["Commands"]["n4ax"]) == words
    assert words[:3] == ["n4ax", "correct", "IMAGE"]
    assert run("correct", image, *words[3:], "-q", "-o", "c.nii.gz", "--json", "c.json") == 0
    done = json.loads(Path("c.json").read_text())
    assert done["Settings"] == record["Settings"]
    assert (done["MaskLabels"], done["MaskDilate"]) == ([1], -4)
    # The preset chooses the same.
    auto = ["--preset", "auto", "--json", "auto.json", *MASK, *dilated, *tissues]
    assert run("correct", image, *auto, "-q", "-o", "auto.nii.gz") == 0
    assert json.loads(Path("auto.json").read_text())["Settings"] == record["Settings"]
    assert np.array_equal(read_voxels(Path("auto.nii.gz")), read_voxels(Path("c.nii.gz")))


def test_the_command_line_of_ants_gives_the_same_field(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, mask = study / "strong.nii.gz", study / "strong_mask.nii.gz"
    assert run("tune", image, *MASK, "-o", "tuning") == 0
    words = read_commands(capsys.readouterr().out)["ANTs"]
    assert words[0] == "N4BiasFieldCorrection"
    places = {"IMAGE": str(image), "OUTPUT": "[out.nii,bias.nii]", "MASK": str(mask)}
    assert run_ants([places.get(word, word) for word in words[1:]]) == 0
    assert capsys.readouterr().err == ""
    settings = read_record(Path("tuning"))["Settings"]
    same = ("iters", "conv_threshold", "fwhm", "wiener", "nbins", "spline_distance")
    result = n4ax.fit(
        nib.load(image), nib.load(mask), shrink_factor=min(settings["shrink_factor"]),
        **{name: settings[name] for name in same},
    )  # fmt: skip
    bias = np.asanyarray(nib.load("bias.nii").dataobj)
    assert bias.dtype == np.float32
    assert np.ptp(bias) > 0.1
    assert np.array_equal(
        bias, compute_bias(np.asanyarray(result.log_bias.dataobj), result.settings)
    )


def test_images_that_need_no_correction_are_left(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", study / "flat.nii.gz", *MASK, *TISSUES, "-o", "tuning") == 0
    out, _ = capsys.readouterr()
    assert "No correction is the best choice" in out
    assert "n4ax correct" not in out
    assert "N4Bias" not in out
    record = read_record(Path("tuning"))
    assert record["LeftAsTheyAre"] is True
    assert record["Commands"] == {}


def test_the_whole_image_needs_no_mask_in_ants(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", study / "strong.nii.gz", "--mask", "none") == 0
    commands = read_commands(capsys.readouterr().out)
    assert "-x" not in commands["ANTs"]
    assert commands["n4ax"][3:5] == ["--mask", "all"]


def test_a_series_is_tuned_on_what_its_field_is_estimated_on(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = nib.load(study / "strong.nii.gz")
    voxels = head.get_fdata(dtype=np.float32)
    series = save(study / "series.nii.gz", np.stack([voxels, voxels[::-1]], -1), head.affine)
    shutil.copy(study / "strong_mask.nii.gz", study / "series_mask.nii.gz")
    assert run("tune", series, *MASK, "--series", "0", "-o", "first") == 0
    out, _ = capsys.readouterr()
    assert read_commands(out)["n4ax"][5:7] == ["--series", "0"]
    assert "For ANTs, IMAGE is the volume that the field is estimated on." in out
    assert run("tune", study / "strong.nii.gz", *MASK, "-q", "-o", "alone") == 0
    first, alone = (read_record(Path(name)) for name in ("first", "alone"))
    assert first["Settings"] == alone["Settings"]
    assert first["EstimatedOn"] == 0
    assert "--series is 'each'" in expect_error(capsys, "tune", series, *MASK, "--series", "each")
    assert "say with --series" in expect_error(capsys, "tune", series, *MASK)


def test_quiet_prints_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tune", study / "mild.nii.gz", *MASK, "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_bad_input_is_told_in_one_line(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mild, strong = study / "mild.nii.gz", study / "strong.nii.gz"
    assert "give an image" in expect_error(capsys, "tune")
    message = expect_error(capsys, "tune", study / "missing.nii.gz")
    assert message.startswith("n4ax: error: IMAGE '")
    missing = ["--mask", "{stem}_brain.nii.gz"]
    assert "--mask" in expect_error(capsys, "tune", mild, strong, *missing)
    (study / "mild_seg.nii.gz").unlink()
    message = expect_error(capsys, "tune", strong, mild, *MASK, *TISSUES)
    assert "--tissues mild_seg.nii.gz does not exist" in message
    whole = ["--tissues", study / "strong_mask.nii.gz"]
    message = expect_error(capsys, "tune", strong, *MASK, *whole)
    assert f"{strong}: --tissues have" in message
    hole = read_voxels(mild).copy()
    hole[10, 10] = np.nan
    save(mild, hole, nib.load(mild).affine)
    message = expect_error(capsys, "tune", strong, mild, "--mask", "all")
    assert f"{mild}: " in message
    assert "--nonfinite exclude" in message


def test_files_are_written_together_or_not_at_all(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tuning/tune.png").mkdir(parents=True)
    message = expect_error(capsys, "tune", study / "mild.nii.gz", *MASK, "-o", "tuning")
    assert "tune.png: is a folder" in message
    assert [path.name for path in Path("tuning").iterdir()] == ["tune.png"]
    message = expect_error(capsys, "tune", study / "mild.nii.gz", "-o", study / "mild.nii.gz" / "x")
    assert "mild.nii.gz" in message


def test_without_matplotlib_there_is_no_picture_but_a_note(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("n4ax.tuning.plot", "n4ax.figure"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("tune", study / "mild.nii.gz", *MASK, "-o", "tuning") == 0
    assert "tune.png was not drawn: it needs matplotlib" in capsys.readouterr().err
    assert sorted(path.name for path in Path("tuning").iterdir()) == ["tune.json", "tune.tsv"]
