"""Where tasks run: processes of this machine, processes with GPUs, and a running scheduler."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from n4ax.bids.workers import connection as module
from n4ax.bids.workers.connection import connect
from n4ax.bids.workers.description import Workers
from tests.bids.worker_tasks import (
    die,
    is_alive,
    pause,
    start_and_kill,
    start_scheduler,
    variables,
    wait_until,
)

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.parametrize(
    ("missing", "cluster", "extra"),
    [
        ("distributed", "local", "bids"),
        ("cryptography", "local", "bids"),
        ("dask_jobqueue", "slurm", "cluster"),
    ],
)
def test_libraries_that_are_not_installed(
    missing: str, cluster: Any, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, missing, None)
        with (
            pytest.raises(
                ImportError, match=rf"needs {missing}, .*: pip install 'n4ax\[{extra}\]'"
            ),
            connect(Workers(cluster=cluster), tmp_path),
        ):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have other variables")
def test_workers_keep_freed_memory_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)

    def count_faults() -> int:
        """Pages that the system clears for arrays of 32 MB, of which one is in use at a time."""
        import resource

        import numpy as np

        counts = []
        for _ in range(40):
            counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
            np.full(1 << 23, 1.5, np.float32)
        return counts[-1] - counts[1]

    with connect(Workers(), tmp_path) as client:
        told = client.run(variables("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_")).values()
        assert {words[2:] for words in told} == {("4", str(2**30))}
        assert client.submit(count_faults).result() < 100
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ


def test_processes_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")

    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory", "scan.nii.gz")

    before = find_listeners(psutil.Process())  # libraries of other tests may listen
    with connect(Workers(processes=2, threads=3), tmp_path / "new" / "scratch") as client:
        told = client.run(variables("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")).values()
        assert {words[1:] for words in told} == {(1, "3", "3")}
        assert len({words[0] for words in told} - {os.getpid()}) == 2
        assert set(client.gather([client.submit(os.getpid, pure=False) for _ in range(9)])) <= {
            words[0] for words in told
        }
        with pytest.raises(FileNotFoundError) as caught:
            client.submit(fail).result()
        assert caught.value.filename == "scan.nii.gz"
        assert find_listeners(psutil.Process()) - before <= {"127.0.0.1"}
    assert os.environ["OMP_NUM_THREADS"] == "64"
    assert [path.name for path in (tmp_path / "new" / "scratch").iterdir()] == ["dask"]


def test_a_container_without_a_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_folder() -> str:
        import tempfile

        return tempfile.gettempdir()

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr(tempfile, "_candidate_tempdir_list", lambda: list_named(tmp_path / "none"))
        with connect(Workers(), tmp_path) as client:
            assert client.submit(find_folder).result() == str(tmp_path / "dask")
    assert "TMPDIR" not in os.environ


def list_named(other: Path) -> list[str]:
    """The folder of the variable, and one that does not exist."""
    return [os.environ.get("TMPDIR", str(other)), str(other)]


def find_listeners(process: psutil.Process) -> set[str]:
    everything = [process, *process.children(recursive=True)]
    return {
        connection.laddr.ip
        for each in everything
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.slow
def test_a_task_that_kills_its_worker_harms_no_other(processes: int, tmp_path: Path) -> None:
    with connect(Workers(processes=processes), tmp_path) as client:
        killer = client.submit(die())
        others = client.map(pause(0.02), range(12), pure=False)
        assert client.gather(others) == [0.02] * 12
        with pytest.raises(distributed.KilledWorker) as caught:
            killer.result()
        assert caught.value.task == killer.key
        assert client.submit(os.getpid).result() != os.getpid()


@pytest.mark.slow
def test_memory_is_limited(tmp_path: Path) -> None:
    def hog() -> None:
        import time

        held = []
        while True:
            held.append(b"1" * 40_000_000)
            time.sleep(0.05)

    with connect(Workers(processes=2, memory_gb=1.0), tmp_path) as client:
        limits = {worker["memory_limit"] for worker in client.scheduler_info()["workers"].values()}
        assert limits == {500_000_000}
        hogging = client.submit(hog)
        assert client.gather(client.map(pause(0.02), range(12))) == [0.02] * 12
        assert isinstance(hogging.exception(timeout=60), distributed.KilledWorker)
        assert client.submit(os.getpid).result() != os.getpid()


def test_leaving_in_the_middle_of_a_task(tmp_path: Path) -> None:
    def write(target: Path) -> None:
        import time

        from n4ax.files import replace_file

        with replace_file(target) as temporary:
            temporary.write_text("half")
            time.sleep(600)

    images = tmp_path / "images"
    images.mkdir()
    with connect(Workers(processes=2), tmp_path / "scratch") as client:
        tasks = client.map(write, [images / "a.nii", images / "b.nii", images / "c.nii"])
        assert wait_until(lambda: len(list(images.iterdir())) == 2)
        started = time.monotonic()
    assert time.monotonic() - started < 60  # the tasks would take 600
    assert list(images.iterdir()) == []
    assert all(task.status == "cancelled" for task in tasks)


@pytest.mark.slow
def test_workers_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    workers = start_and_kill(tmp_path, "local")
    assert len(workers) == 2
    assert wait_until(lambda: not any(map(is_alive, workers)), seconds=10)


NOISY = """
import os, signal, time
from pathlib import Path
from n4ax.bids.workers.connection import connect
from n4ax.bids.workers.description import Workers

def fail():
    raise RuntimeError("a task failed")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with connect(Workers(processes=2), Path()) as client:
        print(type(client.submit(fail).exception()).__name__)
        print(type(client.submit(die).exception()).__name__)
        still = client.submit(time.sleep, 600)
        again = client.submit(die, pure=False)
        time.sleep(0.5)
    print("left")
"""


@pytest.mark.slow
def test_nothing_is_printed_by_a_program_but_what_it_prints(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    command = [sys.executable, "-W", "error", "noisy.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.split() == ["RuntimeError", "KilledWorker", "left"]
    assert done.returncode == 0


def test_each_gpu_has_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8f0,7")
    names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_PREALLOCATE")
    with connect(Workers(gpus=2, threads=2, processes=9), tmp_path) as client:
        told = sorted(client.run(variables(*names, "OMP_NUM_THREADS")).values(), key=str)
    assert sorted(words[1:] for words in told) == [
        (3, "3", "false", "2"),
        (3, "GPU-8f0", "false", "2"),
    ]
    assert len({words[0] for words in told}) == 2


def test_more_gpus_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with (
        pytest.raises(ValueError, match="gpus is 2, but this machine shows 1 "),
        connect(Workers(gpus=2), tmp_path),
    ):
        pass


def test_a_scheduler_that_is_already_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It speaks TLS, and the certificate is in Dask's settings."""
    monkeypatch.setattr(module, "SECONDS_TO_ANSWER", 2)
    with start_scheduler(tmp_path) as (address, settings):
        with (
            dask.config.set(settings),
            connect(Workers(scheduler=address), tmp_path / "ours") as client,
        ):
            assert client.submit(os.getpid).result() != os.getpid()
        with (
            pytest.raises(ValueError, match=f"scheduler is {address}, which asks for a cert"),
            connect(Workers(scheduler=address), tmp_path / "ours"),
        ):
            pass
    assert not (tmp_path / "ours").exists()
    with (
        pytest.raises(OSError, match=r"no Dask scheduler answered at tcp://127\.0\.0\.1:9 within"),
        connect(Workers(scheduler="tcp://127.0.0.1:9"), tmp_path),
    ):
        pass
