"""Where tasks run: processes, GPUs' processes, jobs of a real SLURM, a scheduler that is there."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from n4ax.bids import connection as module
from n4ax.bids.connection import connected, job_script
from n4ax.bids.workers import Workers, visible_gpus
from tests.support import slurm

distributed = pytest.importorskip("distributed")

LOOPBACK = {"interface": "lo", "scheduler_options": {"host": "127.0.0.1"}}
"""Options by which nothing of a job listens but on loopback."""


def pause(seconds: float) -> Callable[..., float]:
    """A task; it travels by value, so that workers need not find this file."""

    def task(_number: int = 0) -> float:
        import time

        time.sleep(seconds)
        return seconds

    return task


def die() -> Callable[[], None]:
    def task() -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    return task


def variables(*names: str) -> Callable[[Any], tuple[Any, ...]]:
    def task(dask_worker: Any) -> tuple[Any, ...]:
        import os

        return (os.getpid(), dask_worker.state.nthreads, *map(os.environ.get, names))

    return task


def until(condition: Callable[[], object], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def alive(number: int) -> bool:
    """Whether there is such a process; one that nobody has asked for its status is none."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(autouse=True)
def nothing_is_left(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No process, thread, variable or setting stays, and nothing is printed."""
    import dask.config

    with suppress(ImportError):
        import dask_jobqueue  # noqa: F401  # which adds its defaults to the settings

    environment, config = dict(os.environ), dict(dask.config.config)
    before = {child.pid for child in psutil.Process().children()}
    yield
    assert capfd.readouterr().err == ""
    assert dask.config.config == config
    after = [child for child in psutil.Process().children() if child.pid not in before]
    lines = [" ".join(child.cmdline()) for child in after if alive(child.pid)]
    assert [line for line in lines if "resource_tracker" not in line] == []
    assert {thread.name for thread in threading.enumerate() if not thread.daemon} <= {"MainThread"}
    environment["PYTEST_CURRENT_TEST"] = os.environ["PYTEST_CURRENT_TEST"]
    assert dict(os.environ) == environment


BAD = {
    "cluster": ({"cluster": "moab"}, "cluster is 'moab'; expected one of 'local', 'slurm'"),
    "processes": ({"processes": 0}, "processes is 0; expected a whole number of at least 1"),
    "threads": ({"threads": 1.5}, "threads is 1.5; expected a whole number"),
    "jobs": ({"jobs": True}, "jobs is True; expected a whole number"),
    "gpus": ({"gpus": -1}, "gpus is -1; expected a whole number of at least 0"),
    "memory": (
        {"memory_gb": 0.9, "processes": 4},
        "memory_gb is 0.9; expected at least 2, 0.5 for",
    ),
    "not a number": ({"memory_gb": float("nan")}, "memory_gb is nan; expected at least 0.5"),
    "queue": ({"queue": "short"}, "queue is 'short', which goes with a cluster"),
    "options": ({"options": {"interface": "lo"}}, "options is .*, which goes with a cluster"),
    "walltime": ({"cluster": "slurm", "walltime": "2h"}, "walltime is '2h'; expected HH:MM:SS"),
    "minutes": ({"cluster": "pbs", "walltime": "1:75:00"}, "expected HH:MM:SS, such as '04:00:00'"),
    "GPUs of a cluster": ({"cluster": "slurm", "gpus": 1}, "ask slurm for GPUs by options"),
    "a list": ({"cluster": "lsf", "options": ["-x"]}, "expected keywords of dask-jobqueue"),
    "a line": (
        {"cluster": "pbs", "options": {"job_script_prologue": "module load cuda"}},
        r"job_script_prologue 'module load cuda'; expected a list, such as \['module load",
    ),
    "cores of SGE": ({"cluster": "sge", "threads": 4}, r'"job_extra_directives": \["-pe smp 4"\]'),
    "address": ({"scheduler": "10.0.0.5"}, "scheduler is '10.0.0.5'; expected its address"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Workers(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "program"), [("slurm", "sbatch"), ("pbs", "qsub"), ("lsf", "bsub"), ("sge", "qsub")]
)
def test_a_cluster_that_is_not_here(
    cluster: Any, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(ValueError, match=f"--cluster {cluster} needs {program} on PATH; run this"),
        connected(Workers(cluster=cluster), tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("missing", "cluster", "extra"),
    [("distributed", "local", "bids"), ("dask_jobqueue", "slurm", "cluster")],
)
def test_what_is_not_installed(
    missing: str, cluster: Any, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, missing, None)
        with (
            pytest.raises(
                ImportError, match=rf"{missing} is missing: pip install 'n4ax\[{extra}\]'"
            ),
            connected(Workers(cluster=cluster), tmp_path),
        ):
            pass


def test_processes_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")

    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory", "scan.nii.gz")

    before = listens_on(psutil.Process())  # of other tests' libraries
    with connected(Workers(processes=2, threads=3), tmp_path / "new" / "scratch") as client:
        told = client.run(variables("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")).values()
        assert {words[1:] for words in told} == {(1, "3", "3")}
        assert len({words[0] for words in told} - {os.getpid()}) == 2
        assert set(client.gather([client.submit(os.getpid, pure=False) for _ in range(9)])) <= {
            words[0] for words in told
        }
        with pytest.raises(FileNotFoundError) as caught:
            client.submit(fail).result()
        assert caught.value.filename == "scan.nii.gz"
        assert listens_on(psutil.Process()) - before <= {"127.0.0.1"}
    assert os.environ["OMP_NUM_THREADS"] == "64"
    assert [path.name for path in (tmp_path / "new" / "scratch").iterdir()] == ["dask"]


def listens_on(process: psutil.Process) -> set[str]:
    everything = [process, *process.children(recursive=True)]
    return {
        connection.laddr.ip
        for each in everything
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_a_task_that_kills_its_worker_harms_no_other(processes: int, tmp_path: Path) -> None:
    with connected(Workers(processes=processes), tmp_path) as client:
        killer = client.submit(die())
        others = client.map(pause(0.02), range(12), pure=False)
        assert client.gather(others) == [0.02] * 12
        with pytest.raises(distributed.KilledWorker) as caught:
            killer.result()
        assert caught.value.task == killer.key
        assert client.submit(os.getpid).result() != os.getpid()


def test_memory_has_an_end(tmp_path: Path) -> None:
    def hog() -> None:
        import time

        held = []
        while True:
            held.append(b"1" * 40_000_000)
            time.sleep(0.05)

    with connected(Workers(processes=2, memory_gb=1.0), tmp_path) as client:
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
    with connected(Workers(processes=2), tmp_path / "scratch") as client:
        tasks = client.map(write, [images / "a.nii", images / "b.nii", images / "c.nii"])
        assert until(lambda: len(list(images.iterdir())) == 2)
        started = time.monotonic()
    assert time.monotonic() - started < 60  # they would go on for 600
    assert list(images.iterdir()) == []
    assert all(task.status == "cancelled" for task in tasks)


DRIVER = """
import os, sys, time
from pathlib import Path
from n4ax.bids.connection import connected
from n4ax.bids.workers import Workers

if __name__ == "__main__":
    options = {"interface": "lo", "scheduler_options": {"host": "127.0.0.1"}}
    if sys.argv[1] == "local":
        options = {}
    workers = Workers(cluster=sys.argv[1], processes=2, memory_gb=1, options=options)
    with connected(workers, Path()) as client:
        client.wait_for_workers(2, timeout=60)
        seconds = 600 if sys.argv[1] == "local" else 3  # a job's worker ends its task first
        running = [client.submit(time.sleep, seconds, pure=False) for _ in range(2)]
        print(*client.run(os.getpid).values(), flush=True)
        time.sleep(600)
"""


def killed_driver(folder: Path, cluster: str) -> list[int]:
    """The workers of a program, started with ``-m``, that has been killed."""
    (folder / "driver").mkdir()
    (folder / "driver" / "__main__.py").write_text(DRIVER)
    process = subprocess.Popen(
        [sys.executable, "-m", "driver", cluster], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        process.kill()
    return workers


def test_workers_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    workers = killed_driver(tmp_path, "local")
    assert len(workers) == 2
    assert until(lambda: not any(map(alive, workers)), seconds=10)


NOISY = """
import os, signal, time
from pathlib import Path
from n4ax.bids.connection import connected
from n4ax.bids.workers import Workers

def fail():
    raise RuntimeError("of a task")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with connected(Workers(processes=2), Path()) as client:
        print(type(client.submit(fail).exception()).__name__)
        print(type(client.submit(die).exception()).__name__)
        still = client.submit(time.sleep, 600)
        again = client.submit(die, pure=False)
        time.sleep(0.5)
    print("left")
"""


def test_nothing_is_printed_by_a_program_but_what_it_prints(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    command = [sys.executable, "-W", "error", "noisy.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.split() == ["RuntimeError", "KilledWorker", "left"]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("listed", "count"),
    [("0", 1), ("2,5", 2), ("", 0), ("-1", 0), ("0,-1,1", 1), ("GPU-8f0, MIG-a1/2/3", 2)],
)
def test_gpus_that_are_listed(listed: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_gpus() == count


def test_gpus_that_the_driver_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == 0
    program(tmp_path / "nvidia-smi", 'echo "GPU 0: H100 (UUID: GPU-1)"; echo "GPU 1: H100"')
    assert visible_gpus() == 2
    program(tmp_path / "nvidia-smi", 'echo "NVIDIA-SMI has failed"; exit 9')
    assert visible_gpus() == 0


def program(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def test_each_gpu_has_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8f0,7")
    names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_PREALLOCATE")
    with connected(Workers(gpus=2, threads=2, processes=9), tmp_path) as client:
        told = sorted(client.run(variables(*names, "OMP_NUM_THREADS")).values(), key=str)
    assert sorted(words[1:] for words in told) == [
        (3, "3", "false", "2"),
        (3, "GPU-8f0", "false", "2"),
    ]
    assert len({words[0] for words in told}) == 2


def test_more_gpus_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with (
        pytest.raises(ValueError, match="gpus is 2; this machine shows 1"),
        connected(Workers(gpus=2), tmp_path),
    ):
        pass


def test_a_scheduler_that_runs_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(Workers(), tmp_path / "its") as owner:
        address = owner.scheduler_info()["address"]
        with connected(Workers(scheduler=address), tmp_path / "ours") as client:
            worker = client.submit(os.getpid).result()
            assert worker != os.getpid()
        assert owner.submit(os.getpid, pure=False).result() == worker
    assert not (tmp_path / "ours").exists()
    monkeypatch.setattr(module, "SECONDS_TO_ANSWER", 1)
    with (
        pytest.raises(OSError, match=f"no Dask scheduler answers at {address} within 1 s"),
        connected(Workers(scheduler=address), tmp_path),
    ):
        pass


SCRIPTS = {
    "slurm": ("#SBATCH -p long", "#SBATCH -A lab", "#SBATCH --cpus-per-task=6",
              "#SBATCH --mem=15G", "#SBATCH -t 04:30:10", "#SBATCH --extra", "/logs/n4ax-%J.err"),
    "pbs": ("#PBS -q long", "#PBS -A lab", "#PBS -l select=1:ncpus=6:mem=15GB",
            "#PBS -l walltime=04:30:10", "#PBS --extra", "/logs/"),
    "lsf": ("#BSUB -q long", '#BSUB -P "lab"', "#BSUB -n 6", '#BSUB -R "span[hosts=1]"',
            "#BSUB -M 16000000", "#BSUB -W 04:31", "#BSUB --extra", "/logs/"),
    "sge": ("#$ -q long", "#$ -P lab", "#$ -pe smp 6", "#$ -l h_rt=04:30:10", "#$ --extra",
            "/logs/"),
}  # fmt: skip


@pytest.mark.parametrize("cluster", SCRIPTS)
def test_job_scripts(cluster: Any, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    extra = ["--extra", "-pe smp 6"] if cluster == "sge" else ["--extra"]
    options = {
        "job_extra_directives": extra,
        "job_script_prologue": ["module load cuda"],
        "worker_extra_args": ["--lifetime", "4h"],
        "death_timeout": 90,
    }
    workers = Workers(
        cluster=cluster, processes=2, threads=3, memory_gb=16, queue="long", account="lab",
        walltime="04:30:10", options=options | LOOPBACK,
    )  # fmt: skip
    script = job_script(workers, tmp_path)
    *header, command = script.strip().splitlines()
    for directive in SCRIPTS[cluster]:
        assert any(directive in line for line in header), script
    assert {"export OMP_NUM_THREADS=3", "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False"} < {
        *header
    }
    assert header[-1] == "module load cuda"
    for part in (
        f"{sys.executable} -m distributed.cli.dask_worker tcp://127.0.0.1:", "--nworkers 2 --nanny",
        "--memory-limit 7.45GiB", "--death-timeout 90", f"--local-directory {tmp_path}/dask",
        "--nthreads 1 --no-dashboard --preload n4ax.bids.connection --lifetime 4h --interface lo",
    ):  # fmt: skip
        assert part in command
    assert command.index("--nthreads 3") < command.index("--nthreads 1")  # the last one holds


@pytest.mark.parametrize("cluster", SCRIPTS)
def test_a_job_script_asks_for_no_more_than_was_said(cluster: Any, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    script = job_script(Workers(cluster=cluster, options=LOOPBACK), tmp_path)
    assert "--memory-limit 7.45GiB" in script
    for word in ("-t 00:", "walltime", "-W ", "h_rt", "-A ", "-P ", "-p ", "-q "):
        assert word not in script


def test_options_that_are_not_known(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    workers = Workers(cluster="pbs", options={"colour": "red"})
    with pytest.raises(
        ValueError, match=r"options .* are not PBSCluster's of dask-jobqueue: .*col"
    ):
        job_script(workers, tmp_path)
    with pytest.raises(ValueError, match="a b cannot stand in a job script: choose"):
        job_script(Workers(cluster="pbs"), tmp_path / "a b")
    with pytest.raises(ValueError, match="cluster is 'local', which has no jobs"):
        job_script(Workers(), tmp_path)


RUNS = 'copy=$(mktemp "{folder}/job.XXXXXX"); cat {script} > "$copy"; chmod +x "$copy"'
STARTS = 'setsid "$copy" > "$copy.out" 2>&1 < /dev/null & echo "Job <$!> was submitted"'


@pytest.mark.skipif(sys.platform != "linux", reason="setsid is Linux's")
@pytest.mark.parametrize(("cluster", "submit", "cancel", "script"), [
    ("pbs", "qsub", "qdel", '"$1"'),
    ("sge", "qsub", "qdel", '"$1"'),
    ("lsf", "bsub", "bkill", "-"),
])  # fmt: skip
def test_jobs_of_other_systems(
    cluster: Any, submit: str, cancel: str, script: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """By stand-ins for their programs, which start and end a script."""
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program(tmp_path / submit, RUNS.format(folder=tmp_path, script=script), STARTS)
    program(tmp_path / cancel, 'kill -TERM -- "-$1"')
    with connected(Workers(cluster=cluster, options=LOOPBACK), tmp_path) as client:
        client.wait_for_workers(1, timeout=60)
        ((worker, threads),) = client.run(variables()).values()
        assert worker != os.getpid()
        assert threads == 1
    assert until(lambda: not alive(worker), seconds=15)


def test_jobs_of_slurm(
    slurm_configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    workers = Workers(cluster="slurm", jobs=2, threads=2, memory_gb=1, options=LOOPBACK)
    with connected(workers, tmp_path) as client:
        client.wait_for_workers(2, timeout=60)
        told = client.run(variables("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"))
        assert {words[1] for words in told.values()} == {1}
        assert {words[3:] for words in told.values()} == {("2", "2")}
        assert len({words[2] for words in told.values()} - {None}) == 2
        assert len({words[0] for words in told.values()} - {os.getpid()}) == 2
        assert client.gather(client.map(pause(0.02), range(12))) == [0.02] * 12
        with pytest.raises(distributed.KilledWorker):
            client.submit(die()).result()
        assert len(slurm.queued(slurm_configuration)) == 2
    assert until(lambda: not slurm.queued(slurm_configuration), seconds=15)
    assert len(list((tmp_path / "logs").glob("n4ax-*.err"))) == 2


def test_a_job_that_slurm_does_not_take(
    slurm_configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    workers = Workers(cluster="slurm", jobs=2, queue="nowhere", options=LOOPBACK)
    with (
        pytest.raises(ValueError, match=r"sbatch took no job: .*[Ii]nvalid partition") as caught,
        connected(workers, tmp_path),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert slurm.queued(slurm_configuration) == []


def test_jobs_end_with_a_program_that_is_killed(
    slurm_configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    assert len(killed_driver(tmp_path, "slurm")) == 2
    assert until(lambda: not slurm.queued(slurm_configuration), seconds=40)
