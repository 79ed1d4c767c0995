"""Studies that are interrupted, killed or out of space: nothing is lost, and all is continued."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from reliability.faults.studies import find_workers
from tests.bids.runs import LONG, make_command, read_results, run
from tests.support import slurm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of a run that takes long enough to be interrupted."""
    output = tmp_path_factory.mktemp("out") / "n4ax"
    assert run(study, output, *LONG, "-q").returncode == 1
    return read_results(output)


def start(study: Path, output: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        make_command(study, output, *LONG, *arguments), stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(count: int, process: subprocess.Popen[str], output: Path) -> None:
    """Wait until this many images are done."""
    done = 0
    while process.poll() is None:
        done = len(list(output.glob("sub-*/**/*_desc-n4_*.json")))
        if done >= count:
            return
        time.sleep(0.05)
    pytest.fail(f"the run ended after {done} images")


def test_a_killed_worker_loses_nothing(
    study: Path, undisturbed: dict[str, bytes], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    output = tmp_path / "n4ax"
    process = start(study, output)
    wait_for(5, process, output)
    workers = find_workers(process.pid)
    assert workers
    workers[0].kill()
    text, messages = process.communicate(timeout=300)
    assert process.returncode == 1, messages
    assert "2 failed" in text
    assert read_results(output) == undisturbed
    assert "n4ax: 24 of 24 done, 2 failed" in messages
    tell(f"a worker of {len(workers)} was killed: {len(undisturbed)} files identical")


def test_a_killed_run_is_continued(
    study: Path, undisturbed: dict[str, bytes], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    output = tmp_path / "n4ax"
    seed = random.SystemRandom().randrange(10**6)
    moments, counts = random.Random(seed), []
    for _ in range(3):
        process = start(study, output)
        wait_for(1 + len(counts) * 6, process, output)
        time.sleep(moments.uniform(0, 1.5))
        workers = find_workers(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        _, alive = psutil.wait_procs(workers, timeout=15)
        assert not alive
        complete = [name for name in read_results(output) if name in undisturbed]
        counts.append(len(complete))
        assert not list(output.glob("sub-*/**/.*"))
        for name in complete:  # a file under its final name is complete
            assert (output / name).read_bytes() == undisturbed[name]
    done = run(study, output, *LONG)
    assert "2 failed" in done.stdout
    assert read_results(output) == undisturbed
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
        there = read_results(output)
        assert 0 < len(there) < len(undisturbed)
        assert all(undisturbed[name] == content for name, content in there.items())
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        done = run(study, output, *LONG, "-w", str(scratch))
        assert "2 failed" in done.stdout
        assert read_results(output) == undisturbed
        tell(f"disk full with {len(there)} of {len(undisturbed)} files: all identical in the end")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_runs_into_the_same_output(
    study: Path, undisturbed: dict[str, bytes], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    output = tmp_path / "n4ax"
    first = start(study, output, "--n-procs", "1")
    wait_for(1, first, output)
    second = start(study, output, "--n-procs", "1")
    both = first, second
    texts = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [1, 1], texts
    corrected = [int(text.split(" corrected")[0]) for text, _ in texts]
    assert sum(corrected) == 22  # no image was done twice
    assert read_results(output) == undisturbed
    tell(f"two runs did {corrected[0]} and {corrected[1]} of 22 images")


def test_an_interrupt_ends_the_run_and_its_workers(study: Path, tmp_path: Path) -> None:
    output = tmp_path / "n4ax"
    process = start(study, output)
    wait_for(1, process, output)
    workers = find_workers(process.pid)
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
    jobs = ("--cluster", "slurm", "--jobs", "2", "--memory-gb", "2", "--walltime", "00:05:00")
    further = ("--cluster-options", str(tmp_path / "site.json"))
    process = start(study, output, *jobs, *further)
    wait_for(3, process, output)
    assert len(slurm.list_jobs(slurm_configuration)) == 2
    process.terminate()  # and its jobs are cancelled
    _, messages = process.communicate(timeout=30)
    assert "Traceback" not in messages
    deadline = time.monotonic() + 20
    while slurm.list_jobs(slurm_configuration) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not slurm.list_jobs(slurm_configuration)
    done = run(study, output, *LONG, *jobs, *further)
    assert done.returncode == 1, done.stderr
    assert "2 failed" in done.stdout
    assert read_results(output) == undisturbed
