"""Fixtures for the tests of studies and of workers."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from n4ax.bids import capacity
from tests.bids.worker_tasks import is_alive, start_scheduler
from tests.conftest import ROOT
from tests.support.studies import make_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shared = ROOT.parent / "shared"
    folder = tmp_path_factory.mktemp("bids") / "study-1.0"  # a name with a dot, as OpenNeuro's
    make_study(folder, shared if (shared / "data").is_dir() else None)
    return folder


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with one worker process, which small runs need not start anew."""
    import dask.config

    with (
        start_scheduler(tmp_path_factory.mktemp("workers")) as (address, settings),
        dask.config.set(settings),
    ):
        yield address


@pytest.fixture
def nothing_is_left(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No process, thread, variable or setting is left behind, and nothing is printed."""
    import dask.config

    with suppress(ImportError):
        import dask_jobqueue  # noqa: F401  # it adds its defaults to the settings

    environment, config = dict(os.environ), dict(dask.config.config)
    before = {child.pid for child in psutil.Process().children()}
    threads = set(threading.enumerate())  # dask keeps those of its arrays
    yield
    assert capfd.readouterr().err == ""
    assert dask.config.config == config
    after = [child for child in psutil.Process().children() if child.pid not in before]
    lines = [" ".join(child.cmdline()) for child in after if is_alive(child.pid)]
    assert [line for line in lines if "resource_tracker" not in line] == []
    new_threads = set(threading.enumerate()) - threads
    assert [thread.name for thread in new_threads if not thread.daemon] == []
    environment["PYTEST_CURRENT_TEST"] = os.environ["PYTEST_CURRENT_TEST"]
    assert dict(os.environ) == environment


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 8 cores and 16 GB, of which 7 GB are free, without GPUs."""
    monkeypatch.setattr("dask.system.CPU_COUNT", 8)
    monkeypatch.setattr(capacity, "_total_gigabytes", lambda: 16.0)
    monkeypatch.setattr(capacity, "_free_gigabytes", lambda: 7.0)
    monkeypatch.setattr(capacity, "count_gpus", lambda: 0)
