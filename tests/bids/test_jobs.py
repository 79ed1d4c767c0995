"""Workers that are jobs of a cluster: their scripts, and jobs of a real SLURM."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids.connection import connect, make_job_script
from n4ax.bids.workers import Workers
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
        "--nthreads 1 --preload n4ax.bids.connection", "--lifetime 4h --interface lo",
        "--no-dashboard --dashboard-address 127.0.0.1:0", f"--tls-key {tmp_path}/dask/tls-",
    ):  # fmt: skip
        assert part in command
    assert not (tmp_path / "dask").exists()  # a script that is only shown leaves nothing behind
    assert command.index("--nthreads 3") < command.index("--nthreads 1")  # the last one counts


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
