"""``n4ax correct`` with several images: names, patterns, failures, tables and resuming."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.cli.program import QUICK, phantom, read_voxels, run, save


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three images with their masks, which is in the current folder."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, name in enumerate(("a", "b", "c")):
        save(scans / f"{name}.nii.gz", phantom() * (number + 1))
        inside = (phantom() > 200).astype(np.uint8)
        inside[number] = 0
        save(scans / f"{name}_mask.nii.gz", inside)
    monkeypatch.chdir(tmp_path)
    return scans


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_corrected_into_another(folder: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["scans", "-o", "out", "--mask", "{stem}_mask.nii.gz", "--bias", "{stem}_bias.nii.gz"]
    assert run("correct", *words, *QUICK) == 0
    expected = [f"{name}_{end}.nii.gz" for name in "abc" for end in ("bias", "n4")]
    assert list_names(Path("out")) == [*expected, "n4ax.json", "n4ax.tsv"]
    for name in "abc":
        words = [folder / f"{name}.nii.gz", "--mask", folder / f"{name}_mask.nii.gz"]
        assert run("correct", *words, "-o", "one.nii.gz", *QUICK) == 0
        assert np.array_equal(read_voxels(Path(f"out/{name}_n4.nii.gz")), read_voxels("one.nii.gz"))
    out = capsys.readouterr().out
    assert "3 corrected, 0 unchanged, 0 failed" in out
    assert "Left out: 3 files (masks, weights or results of others)." in out
    rows = read_table(Path("out/n4ax.tsv"))
    assert [row["image"] for row in rows] == [f"../scans/{name}.nii.gz" for name in "abc"]
    for row in rows:
        assert row["state"] == "corrected"
        assert row["iterations"] == "3x2"
        low, high = (float(row[f"field_{end}"]) for end in ("min", "max"))
        bias = read_voxels(Path("out", row["output"].replace("_n4", "_bias")))
        assert (low, high) == pytest.approx((bias.min(), bias.max()), abs=2e-6)


def test_globs_lists_and_patterns_name_the_same(folder: Path) -> None:
    mask = ["--mask", "{folder}/{stem}_mask.nii.gz", *QUICK, "-q"]
    listed = [folder / f"{name}.nii.gz" for name in "abc"]
    assert run("correct", *listed, "-o", "one", *mask) == 0
    assert run("correct", "scans/?.nii.gz", "-o", "two", *mask, "--jobs", "3") == 0
    assert run("correct", "scans/*.nii.gz", "-o", "{folder}/../{stem}_x.nii", *mask) == 0
    for name in "abc":
        first = read_voxels(Path(f"one/{name}_n4.nii.gz"))
        assert np.array_equal(first, read_voxels(Path(f"two/{name}_n4.nii.gz")))
        assert np.array_equal(first, read_voxels(Path(f"{name}_x.nii")))


def test_results_beside_the_images_are_no_images_of_the_next_run(folder: Path) -> None:
    mask = ["--mask", "{stem}_mask.nii.gz", *QUICK, "-q"]
    assert run("correct", "scans", *mask) == 0
    before = list_names(folder)
    assert "a_n4.nii.gz" in before
    assert run("correct", "scans", *mask, "--overwrite") == 0
    assert list_names(folder) == before


def test_a_run_goes_on_where_it_stopped(folder: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["correct", "scans", "-o", "out", "--mask", "{stem}_mask.nii.gz", *QUICK]
    assert run(*words) == 0
    times = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    assert run(*words) == 0
    assert "0 corrected, 3 unchanged" in capsys.readouterr().out
    for path, moment in times.items():
        assert path.stat().st_mtime_ns == moment, path
    # A changed mask, a result that is gone, and other settings: only these are done again.
    save(folder / "a_mask.nii.gz", (phantom() > 600).astype(np.uint8))
    Path("out/b_n4.nii.gz").unlink()
    assert run(*words) == 0
    assert "2 corrected, 1 unchanged" in capsys.readouterr().out
    assert run(*words, "--fwhm", "0.2") == 0
    assert "3 corrected, 0 unchanged" in capsys.readouterr().out
    assert run(*words, "--fwhm", "0.2", "--json", "{stem}.json") == 0
    assert "3 corrected, 0 unchanged" in capsys.readouterr().out
    assert json.loads(Path("out/a.json").read_text())["Settings"]["fwhm"] == 0.2


def test_thirty_images_with_two_broken_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(30):
        save(scans / f"{number:02d}.nii.gz", phantom((16, 14, 12)) + number)
    whole = (scans / "07.nii.gz").read_bytes()
    (scans / "07.nii.gz").write_bytes(whole[: len(whole) // 2])
    (scans / "19.nii.gz").write_text("no image")
    words = [
        "correct",
        "scans",
        "-o",
        "out",
        "--iters",
        "2",
        "--conv-threshold",
        "0",
        "--jobs",
        "2",
    ]
    assert run(*words) == 1
    out, err = capsys.readouterr()
    assert "28 corrected, 0 unchanged, 2 failed" in out
    failed = [line for line in err.splitlines() if line.startswith("n4ax: failed: ")]
    assert [line.split(": ")[2].split()[0] for line in failed] == [
        "scans/07.nii.gz", "scans/19.nii.gz"
    ]  # fmt: skip
    assert len(list(Path("out").glob("*_n4.nii.gz"))) == 28
    states = {row["image"]: row["state"] for row in read_table(Path("out/n4ax.tsv"))}
    assert sorted(name for name, state in states.items() if state == "failed") == [
        "../scans/07.nii.gz", "../scans/19.nii.gz"
    ]  # fmt: skip
    (scans / "07.nii.gz").write_bytes(whole)
    assert run(*words) == 1
    assert "1 corrected, 28 unchanged, 1 failed" in capsys.readouterr().out


def test_nothing_is_computed_if_a_mask_is_missing_or_does_not_fit(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["correct", "scans", "-o", "out", "--mask", "{stem}_mask.nii.gz", *QUICK]
    save(folder / "c_mask.nii.gz", np.ones((24, 20, 15), np.uint8))
    assert run(*words) == 2
    assert "c_mask.nii.gz has shape (24, 20, 15) and scans/c.nii.gz" in capsys.readouterr().err
    (folder / "c_mask.nii.gz").unlink()
    assert run(*words) == 2
    assert "c_mask.nii.gz is neither otsu nor all nor a file" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_full_disk_ends_the_run(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from n4ax.correction import work

    real, calls = work.write_images, []

    def fill(images: dict, *given: object) -> None:
        calls.append(images)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(next(iter(images))))
        real(images, *given)

    monkeypatch.setattr(work, "write_images", fill)
    words = ["correct", "scans", "-o", "out", "--mask", "{stem}_mask.nii.gz", *QUICK]
    assert run(*words) == 2
    assert "b_n4.nii.gz: No space left on device" in capsys.readouterr().err
    states = {row["image"]: row["state"] for row in read_table(Path("out/n4ax.tsv"))}
    assert states["../scans/a.nii.gz"] == "corrected"
    assert states["../scans/c.nii.gz"] == "planned"
    assert run(*words) == 0
    assert "2 corrected, 1 unchanged" in capsys.readouterr().out


def test_nothing_is_made_if_the_table_has_no_folder(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["correct", "scans", "-o", "out", "--table", "no/table.tsv", *QUICK]
    assert run(*words) == 2
    assert "no: No such file" in capsys.readouterr().err
    assert not Path("out").exists()


def test_masks_lie_beside_the_image_or_in_the_current_folder(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("masks").mkdir()
    for name in "abc":
        (folder / f"{name}_mask.nii.gz").rename(f"masks/{name}_mask.nii.gz")
    words = ["correct", "scans", "-q", *QUICK, "--mask", "masks/{stem}_mask.nii.gz"]
    assert run(*words, "-o", "out") == 0
    (folder / "masks").mkdir()
    save(folder / "masks" / "b_mask.nii.gz", np.ones(phantom().shape, np.uint8))
    assert run(*words, "-o", "other") == 2
    assert "may be scans/masks/b_mask.nii.gz or masks/b_mask.nii.gz" in capsys.readouterr().err


def test_the_table_is_where_it_is_asked_for(folder: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["correct", "scans", "--mask", "{stem}_mask.nii.gz", "--table", "done.tsv", *QUICK]
    assert run(*words) == 0
    assert run(*words) == 0
    assert "0 corrected, 3 unchanged" in capsys.readouterr().out
    content = json.loads(Path("done.json").read_text())
    assert [entry["output"] for entry in content["Images"]] == [
        f"scans/{name}_n4.nii.gz" for name in "abc"
    ]
    Path("done.json").write_text('{"mine": 1}')
    assert run(*words) == 2
    assert "done.json is not from n4ax correct" in capsys.readouterr().err


def test_a_stopped_run_says_what_is_written_and_goes_on(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    for number in range(6):
        save(folder / f"{number}.nii.gz", phantom((40, 40, 40)))
    options = ["-o", "out", "--iters", "400x400", "--conv-threshold", "0", "--num-threads", "1"]
    command = [sys.executable, "-m", "n4ax", "correct", "scans", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list(Path().glob("out/*_n4.nii.gz")) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    written = list(Path("out").glob("*_n4.nii.gz"))
    assert 0 < len(written) < 12
    assert f"n4ax: stopped: {len(written)} of " in err or f"{len(written) - 1} of " in err
    assert not [name for name in os.listdir("out") if name.startswith(".n4ax")]
    times = {path: path.stat().st_mtime_ns for path in written}
    assert run("correct", "scans", *options) == 1  # masks without variance are among the images
    kept = [path for path, moment in times.items() if path.stat().st_mtime_ns == moment]
    assert len(kept) >= len(written) - 1
    capsys.readouterr()


def test_names_in_capitals_and_pairs_are_found_once(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    save(scans / "A.NII.GZ", phantom())
    nib.save(nib.Nifti1Pair(phantom(), np.eye(4)), scans / "pair.img")
    (scans / "notes.txt").write_text("no image")
    assert run("correct", scans, "-o", tmp_path / "out", *QUICK, "-q") == 0
    names = [name for name in list_names(tmp_path / "out") if not name.startswith("n4ax")]
    assert [name.split("_")[0] for name in names if "_n4" in name and ".hdr" not in name] == [
        "A", "pair"
    ]  # fmt: skip


def corrected(capsys: pytest.CaptureFixture, *words: object) -> int:
    """Run with these words, and return how many images were corrected."""
    assert run(*words) == 0
    return int(capsys.readouterr().out.split(" corrected")[0].split()[-1])


def test_images_are_done_again_if_anything_that_they_depend_on_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    volumes = np.stack([phantom(), phantom() // 2, phantom() // 3], axis=-1)
    save(Path("dwi.nii.gz"), volumes)
    Path("dwi.bval").write_text("0 1000 5\n")
    words = ["correct", "dwi.nii.gz", "--series", "b0", "--table", "t.tsv", *QUICK]
    assert corrected(capsys, *words) == 1
    assert corrected(capsys, *words) == 0
    Path("dwi.bval").write_text("0 1000 1000\n")
    assert corrected(capsys, *words) == 1
    assert corrected(capsys, *words, "--dtype", "same") == 1
    save(Path("t1w.nii.gz"), phantom())
    save(Path("weights.nii.gz"), (phantom() > 200).astype(np.float32))
    words = ["correct", "t1w.nii.gz", "--table", "t.tsv", *QUICK]
    assert run("correct", "t1w.nii.gz", "-o", "x.nii", "--field", "f.npz", "-q", *QUICK) == 0
    assert (
        run("correct", "t1w.nii.gz", "-o", "x.nii", "--field", "g.npz", "-q", "--iters", "2") == 0
    )
    for further in (["--init", "f.npz"], ["--weights", "weights.nii.gz"]):
        assert corrected(capsys, *words, *further) == 1
        # The same files by other names are the same files.
        longer = [further[0], str(tmp_path / further[1])]
        assert corrected(capsys, *words, *longer) == 0
    Path("f.npz").write_bytes(Path("g.npz").read_bytes())
    assert corrected(capsys, *words, "--init", "f.npz") == 1
    save(Path("weights.nii.gz"), (phantom() > 600).astype(np.float32))
    assert corrected(capsys, *words, "--weights", "weights.nii.gz") == 1


def test_the_engine_counts(folder: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("jax")
    words = ["correct", "scans/a.nii.gz", "--table", "t.tsv", *QUICK, "--engine"]
    assert [corrected(capsys, *words, engine) for engine in ("cpu", "cpu", "xla")] == [1, 0, 1]


def test_names_do_not_depend_on_the_current_folder(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = ["--mask", "{stem}_mask.nii.gz", *QUICK]
    assert corrected(capsys, "correct", "scans", "-o", "out", *mask) == 3
    monkeypatch.chdir("out")
    assert corrected(capsys, "correct", "../scans", "-o", ".", *mask) == 0
    assert corrected(capsys, "correct", folder, "-o", folder.parent / "out", *mask) == 0


def test_files_of_others_are_not_replaced(folder: Path, capsys: pytest.CaptureFixture) -> None:
    mask = ["--mask", "{stem}_mask.nii.gz", *QUICK]
    assert run("correct", "scans", "-o", "out", *mask) == 0
    mine = save(Path("out/a_used.nii.gz"), phantom())
    before = mine.read_bytes()
    words = ["correct", "scans", "-o", "out", *mask, "--mask-output", "{stem}_used.nii.gz"]
    assert run(*words) == 2
    assert "out/a_used.nii.gz exists already: give --overwrite" in capsys.readouterr().err
    assert mine.read_bytes() == before
    assert run(*words, "--overwrite") == 0
    assert run(*words, "--fwhm", "0.3") == 0  # now it is known


def test_tables_replace_nothing_else(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("participants.tsv").write_text("participant_id\n")
    image = (folder / "a.nii.gz").read_bytes()
    for table, words in (
        ("scans/a.nii.gz", "expected a name ending in .tsv"),
        ("participants.tsv", "participants.tsv is not from n4ax correct"),
        ("out.json", "expected a name ending in .tsv"),
    ):
        assert run("correct", "scans", "-o", "out", "--table", table, *QUICK) == 2
        assert words in capsys.readouterr().err
    words = ["correct", "scans/a.nii.gz", "--table", "t.tsv", "--json", "t.json", *QUICK]
    assert run(*words) == 2
    assert "--json t.json would be the result of the table" in capsys.readouterr().err
    assert Path("participants.tsv").read_text() == "participant_id\n"
    assert (folder / "a.nii.gz").read_bytes() == image


def test_inputs_of_all_images_are_kept(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("correct", "scans/a.nii.gz", "--field", "scans/a.npz", "-q", *QUICK) == 0
    words = ["correct", "scans", "--init", "scans/a.npz", "--field", "{stem}.npz", "--overwrite"]
    assert run(*words, *QUICK) == 2
    assert "a.npz would overwrite the input scans/a.npz" in capsys.readouterr().err


def test_other_results_are_named_from_their_folder(folder: Path) -> None:
    mask = ["--mask", "{stem}_mask.nii.gz", "-q", *QUICK]
    names = ["--bias", "{folder}/{stem}_bias.nii.gz", "--json", "{stem}.json"]
    assert run("correct", "scans", "-o", "out", *mask, *names) == 0
    assert (folder / "a_bias.nii.gz").exists()
    assert Path("out/a.json").exists()
    # Fields beside the images are no images of the next run.
    assert run("correct", "scans", "-o", "out", *mask, *names) == 0
    assert not Path("out/a_bias_n4.nii.gz").exists()


def test_two_runs_share_a_table(folder: Path) -> None:
    from n4ax.correction.outcome import Outcome
    from n4ax.correction.table import Table

    Path("out").mkdir()
    tables = [Table(Path("out/n4ax.tsv")) for _ in range(2)]
    for table, name in zip(tables, ("a", "b"), strict=True):
        table.add(Outcome(f"scans/{name}.nii.gz", Path(f"out/{name}_n4.nii.gz"), "failed", "why"))
        table.write()
    rows = read_table(Path("out/n4ax.tsv"))
    assert [row["output"] for row in rows] == ["a_n4.nii.gz", "b_n4.nii.gz"]


def test_hidden_files_and_other_files_are_no_images(folder: Path) -> None:
    (folder / "._a.nii.gz").write_text("Mac OS")
    (folder / "field.npz").write_text("")
    mask = ["--mask", "{stem}_mask.nii.gz", "-q", *QUICK]
    assert run("correct", "scans", "-o", "one", *mask) == 0
    assert run("correct", "scans/*", "-o", "two", *mask) == 0
    assert list_names(Path("one")) == list_names(Path("two"))
    assert len(list_names(Path("one"))) == 5


def test_results_of_before_are_no_images(folder: Path, capsys: pytest.CaptureFixture) -> None:
    mask = ["--mask", "{stem}_mask.nii.gz", *QUICK]
    assert corrected(capsys, "correct", "scans", *mask, "--mask-output", "{stem}_used.nii.gz") == 3
    # Another suffix and no pattern: their headers say what they are.
    masks = [str(folder / f"{name}_mask.nii.gz") for name in "abc"]
    for path in masks:
        Path(path).unlink()
    assert corrected(capsys, "correct", "scans", "--suffix", "_flat", *QUICK) == 3
    assert run("correct", "scans/a_n4.nii.gz", "-q", *QUICK) == 0  # named, it is an image
    assert run("correct", "scans/*_n4.nii.gz", *QUICK) == 2
    assert "there are only masks, weights and results of n4ax" in capsys.readouterr().err


def test_a_mask_for_all_images_is_no_image(folder: Path, capsys: pytest.CaptureFixture) -> None:
    mine = save(folder / "aseg.nii.gz", (phantom() // 100).astype(np.int16))
    words = ["correct", "scans/?.nii.gz", mine, "-o", "out", *QUICK]
    assert corrected(capsys, *words, "--mask", f"otsu & {mine}=4,8") == 3
    assert corrected(capsys, *words, "--mask", mine) == 3
    assert not Path("out/aseg_n4.nii.gz").exists()


def test_a_folder_of_dicom_is_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("SimpleITK")
    pytest.importorskip("pydicom")
    from tests.images.test_dicom import write_series

    monkeypatch.chdir(tmp_path)
    write_series(Path("mr"))
    words = ["-q", "--iters", "2", "--conv-threshold", "0", "--mask", "all", "--mesh", "1"]
    for given in (["mr"], ["mr/*.dcm"], ["mr", "-o", "mr/out.nii.gz"], ["mr", "-o", "again.nii"]):
        assert run("correct", *given, *words) == 0
    monkeypatch.chdir("mr")
    assert run("correct", ".", "-o", "../here.nii", *words) == 0
    names = [path.name for path in sorted(tmp_path.rglob("*.nii*"))]
    assert len(names) == 5
    assert names.count("out.nii.gz") == 1


def test_names_that_are_no_text_are_in_the_table(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    save(scans / "a.nii", phantom()).rename(scans / os.fsdecode(b"bad\xff.nii"))
    save(scans / "good.nii", phantom())
    for _ in range(2):
        assert run("correct", scans, "-o", tmp_path / "out", "-q", *QUICK) == 0
    assert len(read_table(tmp_path / "out" / "n4ax.tsv")) == 2


def test_a_slash_makes_a_folder(folder: Path) -> None:
    assert run("correct", "scans/a.nii.gz", "-o", "new/", "-q", *QUICK) == 0
    assert list_names(Path("new")) == ["a_n4.nii.gz"]
    words = ["-o", "other", "--bias", "{folder}/../fields/{stem}.nii.gz"]
    assert run("correct", "scans/?.nii.gz", *words, "-q", *QUICK) == 0
    assert list_names(Path("fields")) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]


def test_everything_that_is_replaced_is_named(folder: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["correct", "scans/a.nii.gz", "-o", "o.nii", "--bias", "b.nii", *QUICK]
    assert run(*words) == 0
    assert "replaced" not in capsys.readouterr().out
    assert run(*words) == 0
    assert capsys.readouterr().out.count("(replaced a file of 20") == 2


def test_results_without_a_signature_that_were_not_entered_are_known(folder: Path) -> None:
    Path("out").mkdir()
    words = ["correct", "scans/a.nii.gz", "-o", "out/a.mgz", "--table", "out/t.tsv", "-q", *QUICK]
    assert run(*words) == 0
    table = Path("out/t.json")
    content = json.loads(table.read_text())
    # So the table is if the run was killed, or the disk was full, just after the image was written.
    planned = {"image": "../scans/a.nii.gz", "state": "planned", "Files": {"a.mgz": None}}
    table.write_text(json.dumps(content | {"Images": [{"output": "a.mgz"} | planned]}))
    assert run(*words) == 0
    assert json.loads(table.read_text())["Images"][0]["state"] == "corrected"
