"""Whole datasets: what is found, what is written, and that nothing is lost on the way."""

import filecmp
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from n4ax.bids.inputs import Source, find_mask, find_sources, inherited, read_filters
from n4ax.bids.outputs import Outputs, refusals
from n4ax.cli import main
from tests.conftest import ROOT
from tests.support import slurm
from tests.support.studies import make_study

SUFFIXES = ("T1w", "T2w", "PDw", "FLAIR", "inplane", "boldref", "bold", "dwi")
QUICK = ("--shrink", "2", "--iterations", "10x10")
LONG = ("--iterations", "60x60x60", "--threshold", "0")
BROKEN = 2


def command(study: Path, output: Path, *arguments: str) -> list[str]:
    program = [sys.executable, "-m", "n4ax", "bids", str(study), str(output), "participant"]
    return [*program, "--suffix", *SUFFIXES, *arguments]


def run(study: Path, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(study, output, *arguments), capture_output=True, text=True, check=False
    )


def results(output: Path) -> dict[str, bytes]:
    """What a run must come to, whatever happened on the way: all but times, reports and logs."""
    files = [path for path in output.rglob("sub-*/**/*") if path.is_file()]
    kept = [
        path for path in files if not (path.parent.name == "figures" and path.suffix == ".json")
    ]
    return {str(path.relative_to(output)): path.read_bytes() for path in kept}


