"""Jobs that end before the work does: others take their place, for as long as there is a point."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids import tasks as module
from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.bids.tasks import SchedulerGoneError, TaskList
from n4ax.bids.workers import renewal
from n4ax.bids.workers.connection import connect
from n4ax.bids.workers.description import Workers
from n4ax.settings import N4Settings
from tests.bids.stand_ins import install_queue, list_submitted
from tests.bids.worker_tasks import LOOPBACK, wait_until, write_program
from tests.support import slurm
from tests.support.long import only_long

pytest.importorskip("dask_jobqueue")
KilledWorker = pytest.importorskip("distributed").KilledWorker
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="setsid exists on Linux only")

SOURCES = [Source.of(f"sub-{number}/anat/sub-{number}_T1w.nii.gz") for number in range(10)]


def correct_slowly(folder: Path, seconds: float) -> Callable[..., list[Any]]:
    """A stand-in for the correction, which is sent to the workers by value."""

    def correct(_recipe: object, sources: tuple[Source, ...], *, wait: bool) -> list[Any]:
        import os
        import time

        from n4ax.bids.image import Outcome

        def note(what: str) -> None:
            with (folder / "notes").open("a") as file:
                file.write(f"{what} {sources[0].stem} {os.getppid()} {os.getpid()} {wait}\n")

        note("begins")
        time.sleep(seconds)
        note("ends")
        return [Outcome(one.path, one.participant, "corrected") for one in sources]

    return correct


def read_notes(folder: Path, what: str) -> list[list[str]]:
    path = folder / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1:] for line in lines if line.startswith(what)]


@pytest.fixture(autouse=True)
def looks_often(nothing_is_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "SECONDS_BETWEEN_LOOKS", 0.5)


def run_tasks(client: Any, folder: Path, sources: list[Source] = SOURCES) -> dict[str, str]:
    recipe = Recipe(folder, folder / "out", N4Settings())
    listed = TaskList(client, recipe, [(source,) for source in sources])
    return {outcome.source: outcome.state for outcome in listed.run()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cluster", "processes"),
    [
        pytest.param("pbs", 1, marks=only_long),
        ("slurm", 2),
        pytest.param("lsf", 2, marks=only_long),
        pytest.param("sge", 1, marks=only_long),
    ],
)
def test_jobs_at_their_time_limit_are_followed_by_others(
    cluster: Any, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_queue(cluster, tmp_path, monkeypatch)
    monkeypatch.setattr(module, "correct_sources", correct_slowly(tmp_path, 2.0 * processes))
    options = LOOPBACK | ({"job_extra_directives": ["-pe smp 1"]} if cluster == "sge" else {})
    workers = Workers(
        cluster=cluster, processes=processes, walltime="00:00:24", memory_gb=2, options=options
    )  # no image is begun after 12 seconds
    with connect(workers, tmp_path) as client:
        states = run_tasks(client, tmp_path)
    assert set(states.values()) == {"corrected"}
    assert len(states) == len(SOURCES)
    assert len(list_submitted(tmp_path)) > 1
    begun, ended = read_notes(tmp_path, "begins"), read_notes(tmp_path, "ends")
    assert sorted(begun) == sorted(ended)  # no image was given up in the middle
    assert len(begun) == len(SOURCES)
    assert len({words[1] for words in begun}) > 1


@pytest.mark.parametrize("cluster", ["pbs", pytest.param("lsf", marks=pytest.mark.slow)])
def test_jobs_that_never_do_anything_are_not_submitted_for_ever(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_queue(cluster, tmp_path, monkeypatch)
    options = LOOPBACK | {"job_script_prologue": ["exit 3"]}
    with (
        pytest.raises(SchedulerGoneError, match=r"3 jobs in a row ended without .*/logs has what"),
        connect(Workers(cluster=cluster, options=options), tmp_path) as client,
    ):
        run_tasks(client, tmp_path)
    assert len(list_submitted(tmp_path)) == renewal.MOST_FRUITLESS


@pytest.mark.slow
@only_long
def test_an_image_that_takes_longer_than_a_job_may_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_queue("pbs", tmp_path, monkeypatch)
    monkeypatch.setattr(module, "correct_sources", correct_slowly(tmp_path, 600.0))
    limit = "(sleep 6; kill -TERM 0; sleep 2; kill -KILL 0) &"
    options = LOOPBACK | {"job_script_prologue": [limit]}
    with (
        pytest.raises(SchedulerGoneError, match="3 jobs in a row ended without having finished"),
        connect(Workers(cluster="pbs", options=options), tmp_path) as client,
    ):
        run_tasks(client, tmp_path, SOURCES[:1])
    assert len(list_submitted(tmp_path)) == renewal.MOST_FRUITLESS


def test_jobs_that_are_refused_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_queue("pbs", tmp_path, monkeypatch)
    options = LOOPBACK | {"job_script_prologue": ["sleep 1; exit 3"]}
    with connect(Workers(cluster="pbs", options=options), tmp_path) as client:
        write_program(tmp_path / "qsub", "echo you have too many jobs >&2; exit 1")
        with pytest.raises(SchedulerGoneError, match="qsub did not accept the job: you have too m"):
            run_tasks(client, tmp_path)


@pytest.mark.slow
def test_a_job_that_is_told_to_end_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its image is begun anew, and is not blamed for the death of its worker."""
    install_queue("pbs", tmp_path, monkeypatch)
    monkeypatch.setattr(module, "correct_sources", correct_slowly(tmp_path, 3.0))
    with connect(Workers(cluster="pbs", options=LOOPBACK), tmp_path) as client:
        recipe = Recipe(tmp_path, tmp_path / "out", N4Settings())
        outcomes = TaskList(client, recipe, [(source,) for source in SOURCES[:3]]).run()
        first = next(outcomes)
        assert wait_until(lambda: len(read_notes(tmp_path, "begins")) == 2)
        os.killpg(int(list_submitted(tmp_path)[0]), signal.SIGTERM)
        states = [first.state, *(outcome.state for outcome in outcomes)]
    assert states == ["corrected"] * 3
    assert len(list_submitted(tmp_path)) == 2
    begun = read_notes(tmp_path, "begins")
    assert len(begun) == 4
    assert {words[-1] for words in begun} == {"False"}  # none was tried as a suspect


