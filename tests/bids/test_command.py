"""The command ``n4ax bids``: dry runs, bad input, and what it says about single images."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from n4ax.cli import main
from tests.bids.runs import find_images, make_small_study, read_errors, run_small_study


def test_a_dry_run_lists_and_does_nothing(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    arguments = ["bids", str(study), str(output), "participant", "--dry-run"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{len(lines) - 1} images of 6 participants")
    assert any(
        "-> sub-01/ses-1/anat/sub-01_ses-1_run-1_desc-n4_T1w.nii.gz (mask" in x for x in lines
    )
    assert not output.exists()
    assert main([*arguments, "--participant_label", "01", "02", "--session_label", "ses-1"]) == 0
    assert "4 images of 2 participants" in capsys.readouterr().out
    lists = ["bids", "--participant-label", "01", str(study), str(output), "participant"]
    assert main([*lists, "--suffix=T1w", "-n"]) == 0
    assert "2 images of 1 participant;" in capsys.readouterr().out
    assert main([*arguments, "--mask", "masks/{folder}/{stem}.nii.gz"]) == 1
    assert "-> --mask finds no mask at " in capsys.readouterr().out
    jobs = ["--cluster", "slurm", "--walltime", "02:00:00", "--n-procs", "3"]
    assert main([*arguments, *jobs]) == 0
    script = capsys.readouterr().out.split("The script of each job:")[1]
    assert "#SBATCH -t 02:00:00" in script
    assert "#SBATCH --cpus-per-task=3" in script
    assert main(["bids", str(study), str(output), "group", "-n"]) == 0
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "out", "participant"], "'none' does not exist"),
        (["study", "out", "everybody"], "'everybody' is not one of"),
        (["study", "study", "participant"], "OUTPUT_DIR study is the source dataset"),
        (["empty", "out", "participant"], "has no folder sub-<label>"),
        (["study", "other", "participant"], "holds another dataset"),
        (["study", "out", "participant", "--participant-label", "99"], "sub-99 was not found in"),
        (["study", "out", "participant", "--suffix", "T9w"], "(suffixes T9w); it has T1w"),
        (["study", "out", "participant", "--session-label", "9"], "sessions 9); it has T1w"),
        (["study", "study/sub-01/out", "participant"], "among the images of a participant"),
        (["study", "made", "participant"], "holds images of made/../another"),
        (["study", "made", "group"], "holds images of made/../another"),
        (["study", "nowhere", "group"], "OUTPUT_DIR nowhere does not exist"),
        (["study", "out", "participant", "--participant-label", "01", "02"], "no image of sub-02"),
        (["study", "out", "participant", "--mask", ""], "'--mask': the name is empty"),
        (["study", "out", "participant", "--mask", "None"], "'None' is written in small letters"),
        (["study", "out", "participant", "--memory-gb", "99999"], "more than the"),
        (["study", "out", "participant", "--memory-gb", "0.1"], "expected at least 0.5 ("),
        (["study", "out", "participant", "--series", "b0"], "--series b0 is what diffusion"),
        (["study", "out", "participant", "--memory-gb", "much"], "not of the form 16"),
        (["study", "out", "participant", "--shrink-factor", "0"], "--shrink-factor"),
        (["study", "out", "participant", "--bids-filter-file", "bad.json"], "read as JSON"),
        (["study", "out", "participant", "--bids-filter-file", "odd.json"], "entities: colour"),
        (["study", "out", "participant", "--cluster", "slurm", "--walltime", "1h"], "--walltime"),
        (["study", "out", "participant", "--queue", "long"], "--queue is 'long', but --cluster"),
        (["study", "out", "participant", "--scheduler", "here"], "--scheduler is 'here'"),
        (["study", "out", "participant", "--cluster-options", "bad.json"], "bad.json is not JSON"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    arguments: Sequence[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study/sub-01/anat").mkdir(parents=True)
    Path("study/sub-01/anat/sub-01_T1w.nii.gz").touch()
    Path("study/sub-02").mkdir()
    Path("another").mkdir()
    Path("made").mkdir()
    made = {"GeneratedBy": [{"Name": "n4ax"}], "DatasetLinks": {"raw": "../another"}}
    Path("made/dataset_description.json").write_text(json.dumps(made))
    Path("empty").mkdir()
    Path("other").mkdir()
    Path("other/dataset_description.json").write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}]}')
    Path("bad.json").write_text("{")
    Path("odd.json").write_text('{"t1w": {"colour": "red"}}')
    assert main(["bids", *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len([line for line in errors.splitlines() if " note: " not in line]) == 1
    assert not Path("out").exists()


def test_odd_names_fail_alone(
    tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_small_study(
        tmp_path / "ds",
        "sub-1/anat/sub-1_T1w.nii.gz",
        "sub-1/anat/sub-2_acq-x_T1w.nii.gz",  # the name of another participant
        "sub-2/anat/sub-2_T2w.nii",
        "sub-2/anat/sub-2_T2w.nii.gz",  # the same name but for the extension
        "sub-2/anat/old/sub-2_T1w.nii.gz",  # not where BIDS puts images
        "sub-2/sub-2_FLAIR.nii.gz",
        "derivatives/x/sub-1/anat/sub-1_T1w.nii.gz",
    )
    (dataset / "sub-3").mkdir()
    (dataset / "sub-4").symlink_to("nowhere")
    (dataset / "sub-1" / "anat" / "sub-1_FLAIR.nii.gz").symlink_to("nowhere")
    (dataset / "sub-1" / "anat" / "sub-1_PDw.nii.gz").touch()
    output = tmp_path / "out"
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 1
    reasons = read_errors(output)
    assert len(reasons) == 5
    assert "is not that of its folder" in reasons["sub-1/anat/sub-2_acq-x_T1w.nii.gz"]
    assert "sub-2_T2w.nii.gz would both be written as" in reasons["sub-2/anat/sub-2_T2w.nii"]
    assert "datalad get" in reasons["sub-1/anat/sub-1_FLAIR.nii.gz"]
    assert "the file is empty" in reasons["sub-1/anat/sub-1_PDw.nii.gz"]
    assert "these participants have none of the images: sub-3, sub-4" in capsys.readouterr().err
    assert [path.name for path in find_images(output)] == [
        "sub-1_desc-n4_T1w.nii.gz", "sub-1_mod-T1w_desc-n4_biasfield.nii.gz"
    ]  # fmt: skip
    assert "is not that of its folder" in (output / "sub-1.html").read_text()
    assert (output / "sub-2.html").exists()


def test_removed_images_are_forgotten_and_missing_files_made_again(
    tmp_path: Path, scheduler: str
) -> None:
    names = ["sub-1/anat/sub-1_T1w.nii.gz", "sub-2/anat/sub-2_T1w.nii.gz"]
    dataset, output = make_small_study(tmp_path / "ds", *names), tmp_path / "out"
    (dataset / "sub-3" / "anat").mkdir(parents=True)
    broken = dataset / "sub-3" / "anat" / "sub-3_T1w.nii.gz"
    broken.touch()
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 1
    assert (output / "sub-3.html").exists()
    before = {path: path.read_bytes() for path in output.glob("*.html")}
    broken.unlink()
    shutil.rmtree(output / "sub-2" / "figures")
    (output / "sub-2.html").write_text("an old page")
    (output / "sub-1" / "figures" / "sub-1_desc-n4_T1w.json").write_text("{")
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 0
    assert read_errors(output) == {}
    assert not (output / "sub-3.html").exists()
    assert "data:image/webp" in (output / "sub-2.html").read_text()
    assert "sub-3" not in (output / "group.html").read_text()
    assert before[output / "sub-1.html"] != b""
    assert main(["bids", str(dataset), str(output), "group"]) == 0


def test_pages_that_are_out_of_date_are_written_again(tmp_path: Path, scheduler: str) -> None:
    names = [f"sub-1/anat/sub-1_run-{number}_T1w.nii.gz" for number in (1, 2)]
    dataset, output = make_small_study(tmp_path / "ds", *names), tmp_path / "out"
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 0
    page = (output / "sub-1.html").read_bytes()
    (output / "sub-1.html").write_text("made before the images")
    # Nothing is corrected again.
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 0
    assert (output / "sub-1.html").read_bytes() == page


def test_metadata_that_are_not_true_of_the_output_are_left_out(
    tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_small_study(tmp_path / "ds", "sub-1/anat/sub-1_T1w.nii.gz")
    metadata = {"EchoTime": float("nan"), "FlipAngle": 9, "IntendedFor": "x", "Deface": "bids::a"}
    beside = dataset / "sub-1" / "anat" / "sub-1_T1w.json"
    beside.write_text("\ufeff" + json.dumps(metadata), encoding="utf-8")
    (dataset / "T1w.json").write_text("[1]")
    output = tmp_path / "out"
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 0
    made = json.loads((output / "sub-1" / "anat" / "sub-1_desc-n4_T1w.json").read_text())
    assert made["FlipAngle"] == 9
    assert made["Deface"] == "bids:raw:a"
    assert not {"EchoTime", "IntendedFor"} & set(made)
    assert "T1w.json was left out: it is JSON, but not an object" in capsys.readouterr().err


@pytest.mark.slow
def test_a_worker_that_runs_out_of_memory_is_reported(tmp_path: Path) -> None:
    dataset = make_small_study(tmp_path / "ds", "sub-2/anat/sub-2_T1w.nii.gz")
    huge = dataset / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    huge.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.ones((480, 480, 480), np.uint8), np.eye(4)), huge)
    output = tmp_path / "out"
    assert run_small_study(dataset, output, "--memory-gb", "0.6", "--n-procs", "1") == 1
    assert list(read_errors(output)) == ["sub-1/anat/sub-1_T1w.nii.gz"]
    (reason,) = read_errors(output).values()
    assert "its worker died twice" in reason
    assert "the image needs about 4.4 GB, so allow more memory (--memory-gb)" in reason
    assert len(find_images(output)) == 2