def images(output: Path) -> list[Path]:
    return sorted(output.glob("sub-*/**/*_desc-n4_*.nii.gz"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shared = ROOT.parent / "shared"
    folder = tmp_path_factory.mktemp("bids") / "study-1.0"  # a name with a dot, as OpenNeuro's
    make_study(folder, shared if (shared / "data").is_dir() else None)
    return folder


@pytest.fixture(scope="module")
def finished(study: Path) -> Path:
    """The output of an undisturbed run."""
    output = study.parent / "n4ax"
    done = run(study, output, *QUICK)
    assert done.returncode == 1, done.stderr
    assert f"22 corrected, 0 unchanged, {BROKEN} failed" in done.stdout
    assert len(done.stderr.splitlines()) == 24 + BROKEN
    assert "a minute" in done.stderr
    return output


@pytest.fixture(scope="module")
def undisturbed(study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run comes to that is long enough to be cut short."""
    output = tmp_path_factory.mktemp("out") / "n4ax"
    assert run(study, output, *LONG, "-q").returncode == 1
    return results(output)


def test_every_image_is_that_of_the_correct_command(
    study: Path, finished: Path, tmp_path: Path
) -> None:
    fields = [path for path in images(finished) if path.name.endswith("_biasfield.nii.gz")]
    corrected = [path for path in images(finished) if path not in fields]
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
        # The truncated file and the empty one are what they are.
        expected = {study: 3, finished: 0}[dataset]
        assert len(errors) <= expected, errors
    wrong = finished / "sub-01" / "ses-1" / "anat" / "sub-01_wrong.nii.gz"
    wrong.write_bytes(b"")
    done = subprocess.run([validator, str(finished)], capture_output=True, text=True, check=False)
    wrong.unlink()
    assert done.returncode != 0  # it would have seen


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
    """Copies of the dataset and of its output, beside each other as they were."""
    dataset, output = tmp_path / "study-1.0", tmp_path / "n4ax"
    shutil.copytree(study, dataset)
    shutil.copytree(finished, output)
    return dataset, output


def touch_image(path: Path) -> None:
    scan = nib.load(path)
    nib.save(nib.Nifti1Image(scan.get_fdata(dtype=np.float32) * 1.5, scan.affine), path)


def test_the_same_command_does_only_what_is_due(again: tuple[Path, Path]) -> None:
    dataset, output = again
    before = {path: path.stat().st_ino for path in images(output)}
    for path in dataset.rglob("*"):
        os.utime(path)  # the clock does not count
    done = run(dataset, output, *QUICK)
    assert "0 corrected, 22 unchanged, 2 failed" in done.stdout
    assert {path: path.stat().st_ino for path in images(output)} == before

    found = sorted(path for path in images(output) if path.name.endswith("_T1w.nii.gz"))
    found[0].unlink()
    found[1].write_bytes(found[1].read_bytes()[:-100])
    changed = next(dataset.rglob("*_FLAIR.nii.gz"))
    touch_image(changed)
    described = next(dataset.rglob("*_PDw.json"))
    described.write_text('{"MagneticFieldStrength": 7}')
    done = run(dataset, output, *QUICK)
    assert "4 corrected, 18 unchanged, 2 failed" in done.stdout
    same = {path: path.stat().st_ino for path in images(output)}
    assert sum(same[path] != inode for path, inode in before.items()) == 8

    done = run(dataset, output, *QUICK[:2], "--iterations", "10x11", "--participant-label", "01")
    assert "4 corrected, 0 unchanged, 0 failed" in done.stdout
    assert len(json.loads((output / "n4ax_errors.json").read_text())["Errors"]) == BROKEN


def test_a_mended_image_is_no_longer_an_error(again: tuple[Path, Path]) -> None:
    dataset, output = again
    errors = json.loads((output / "n4ax_errors.json").read_text())["Errors"]
    good = next((dataset / "sub-01").rglob("*_T1w.nii.gz"))
    for error in errors:
        shutil.copy(good, dataset / error["Source"])
    done = run(dataset, output, *QUICK, "--participant-label", "sub-02", "06")
    assert "2 corrected, 6 unchanged, 0 failed" in done.stdout
    assert done.returncode == 0
    assert json.loads((output / "n4ax_errors.json").read_text()) == {"Errors": []}


def started(study: Path, output: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(study, output, *LONG, *arguments), stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(count: int, process: subprocess.Popen[str]) -> None:
    """Until so many images are done."""
    assert process.stderr is not None
    done = 0
    for line in process.stderr:
        done += line.startswith("[")
        if done == count:
            return
    pytest.fail(f"the run ended after {done} images")


def computing(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a run."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_a_killed_worker_loses_nothing(
    study: Path, undisturbed: dict[str, bytes], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    output = tmp_path / "n4ax"
    process = started(study, output)
    wait_for(5, process)
    workers = computing(process)
    assert workers
    workers[0].kill()
    text, messages = process.communicate(timeout=300)
    assert process.returncode == 1, messages
    assert "2 failed" in text
    assert results(output) == undisturbed
    tell(f"a worker of {len(workers)} was killed: {len(undisturbed)} files identical")


def test_a_killed_run_is_taken_up_again(
    study: Path, undisturbed: dict[str, bytes], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    output = tmp_path / "n4ax"
    seed = random.SystemRandom().randrange(10**6)
    moments, counts = random.Random(seed), []
    for _ in range(3):
        process = started(study, output)
        wait_for(1 + len(counts) * 6, process)
        time.sleep(moments.uniform(0, 1.5))
        workers = computing(process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        _, alive = psutil.wait_procs(workers, timeout=15)
        assert not alive
        complete = [name for name in results(output) if name in undisturbed]
        counts.append(len(complete))
        assert not list(output.glob("sub-*/**/.*"))
        for name in complete:  # what has its name is whole
            assert (output / name).read_bytes() == undisturbed[name]
    done = run(study, output, *LONG)
    assert "2 failed" in done.stdout
    assert results(output) == undisturbed
    assert not list((output / ".n4ax" / "unfinished").iterdir())
    tell(f"seed {seed}: killed with {counts} of {len(undisturbed)} files: identical in the end")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting takes root")
def test_a_full_disk_loses_nothing(
    study: Path, undisturbed: dict[str, bytes], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        output = disk / "n4ax"
        scratch = tmp_path / "scratch"
        done = run(study, output, *LONG, "-w", str(scratch))
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "make space and run the same command again" in done.stderr
        there = results(output)
        assert 0 < len(there) < len(undisturbed)
        assert all(undisturbed[name] == content for name, content in there.items())
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        done = run(study, output, *LONG, "-w", str(scratch))
        assert "2 failed" in done.stdout
        assert results(output) == undisturbed
        tell(f"disk full with {len(there)} of {len(undisturbed)} files: all identical in the end")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_runs_into_the_same_output(
    study: Path, undisturbed: dict[str, bytes], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    output = tmp_path / "n4ax"
    first = started(study, output, "--n-procs", "1")
    wait_for(1, first)
    second = started(study, output, "--n-procs", "1")
    both = first, second
    texts = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [1, 1], texts
    corrected = [int(text.split(" corrected")[0]) for text, _ in texts]
    assert sum(corrected) == 22  # none was done twice
    assert results(output) == undisturbed
    tell(f"two runs did {corrected[0]} and {corrected[1]} of 22 images")


def test_an_interrupt_ends_the_run_and_its_workers(study: Path, tmp_path: Path) -> None:
    process = started(study, tmp_path / "n4ax")
    wait_for(1, process)
    workers = computing(process)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in messages
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_jobs_of_slurm_give_the_same(
    study: Path,
    undisturbed: dict[str, bytes],
    slurm_configuration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    loopback = {"interface": "lo", "scheduler_options": {"host": "127.0.0.1"}}
    (tmp_path / "site.json").write_text(json.dumps(loopback))
    output = tmp_path / "n4ax"
    jobs = ("--cluster", "slurm", "--jobs", "2", "--mem", "2", "--walltime", "00:05:00")
    further = ("--cluster-options", str(tmp_path / "site.json"))
    process = started(study, output, *jobs, *further)
    wait_for(3, process)
    assert len(slurm.queued(slurm_configuration)) == 2
    process.terminate()  # and its jobs are cancelled
    _, messages = process.communicate(timeout=30)
    assert "Traceback" not in messages
    deadline = time.monotonic() + 20
    while slurm.queued(slurm_configuration) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not slurm.queued(slurm_configuration)
    done = run(study, output, *LONG, *jobs, *further)
    assert done.returncode == 1, done.stderr
    assert "2 failed" in done.stdout
    assert results(output) == undisturbed


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
    assert "-> no mask at " in capsys.readouterr().out
    jobs = ["--cluster", "slurm", "--walltime", "02:00:00", "--n-procs", "3"]
    assert main([*arguments, *jobs]) == 0
    script = capsys.readouterr().out.split("The script of each job:")[1]
    assert "#SBATCH -t 02:00:00" in script
    assert "#SBATCH --cpus-per-task=3" in script
    assert main(["bids", str(study), str(output), "group", "-n"]) == 0
    assert not output.exists()


def test_it_stops_at_the_first_failure_if_told_to(study: Path, tmp_path: Path) -> None:
    arguments = ("--participant-label", "02", "--stop-on-first-crash", "--n-procs", "1")
    done = run(study, tmp_path / "out", *QUICK, *arguments)
    assert done.returncode == 1
    assert "1 failed, 1 not tried" in done.stdout
    assert "stopped: sub-02/ses-2/anat/sub-02_ses-2_run-2_T2w.nii.gz failed" in done.stderr


def test_masks_by_a_pattern(study: Path, tmp_path: Path) -> None:
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
    assert main([*arguments, "--mask", pattern]) == 0
    corrected = [path for path in images(output) if path.name.endswith("_T1w.nii.gz")]
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
    assert "no mask at" in (output / "n4ax_errors.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "out", "participant"], "'none' does not exist"),
        (["study", "out", "everybody"], "'everybody' is not one of"),
        (["study", "study", "participant"], "OUTPUT_DIR study is the source dataset"),
        (["empty", "out", "participant"], "has no folder sub-<label>"),
        (["study", "other", "participant"], "holds another dataset"),
        (["study", "out", "participant", "--participant-label", "99"], "sub-99 is not in study"),
        (["study", "out", "participant", "--suffix", "T9w"], "(suffixes T9w); it has T1w"),
        (["study", "out", "participant", "--session-label", "9"], "sessions 9); it has T1w"),
        (["study", "study/sub-01/out", "participant"], "among the images of a participant"),
        (["study", "made", "participant"], "holds images of made/../another"),
        (["study", "made", "group"], "holds images of made/../another"),
        (["study", "nowhere", "group"], "OUTPUT_DIR nowhere does not exist"),
        (["study", "out", "participant", "--participant-label", "01", "02"], "sub-02 has no image"),
        (["study", "out", "participant", "--mask", ""], "--mask is empty"),
        (["study", "out", "participant", "--mem", "99999"], "more than the"),
        (["study", "out", "participant", "--mem", "0.1"], "expected at least 0.5"),
        (["study", "out", "participant", "--series", "b0"], "what dwi is done by anyway"),
        (["study", "out", "participant", "--mem", "much"], "not of the form 16"),
        (["study", "out", "participant", "--shrink", "0"], "--shrink"),
        (["study", "out", "participant", "--bids-filter-file", "bad.json"], "read as JSON"),
        (["study", "out", "participant", "--bids-filter-file", "odd.json"], "no BIDS entity"),
        (["study", "out", "participant", "--cluster", "slurm", "--walltime", "1h"], "walltime"),
        (["study", "out", "participant", "--queue", "long"], "queue"),
        (["study", "out", "participant", "--scheduler", "here"], "scheduler"),
        (["study", "out", "participant", "--cluster-options", "bad.json"], "is not JSON"),
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


def empty_tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_filters_choose_as_those_of_fmriprep(tmp_path: Path) -> None:
    dataset = empty_tree(
        tmp_path / "ds",
        "sub-01/anat/sub-01_acq-mprage_run-01_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-mprage_run-02_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-space_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w.nii",
        "sub-01/anat/sub-01_part-phase_T2w.nii.gz",
        "sub-01/anat/sub-01_part-mag_T2w.nii.gz",
        "sub-01/anat/sub-01_T2w.json",
        "sub-01/anat/sub-01_acq-space_FLAIR.nii.gz",
    )

    def names(filters: object) -> set[str]:
        (tmp_path / "filters.json").write_text(json.dumps(filters))
        found = find_sources(dataset, filters=read_filters(tmp_path / "filters.json"))
        return {source.stem.removeprefix("sub-01_") for source in found}

    others = {"part-mag_T2w", "acq-space_FLAIR"}
    mprage = {"acq-mprage_run-01_T1w", "acq-mprage_run-02_T1w"}
    assert names({}) == others | mprage | {"acq-space_T1w", "sub-01_T1w".removeprefix("sub-01_")}
    assert names({"t1w": {"acquisition": "mprage"}}) == others | mprage
    assert names({"t1w": {"acq": None}}) == others | {"T1w"}
    assert names({"t1w": {"acquisition": "Query.NONE"}}) == others | {"T1w"}
    assert names({"t1w": {"acquisition": "Query.ANY"}}) == others | mprage | {"acq-space_T1w"}
    assert names({"t1w": {"acquisition": ["*"]}}) == others | mprage | {"acq-space_T1w"}
    assert names({"t1w": {"run": 1}}) == others | {"acq-mprage_run-01_T1w"}
    assert names({"t1w": {"run": [1, None]}}) == others | {
        "acq-mprage_run-01_T1w", "acq-space_T1w", "T1w"
    }  # fmt: skip
    assert names({"x": {"suffix": ["T1w", "FLAIR"], "acquisition": "space"}}) == others | {
        "acq-space_T1w"
    }
    assert names({"t1w": {"extension": "nii"}}) == others | {"T1w"}


def small_study(folder: Path, *names: str) -> Path:
    """A dataset of one small volume under several names."""
    scan = nib.load(ROOT / "src" / "n4ax" / "data" / "head.nii.gz").slicer[30:70, 30:70, 30:60]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(scan, folder / name)
    return folder


def small_run(dataset: Path, output: Path, *arguments: str) -> int:
    return main(["bids", str(dataset), str(output), "participant", *QUICK, "-q", *arguments])


def errors_of(output: Path) -> dict[str, str]:
    errors = json.loads((output / "n4ax_errors.json").read_text())["Errors"]
    return {error["Source"]: error["Reason"] for error in errors}


def test_odd_names_fail_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = small_study(
        tmp_path / "ds",
        "sub-1/anat/sub-1_T1w.nii.gz",
        "sub-1/anat/sub-2_acq-x_T1w.nii.gz",  # somebody else's name
        "sub-2/anat/sub-2_T2w.nii",
        "sub-2/anat/sub-2_T2w.nii.gz",  # twice
        "sub-2/anat/old/sub-2_T1w.nii.gz",  # not where BIDS has images
        "sub-2/sub-2_FLAIR.nii.gz",
        "derivatives/x/sub-1/anat/sub-1_T1w.nii.gz",
    )
    (dataset / "sub-3").mkdir()
    (dataset / "sub-4").symlink_to("nowhere")
    (dataset / "sub-1" / "anat" / "sub-1_FLAIR.nii.gz").symlink_to("nowhere")
    (dataset / "sub-1" / "anat" / "sub-1_PDw.nii.gz").touch()
    output = tmp_path / "out"
    assert small_run(dataset, output) == 1
    reasons = errors_of(output)
    assert len(reasons) == 5
    assert "is not that of its folder" in reasons["sub-1/anat/sub-2_acq-x_T1w.nii.gz"]
    assert "sub-2_T2w.nii.gz would both become" in reasons["sub-2/anat/sub-2_T2w.nii"]
    assert "datalad get" in reasons["sub-1/anat/sub-1_FLAIR.nii.gz"]
    assert "the file is empty" in reasons["sub-1/anat/sub-1_PDw.nii.gz"]
    assert "none of these images: sub-3, sub-4" in capsys.readouterr().err
    assert [path.name for path in images(output)] == [
        "sub-1_desc-n4_T1w.nii.gz", "sub-1_mod-T1w_desc-n4_biasfield.nii.gz"
    ]  # fmt: skip
    assert "is not that of its folder" in (output / "sub-1.html").read_text()
    assert (output / "sub-2.html").exists()


def test_what_is_gone_is_forgotten_and_what_is_missing_made_again(tmp_path: Path) -> None:
    names = ["sub-1/anat/sub-1_T1w.nii.gz", "sub-2/anat/sub-2_T1w.nii.gz"]
    dataset, output = small_study(tmp_path / "ds", *names), tmp_path / "out"
    (dataset / "sub-3" / "anat").mkdir(parents=True)
    broken = dataset / "sub-3" / "anat" / "sub-3_T1w.nii.gz"
    broken.touch()
    assert small_run(dataset, output) == 1
    assert (output / "sub-3.html").exists()
    before = {path: path.read_bytes() for path in output.glob("*.html")}
    broken.unlink()
    shutil.rmtree(output / "sub-2" / "figures")
    (output / "sub-2.html").write_text("an old page")
    (output / "sub-1" / "figures" / "sub-1_desc-n4_T1w.json").write_text("{")
    assert small_run(dataset, output) == 0
    assert errors_of(output) == {}
    assert not (output / "sub-3.html").exists()
    assert "data:image/webp" in (output / "sub-2.html").read_text()
    assert "sub-3" not in (output / "group.html").read_text()
    assert before[output / "sub-1.html"] != b""
    assert main(["bids", str(dataset), str(output), "group"]) == 0


def test_pages_of_a_run_that_was_stopped_are_made_up_for(tmp_path: Path) -> None:
    names = [f"sub-1/anat/sub-1_run-{number}_T1w.nii.gz" for number in (1, 2)]
    dataset, output = small_study(tmp_path / "ds", *names), tmp_path / "out"
    assert small_run(dataset, output) == 0
    page = (output / "sub-1.html").read_bytes()
    (output / "sub-1.html").write_text("made before the images")
    assert small_run(dataset, output) == 0  # nothing is corrected
    assert (output / "sub-1.html").read_bytes() == page


def test_metadata_that_do_not_hold_any_more_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = small_study(tmp_path / "ds", "sub-1/anat/sub-1_T1w.nii.gz")
    metadata = {"EchoTime": float("nan"), "FlipAngle": 9, "IntendedFor": "x", "Deface": "bids::a"}
    beside = dataset / "sub-1" / "anat" / "sub-1_T1w.json"
    beside.write_text("\ufeff" + json.dumps(metadata), encoding="utf-8")
    (dataset / "T1w.json").write_text("[1]")
    output = tmp_path / "out"
    assert small_run(dataset, output) == 0
    made = json.loads((output / "sub-1" / "anat" / "sub-1_desc-n4_T1w.json").read_text())
    assert made["FlipAngle"] == 9
    assert made["Deface"] == "bids:raw:a"
    assert not {"EchoTime", "IntendedFor"} & set(made)
    assert "T1w.json is left out: it is JSON, but no object" in capsys.readouterr().err


def test_a_worker_that_runs_out_of_memory_is_told_of(tmp_path: Path) -> None:
    dataset = small_study(tmp_path / "ds", "sub-2/anat/sub-2_T1w.nii.gz")
    huge = dataset / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    huge.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.ones((560, 560, 560), np.uint8), np.eye(4)), huge)
    output = tmp_path / "out"
    assert small_run(dataset, output, "--mem", "0.6", "--n-procs", "1") == 1
    assert list(errors_of(output)) == ["sub-1/anat/sub-1_T1w.nii.gz"]
    assert "the worker died on it" in errors_of(output)["sub-1/anat/sub-1_T1w.nii.gz"]
    assert len(images(output)) == 2


def test_names_of_outputs_keep_the_entities() -> None:
    outputs = Outputs.of(Source.of("sub-1/ses-2/func/sub-1_ses-2_task-rest_echo-1_bold.nii.gz"))
    assert outputs.image == "sub-1/ses-2/func/sub-1_ses-2_task-rest_echo-1_desc-n4_bold.nii.gz"
    field = "sub-1_ses-2_task-rest_mod-bold_echo-1_desc-n4_biasfield.nii.gz"
    assert outputs.field == f"sub-1/ses-2/func/{field}"
    preprocessed = Source.of("sub-1/anat/sub-1_desc-preproc_T1w.nii.gz")
    assert Outputs.of(preprocessed).image == "sub-1/anat/sub-1_desc-n4_T1w.nii.gz"
    raw = Source.of("sub-1/anat/sub-1_T1w.nii.gz")
    assert set(refusals([raw, preprocessed])) == {raw.path, preprocessed.path}
    assert refusals([raw]) == {}


def test_what_goes_with_an_image_is_inherited(tmp_path: Path) -> None:
    dataset = empty_tree(
        tmp_path,
        "dwi.bval",
        "acq-a_dwi.bval",
        "sub-1/sub-1_dwi.bval",
        "sub-1/ses-1/dwi/sub-1_ses-1_dwi.bval",
        "sub-1/ses-1/dwi/sub-1_ses-1_run-2_dwi.bval",
        "sub-1/ses-1/dwi/sub-1_ses-1_run-1_sbref.bval",
        "old_dwi.bval",
    )
    source = Source.of("sub-1/ses-1/dwi/sub-1_ses-1_run-1_dwi.nii.gz")
    found = [str(path.relative_to(dataset)) for path in inherited(dataset, source, ".bval")]
    assert found == ["sub-1/ses-1/dwi/sub-1_ses-1_dwi.bval", "sub-1/sub-1_dwi.bval", "dwi.bval"]


def test_mask_patterns(tmp_path: Path) -> None:
    source = Source.of("sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz")
    empty_tree(tmp_path, "m/sub-1_ses-2_a.nii.gz", "m/sub-1_ses-2_b.nii.gz")
    a = tmp_path / "m" / "sub-1_ses-2_a.nii.gz"
    assert find_mask(tmp_path, source, "m/{name}_a.nii.gz") == a
    assert find_mask(tmp_path, source, f"{tmp_path}/m/sub-{{sub}}_*_a.nii.gz") == a
    for pattern, message in (
        ("m/{name}_*.nii.gz", "2 masks"), ("m/{name}_c.nii.gz", "no mask"), ("{run}", "has no run"),
        ("{sub.x}", "no mask"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            find_mask(tmp_path, source, pattern)