@pytest.mark.slow
def test_an_image_whose_worker_died_gets_a_job_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def correct(_recipe: object, sources: tuple[Source, ...], *, wait: bool) -> list[Any]:
        import os
        import signal

        from distributed import get_worker

        from n4ax.bids.image import Outcome

        if "sub-3" in sources[0].path and not wait:
            os.kill(os.getpid(), signal.SIGKILL)
        limit = str(get_worker().memory_manager.memory_limit)
        return [Outcome(one.path, one.participant, "corrected", limit) for one in sources]

    install_queue("pbs", tmp_path, monkeypatch)
    monkeypatch.setattr(module, "correct_sources", correct)
    workers = Workers(cluster="pbs", jobs=2, processes=2, memory_gb=2, options=LOOPBACK)
    with connect(workers, tmp_path) as client:
        recipe = Recipe(tmp_path, tmp_path / "out", N4Settings())
        listed = TaskList(client, recipe, [(source,) for source in SOURCES])
        limits = {outcome.participant: float(outcome.reason) for outcome in listed.run()}
    assert len(limits) == len(SOURCES)
    assert limits.pop("3") == pytest.approx(2e9, rel=0.01)
    assert all(limit == pytest.approx(1e9, rel=0.01) for limit in limits.values())
    assert len(list_submitted(tmp_path)) == 3


@pytest.mark.slow
def test_a_worker_of_a_job_that_takes_too_much_memory_is_to_blame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask ends it by the signal by which a cluster ends a job."""

    def hog() -> None:
        import time

        held = []
        while True:
            held.append(b"1" * 20_000_000)
            time.sleep(0.05)

    install_queue("pbs", tmp_path, monkeypatch)
    workers = Workers(cluster="pbs", memory_gb=0.6, options=LOOPBACK)
    with connect(workers, tmp_path) as client:
        assert isinstance(client.submit(hog).exception(timeout=60), KilledWorker)
    assert len(list_submitted(tmp_path)) == 1


def control(configuration: Path, *command: str) -> str:
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.slow
@only_long
def test_slurm_ends_jobs_and_gets_others(
    slurm_configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    monkeypatch.setattr(module, "correct_sources", correct_slowly(tmp_path, 8.0))
    workers = Workers(cluster="slurm", walltime="00:01:00", memory_gb=1, options=LOOPBACK)
    with connect(workers, tmp_path) as client:
        states = run_tasks(client, tmp_path, SOURCES[:6])
        assert len(slurm.list_jobs(slurm_configuration)) <= 1
    assert list(states.values()) == ["corrected"] * 6
    begun, ended = read_notes(tmp_path, "begins"), read_notes(tmp_path, "ends")
    assert sorted(begun) == sorted(ended)
    assert len({words[1] for words in begun}) == 2
    assert wait_until(lambda: not slurm.list_jobs(slurm_configuration), seconds=15)


@pytest.mark.slow
@only_long
@pytest.mark.parametrize("how", ["requeue", "cancel"])
def test_a_job_that_slurm_preempts(
    how: str, slurm_configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    monkeypatch.setattr(renewal, "SECONDS_BETWEEN_LOOKS", 3.0)  # it is missing for a moment
    monkeypatch.setattr(module, "correct_sources", correct_slowly(tmp_path, 4.0))
    workers = Workers(cluster="slurm", memory_gb=1, options=LOOPBACK)
    with connect(workers, tmp_path) as client:
        recipe = Recipe(tmp_path, tmp_path / "out", N4Settings())
        outcomes = TaskList(client, recipe, [(source,) for source in SOURCES[:3]]).run()
        first = next(outcomes)
        assert wait_until(lambda: len(read_notes(tmp_path, "begins")) == 2)
        job = slurm.list_jobs(slurm_configuration)[0].split()[0]
        if how == "requeue":
            control(slurm_configuration, "scontrol", "requeue", job)
            assert wait_until(
                lambda: " PD " in "".join(slurm.list_jobs(slurm_configuration)), seconds=60
            )
            time.sleep(5)  # SLURM waits for two minutes, so that the node can be cleaned up
            control(slurm_configuration, "scontrol", "update", f"JobId={job}", "StartTime=now")
        else:
            control(slurm_configuration, "scancel", job)
        states = [first.state, *(outcome.state for outcome in outcomes)]
        (last,) = slurm.list_jobs(slurm_configuration)
    assert states == ["corrected"] * 3
    assert (last.split()[0] == job) == (how == "requeue")
    begun = read_notes(tmp_path, "begins")
    assert len(begun) == 4
    assert {words[-1] for words in begun} == {"False"}  # none was tried as a suspect
