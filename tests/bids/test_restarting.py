"""Workers of this machine that do not start, or cannot be started again."""

import io
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids import study
from n4ax.bids.inputs import Source
from n4ax.bids.workers import local, logs, restarting
from n4ax.bids.workers.connection import connect, find_problem
from n4ax.bids.workers.description import Workers
from tests.bids.worker_tasks import die, wait_until

pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("nothing_is_left")


def let_starts_fail(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Let so many starts of the workers fail as Dask does, and note all starts."""
    start, starts = local._start_cluster, list[str]()

    def start_or_fail(*words: Any) -> Any:
        starts.append("start")
        if len(starts) > number:
            return start(*words)
        cause = OSError(12, "Cannot allocate memory")
        raise RuntimeError("Nanny failed to start.") from cause

    monkeypatch.setattr(local, "_start_cluster", start_or_fail)
    return starts


def test_workers_that_do_not_start_are_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = let_starts_fail(monkeypatch, 1)
    with connect(Workers(processes=1), tmp_path) as client:
        assert client.submit(sum, [1, 2]).result() == 3
    assert len(starts) == 2
    let_starts_fail(monkeypatch, 2)
    with (
        pytest.raises(OSError, match=r"^the workers could not be started: Cannot allocate memory$"),
        connect(Workers(processes=1), tmp_path),
    ):
        pass


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_disk_that_is_lost(
    comes_back: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarting, "SECONDS_BETWEEN_LOOKS", 0.2)
    monkeypatch.setattr(restarting, "MOST_FRUITLESS", 1000 if comes_back else 2)
    from distributed import CancelledError, KilledWorker

    disk, away = tmp_path / "dask", tmp_path / "away"
    with connect(Workers(processes=1), tmp_path) as client:
        nanny = client.cluster.workers[0]
        disk.rename(away)
        with pytest.raises(KilledWorker):
            client.submit(die()).result()
        future = client.submit(sum, [1, 2])
        try:
            if comes_back:
                wait_until(lambda: client.cluster.workers.get(0) is not nanny)
                time.sleep(1)
                away.rename(disk)
                assert future.result(60) == 3
                assert find_problem(client) == ""
            else:
                with pytest.raises(CancelledError):
                    future.result(60)
                problem = "all workers have ended and could not be started again: "
                assert find_problem(client).startswith(problem)
        finally:
            if away.exists():
                away.rename(disk)


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_page_whose_worker_dies_is_written_once_more(
    deaths: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"

    def write_page(_output: Path, _label: str, _beside: object) -> str:
        import os
        import signal

        with notes.open("a") as file:
            file.write("x")
        if notes.stat().st_size <= deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return ""

    monkeypatch.setattr(study, "_write_page", write_page)
    with connect(Workers(processes=1), tmp_path) as client:
        pages = study._Pages(client, tmp_path, [Source.of("sub-1/anat/sub-1_T1w.nii.gz")])
        pages.write("1")
        problems = pages.wait_for_problems()
        assert client.submit(sum, [1, 2]).result(60) == 3  # no worker is just being started
    assert notes.read_text() == "xx"
    assert len(problems) == deaths - 1
    for problem in problems:
        assert problem.startswith("the report of sub-1 could not be written: KilledWorker")


def test_messages_of_dask_are_in_one_line() -> None:
    import distributed  # noqa: F401  # it makes the loggers

    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger("distributed").addHandler(handler)
    log = logging.getLogger("distributed.worker")
    try:
        with logs.quieten():
            for message in ("closing", "", "Stale file handle"):
                try:
                    raise OSError(116, "Stale file handle")
                except OSError:
                    log.exception(message)
            log.error("Compute Failed: %s", "a task")
            log.info("started")
    finally:
        logging.getLogger("distributed").removeHandler(handler)
    assert said.getvalue().splitlines() == [
        "closing: Stale file handle",
        "failed: Stale file handle",
        "Stale file handle",
    ]
