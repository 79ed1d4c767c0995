"""Workers that are jobs of a cluster: their scripts, and jobs of a real SLURM."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids.workers.connection import connect, make_job_script
from n4ax.bids.workers.description import Workers
from n4ax.bids.workers.queues import read_numbers
from tests.bids.stand_ins import install_queue
from tests.bids.worker_tasks import (
    LOOPBACK,
    die,
    is_alive,
    pause,
    start_and_kill,
    variables,
    wait_until,
)
from tests.support import slurm

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.parametrize(
    ("cluster", "program"), [("slurm", "sbatch"), ("pbs", "qsub"), ("lsf", "bsub"), ("sge", "qsub")]
)
def test_a_cluster_that_is_not_here(
    cluster: Any, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(ValueError, match=f"cluster={cluster} needs {program} on PATH; run this"),
        connect(Workers(cluster=cluster), tmp_path),
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
    script = make_job_script(workers, tmp_path)
    *header, command = script.strip().splitlines()
    for directive in SCRIPTS[cluster]:
        assert any(directive in line for line in header), script
    assert {
        "export OMP_NUM_THREADS=3", "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
        f"export MALLOC_TRIM_THRESHOLD_={2**30}",
    } < {*header}  # fmt: skip
    assert header[-1] == "module load cuda"
    for part in (
        f"{sys.executable} -m distributed.cli.dask_worker tls://127.0.0.1:", "--nworkers 2 --nanny",
        "--memory-limit 7.45GiB", "--death-timeout 90", f"--local-directory {tmp_path}/dask",
        "--nthreads 1 --preload n4ax.bids.workers.connection", "--lifetime 4h --interface lo",
        "--no-dashboard --dashboard-address 127.0.0.1:0", f"--tls-key {tmp_path}/dask/tls-",
    ):  # fmt: skip
        assert part in command
    assert not (tmp_path / "dask").exists()  # a script that is only shown leaves nothing behind
    assert command.index("--nthreads 3") < command.index("--nthreads 1")  # the last one counts


DIRECTIVES = {
    "slurm": r"#SBATCH (-[JepoAntC] ?\S+|--[a-z-]+(=\S+)?)",
    "pbs": r"#PBS -[NqAleoV] ?\S+",
    "lsf": r'#BSUB -[JeoqPnRMW] ("[^"]+"|\S+)',
    "sge": r"#\$ (-[NqPleo] \S+|-cwd|-j y|-pe \S+ \d+)",
}
"""What a directive of each system looks like."""

ODD: dict[str, tuple[dict[str, Any], dict[str, tuple[str, ...]], int]] = {
    "days": (
        {"walltime": "100:00:00", "memory_gb": 3.3, "threads": 5},
        {
            "slurm": ("-t 100:00:00", "--mem=4G", "--cpus-per-task=5"),
            "pbs": ("walltime=100:00:00", "ncpus=5:mem=3148MB"),
            "lsf": ("-W 100:00", "-M 3300000", "-n 5"),
            "sge": ("h_rt=100:00:00",),
        },
        342_000,
    ),
    "little memory": (
        {"walltime": "00:01:30", "memory_gb": 0.7},
        {
            "slurm": ("-t 00:01:30", "--mem=668M", "--cpus-per-task=1"),
            "pbs": ("walltime=00:01:30", "ncpus=1:mem=668MB"),
            "lsf": ("-W 00:02", "-M 700000", "-n 1"),
            "sge": ("h_rt=00:01:30",),
        },
        45,
    ),
    "an hour": (
        {"walltime": "01:00:00", "memory_gb": 128.0, "processes": 3, "threads": 2},
        {
            "slurm": ("-t 01:00:00", "--mem=120G", "--cpus-per-task=6"),
            "pbs": ("walltime=01:00:00", "ncpus=6:mem=120GB"),
            "lsf": ("-W 01:00", "-M 128000000", "-n 6"),
            "sge": ("h_rt=01:00:00", "-pe smp 6"),
        },
        3420,
    ),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("cluster", SCRIPTS)
def test_job_scripts_are_well_formed(cluster: Any, odd: str, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    given, expected, seconds = ODD[odd]
    cores = given.get("processes", 1) * given.get("threads", 1)
    extra = {"job_extra_directives": [f"-pe smp {cores}"]} if cluster == "sge" else {}
    workers = Workers(cluster=cluster, queue="long", **given, options=extra | LOOPBACK)
    script = make_job_script(workers, tmp_path)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    first, *lines = script.splitlines()
    assert first.startswith("#!/usr/bin/env bash")
    marks = [number for number, line in enumerate(lines) if line.startswith("#")]
    commands = [n for n, line in enumerate(lines) if line and not line.startswith("#")]
    assert max(marks) < min(commands)  # a system does not read directives after a command
    for number in marks:
        assert re.fullmatch(DIRECTIVES[cluster], lines[number]), lines[number]
    for part in expected[cluster]:
        assert any(lines[number].endswith(part) for number in marks), script
    assert "export N4AX_JOB_STARTED=$(date +%s)" in lines
    assert f"export N4AX_JOB_SECONDS={seconds}" in lines


@pytest.mark.parametrize(("walltime", "seconds"), [
    ("2-12:00:00", 205_200), ("04:00", None), (None, None),
])  # fmt: skip
def test_walltimes_of_the_options(
    walltime: str | None, seconds: int | None, tmp_path: Path
) -> None:
    pytest.importorskip("dask_jobqueue")
    options = LOOPBACK | ({} if walltime is None else {"walltime": walltime})
    script = make_job_script(Workers(cluster="slurm", options=options), tmp_path)
    found = re.search(r"N4AX_JOB_SECONDS=(\d+)", script)
    assert (found and int(found.group(1))) == seconds


@pytest.mark.parametrize(("cluster", "said", "numbers"), [
    ("slurm", "12\n345\n", {"12", "345"}),
    ("slurm", "", set()),
    (
        "pbs",
        "Job id            Name   User  Time Use S Queue\n----------------  -----  ----\n"
        "7.server          n4ax   me    00:00:01 R batch\n8[].server  n4ax  me  0 Q batch\n"
        "9.server          n4ax   me    00:00:09 C batch\n10.server n4ax me 00:00:09 F batch\n",
        {"7", "8"},
    ),
    (
        "lsf",
        "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"
        "31      me      PEND  normal     login       -           n4ax       Nov 27 10:00\n",
        {"31"},
    ),
    (
        "sge",
        "job-ID  prior   name  user  state submit/start at     queue\n------------------\n"
        "     41 0.55500 n4ax  me    qw    11/27/2026 10:00:00         1\n",
        {"41"},
    ),
])  # fmt: skip
def test_lists_of_jobs(cluster: str, said: str, numbers: set[str]) -> None:
    assert read_numbers(cluster, said) == numbers


@pytest.mark.parametrize("cluster", SCRIPTS)
def test_a_job_script_asks_only_for_what_was_given(cluster: Any, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    script = make_job_script(Workers(cluster=cluster, options=LOOPBACK), tmp_path)
    assert "--memory-limit 7.45GiB" in script
    for word in ("-t 00:", "walltime", "-W ", "h_rt", "-A ", "-P ", "-p ", "-q "):
        assert word not in script


def test_options_that_are_not_known(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    workers = Workers(cluster="pbs", options={"colour": "red"})
    with pytest.raises(
        ValueError, match=r"options is .*, which PBSCluster of dask-jobqueue does not accept: .*col"
    ):
        make_job_script(workers, tmp_path)
    with pytest.raises(ValueError, match="a b cannot be used in a job script: choose"):
        make_job_script(Workers(cluster="pbs"), tmp_path / "a b")
    with pytest.raises(ValueError, match="cluster is 'local', which has no jobs"):
        make_job_script(Workers(), tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="setsid exists on Linux only")
@pytest.mark.parametrize(
    "cluster",
    [
        "pbs",
        pytest.param("sge", marks=pytest.mark.slow),
        pytest.param("lsf", marks=pytest.mark.slow),
    ],
)
def test_jobs_of_other_systems(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue")
    install_queue(cluster, tmp_path, monkeypatch)
    with connect(Workers(cluster=cluster, options=LOOPBACK), tmp_path) as client:
        client.wait_for_workers(1, timeout=60)
        ((worker, threads),) = client.run(variables()).values()
        assert worker != os.getpid()
        assert threads == 1
    assert wait_until(lambda: not is_alive(worker), seconds=15)


@pytest.mark.slow
def test_jobs_of_slurm(
    slurm_configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    workers = Workers(cluster="slurm", jobs=2, threads=2, memory_gb=1, options=LOOPBACK)
    with connect(workers, tmp_path) as client:
        client.wait_for_workers(2, timeout=60)
        told = client.run(variables("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"))
        assert {words[1] for words in told.values()} == {1}
        assert {words[3:] for words in told.values()} == {("2", "2")}
        assert len({words[2] for words in told.values()} - {None}) == 2
        assert len({words[0] for words in told.values()} - {os.getpid()}) == 2
        assert client.gather(client.map(pause(0.02), range(12))) == [0.02] * 12
        with pytest.raises(distributed.KilledWorker):
            client.submit(die()).result()
        assert len(slurm.list_jobs(slurm_configuration)) == 2
    assert wait_until(lambda: not slurm.list_jobs(slurm_configuration), seconds=15)
    assert len(list((tmp_path / "logs").glob("n4ax-*.err"))) == 2


@pytest.mark.slow
def test_a_job_that_slurm_does_not_accept(
    slurm_configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    workers = Workers(cluster="slurm", jobs=2, queue="nowhere", options=LOOPBACK)
    with (
        pytest.raises(
            ValueError, match=r"sbatch did not accept the job: .*[Ii]nvalid partition"
        ) as caught,
        connect(workers, tmp_path),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert slurm.list_jobs(slurm_configuration) == []


@pytest.mark.slow
def test_jobs_end_with_a_program_that_is_killed(
    slurm_configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    assert len(start_and_kill(tmp_path, "slurm")) == 2
    assert wait_until(lambda: not slurm.list_jobs(slurm_configuration), seconds=40)
