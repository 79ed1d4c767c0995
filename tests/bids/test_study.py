"""Whole datasets: what is written, and that the same command does only what is needed."""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from n4ax.cli import main
from tests.bids.runs import BROKEN, QUICK, find_images, make_words, run


@pytest.fixture(scope="module")
def finished(study: Path) -> Path:
    """The output of an undisturbed run."""
    output = study.parent / "n4ax"
    done = run(study, output, *QUICK)
    assert done.returncode == 1, done.stderr
    assert f"22 corrected, 0 unchanged, {BROKEN} failed" in done.stdout
    lines = [line for line in done.stderr.splitlines() if not line.startswith("n4ax: note: ")]
    assert re.fullmatch(r"n4ax: 24 images: starting \d+ workers?", lines[0])
    assert f"n4ax: 24 of 24 done, {BROKEN} failed · " in done.stderr
    failed = [line for line in lines if ".nii.gz failed: " in line]
    assert len(failed) == BROKEN
    assert lines[-BROKEN:] == [line for line in lines if line.startswith("n4ax: failed: ")]
    return output


def test_every_image_is_that_of_the_correct_command(
    study: Path, finished: Path, tmp_path: Path
) -> None:
    fields = [path for path in find_images(finished) if path.name.endswith("_biasfield.nii.gz")]
    corrected = [path for path in find_images(finished) if path not in fields]
    assert len(corrected) == len(fields) == 22
    for path in corrected:
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        source = study / sidecar["Sources"][0].removeprefix("bids:raw:")
        series = {"bold": ("--series", "mean"), "dwi": ("--series", "b0")}
        suffix = source.name.split("_")[-1].removesuffix(".nii.gz")
        bval = source.with_name(source.name.replace(".nii.gz", ".bval"))
        copied = suffix == "dwi"
        if copied:
            shutil.copy(study / "dwi.bval", bval)
        one, field = tmp_path / "one.nii.gz", tmp_path / "field.nii.gz"
        options = [*QUICK, *series.get(suffix, ()), "-q"]
        status = main(["correct", str(source), "-o", str(one), "--bias", str(field), *options])
        if copied:
            bval.unlink()
        assert status == 0
        name = path.name.replace("desc-n4_", f"mod-{suffix}_desc-n4_")
        beside = path.with_name(name.replace(f"_{suffix}.nii.gz", "_biasfield.nii.gz"))
        assert filecmp.cmp(path, one, shallow=False), path
        assert filecmp.cmp(beside, field, shallow=False), beside


def test_broken_images_are_reported_and_logged(finished: Path) -> None:
    errors = json.loads((finished / "n4ax_errors.json").read_text())["Errors"]
    reasons = sorted(error["Reason"] for error in errors)
    assert len(errors) == BROKEN
    assert any("cannot be read as NIfTI" in reason for reason in reasons)
    assert any("Otsu threshold" in reason for reason in reasons)
    for error in errors:
        log = (finished / "logs" / f"sub-{error['Subject']}.log").read_text()
        assert f"{error['Source']} failed: {error['Reason']}" in log


def test_the_output_is_a_valid_dataset(study: Path, finished: Path) -> None:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    for dataset in (study, finished):
        done = subprocess.run(
            [validator, str(dataset), "--format", "json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        issues = json.loads(done.stdout)["issues"]["issues"]
        errors = [issue for issue in issues if issue["severity"] == "error"]
        # The truncated image and the image of zeros are errors of the dataset itself.
        expected = {study: 3, finished: 0}[dataset]
        assert len(errors) <= expected, errors
    wrong = finished / "sub-01" / "ses-1" / "anat" / "sub-01_wrong.nii.gz"
    wrong.write_bytes(b"")
    done = subprocess.run([validator, str(finished)], capture_output=True, text=True, check=False)
    wrong.unlink()
    assert done.returncode != 0  # the validator does find errors


def test_sidecars_say_what_was_done(study: Path, finished: Path) -> None:
    description = json.loads((finished / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "n4ax"
    raw = (finished / description["DatasetLinks"]["raw"]).resolve()
    assert raw == study.resolve()
    bold = next(
        path for path in finished.rglob("*_desc-n4_bold.json") if "figures" not in str(path)
    )
    sidecar = json.loads(bold.read_text())
    assert sidecar["RepetitionTime"] == 2.0  # inherited from the top
    assert sidecar["MagneticFieldStrength"] == 3
    assert sidecar["SkullStripped"] is False
    assert sidecar["N4"]["Settings"]["shrink_factor"] == 2
    assert len(sidecar["N4"]["Iterations"]) == len(sidecar["N4"]["Convergence"]) == 2
    dwi = next(finished.rglob("*_desc-n4_dwi.bval"))
    assert dwi.read_text() == (study / "dwi.bval").read_text()
    assert "*_biasfield.nii.gz" in (finished / ".bidsignore").read_text()


def test_reports_are_written(finished: Path) -> None:
    assert (finished / "group.html").stat().st_size > 10_000
    assert len(list(finished.glob("sub-*.html"))) == 6
    assert "cannot be read as NIfTI" in (finished / "sub-02.html").read_text()


@pytest.fixture
def again(study: Path, finished: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the dataset and of its output, in the same places relative to each other."""
    dataset, output = tmp_path / "study-1.0", tmp_path / "n4ax"
    shutil.copytree(study, dataset)
    shutil.copytree(finished, output)
    return dataset, output


def change_image(path: Path) -> None:
    scan = nib.load(path)
    nib.save(nib.Nifti1Image(scan.get_fdata(dtype=np.float32) * 1.5, scan.affine), path)


@pytest.mark.slow
def test_the_same_command_does_only_what_is_needed(again: tuple[Path, Path]) -> None:
    dataset, output = again
    before = {path: path.stat().st_ino for path in find_images(output)}
    for path in dataset.rglob("*"):
        os.utime(path)  # times of files do not matter
    done = run(dataset, output, *QUICK)
    assert "0 corrected, 22 unchanged, 2 failed" in done.stdout
    assert {path: path.stat().st_ino for path in find_images(output)} == before

    found = sorted(path for path in find_images(output) if path.name.endswith("_T1w.nii.gz"))
    found[0].unlink()
    found[1].write_bytes(found[1].read_bytes()[:-100])
    changed = next(dataset.rglob("*_FLAIR.nii.gz"))
    change_image(changed)
    described = next(dataset.rglob("*_PDw.json"))
    described.write_text('{"MagneticFieldStrength": 7}')
    done = run(dataset, output, *QUICK)
    assert "4 corrected, 18 unchanged, 2 failed" in done.stdout
    same = {path: path.stat().st_ino for path in find_images(output)}
    assert sum(same[path] != inode for path, inode in before.items()) == 8

    words = (*QUICK[:2], "--iters", "10x11", "--participant-label", "01")
    done = run(dataset, output, *words)
    assert "holds images with other settings (iters is [10, 10] there and [10, 11]" in done.stderr
    done = run(dataset, output, *words, "--output-settings", "replace")
    assert "4 corrected, 0 unchanged, 0 failed" in done.stdout
    assert len(json.loads((output / "n4ax_errors.json").read_text())["Errors"]) == BROKEN


def test_a_repaired_image_is_no_longer_an_error(
    again: tuple[Path, Path], scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, output = again
    errors = json.loads((output / "n4ax_errors.json").read_text())["Errors"]
    good = next((dataset / "sub-01").rglob("*_T1w.nii.gz"))
    for error in errors:
        shutil.copy(good, dataset / error["Source"])
    arguments = ["--participant-label", "sub-02", "06", "--scheduler", scheduler]
    assert main(make_words(dataset, output, *QUICK, *arguments)) == 0
    assert "2 corrected, 6 unchanged, 0 failed" in capsys.readouterr().out
    assert json.loads((output / "n4ax_errors.json").read_text()) == {"Errors": []}


def test_it_stops_at_the_first_failure_if_told_to(
    study: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--participant-label", "02", "--stop-on-first-crash", "--n-procs", "1")
    assert main(make_words(study, tmp_path / "out", *QUICK, *arguments)) == 1
    out, err = capfd.readouterr()
    assert "1 failed, 1 not tried" in out
    assert "stopped: sub-02/ses-2/anat/sub-02_ses-2_run-2_T2w.nii.gz failed" in err


def test_masks_by_a_pattern(study: Path, tmp_path: Path, scheduler: str) -> None:
    dataset = tmp_path / "study"
    shutil.copytree(study / "sub-01", dataset / "sub-01")
    for path in (dataset / "sub-01").rglob("*_T1w.nii.gz"):
        scan = nib.load(path)
        inside = np.zeros(scan.shape, np.uint8)
        inside[10:-10, 10:-10, 10:-10] = 1
        mask = dataset / "derivatives" / "masks" / path.relative_to(dataset).parent
        mask.mkdir(parents=True)
        name = path.name.replace("_T1w", "_desc-brain_mask")
        nib.save(nib.Nifti1Image(inside, scan.affine), mask / name)
    pattern = "derivatives/masks/{folder}/{name}_desc-brain_*.nii.gz"
    output = tmp_path / "out"
    arguments = ["bids", str(dataset), str(output), "participant", *QUICK, "-q", "--suffix", "T1w"]
    arguments += ["--scheduler", scheduler]
    assert main([*arguments, "--mask", pattern]) == 0
    corrected = [path for path in find_images(output) if path.name.endswith("_T1w.nii.gz")]
    assert len(corrected) == 2
    sidecar = json.loads(
        corrected[0].with_name(corrected[0].name.replace("nii.gz", "json")).read_text()
    )
    source, mask = (dataset / uri.removeprefix("bids:raw:") for uri in sidecar["Sources"])
    one = tmp_path / "one.nii.gz"
    assert main(["correct", str(source), "--mask", str(mask), "-o", str(one), *QUICK, "-q"]) == 0
    assert filecmp.cmp(one, corrected[0], shallow=False)
    mask.unlink()
    assert main([*arguments, "--mask", pattern]) == 1
    assert "--mask finds no mask at" in (output / "n4ax_errors.json").read_text()
