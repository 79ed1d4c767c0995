"""Images as tasks: which are tried again, when, and how often."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from n4ax.bids import tasks as module
from n4ax.bids.connection import TRIES, connect
from n4ax.bids.image import Outcome
from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.bids.tasks import TaskList
from n4ax.bids.workers import Workers
from n4ax.settings import N4Settings
from tests.bids.worker_tasks import wait_until


def correct_by_name(folder: Path) -> Callable[..., list[Outcome]]:
    """A stand-in for the correction: the first image's name says what becomes of a task.

    It is sent to the workers by value, because they cannot import this file.
    """

    def correct(_recipe: object, sources: tuple[Source, ...], *, wait: bool) -> list[Outcome]:
        import os
        import signal

        from n4ax.bids.image import Outcome

        source = sources[0]
        with (folder / "tries").open("a") as file:
            file.write(f"{source.stem} {wait}\n")
        if "killer" in source.stem:
            os.kill(os.getpid(), signal.SIGKILL)
        if "crash" in source.stem:
            raise RuntimeError("two\nlines")
        busy = "busy" in source.stem and not wait
        state = "busy" if busy else "corrected"
        return [Outcome(one.path, one.participant, state) for one in sources]

    return correct


@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_images_that_are_tried_again(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "correct_sources", correct_by_name(tmp_path))
    monkeypatch.setattr(module, "_AHEAD", 3)
    words = ["busy", *(f"good{number}" for number in range(9)), "killer", "crash"]
    sources = [Source.of(f"sub-1/anat/sub-1_acq-{word}_T1w.nii.gz") for word in words]
    beside = [Source.of(f"sub-1/anat/sub-1_acq-{word}_T2w.nii.gz") for word in words]
    names = {"processes": "--n-procs", "shrink_factor": "--shrink-factor"}
    recipe = Recipe(tmp_path, tmp_path / "out", N4Settings(), names=names)
    with connect(Workers(processes=2), tmp_path / "scratch") as client:
        groups = list(zip(sources, beside, strict=True))
        listed = TaskList(client, recipe, groups, shared_workers=shared)
        outcomes = {outcome.source: outcome for outcome in listed.run()}
    found = [outcomes[source.path] for source in sources]
    assert [outcomes[source.path].state for source in beside] == [one.state for one in found]
    assert [outcome.state for outcome in found] == ["corrected"] * 10 + ["failed"] * 2
    killer, crash = found[-2:]
    assert killer.worker_died
    assert "run fewer images at a time (--n-procs)" in killer.reason
    assert "allow more memory (memory_gb), or set --shrink-factor 2" in killer.reason
    assert crash.reason == "RuntimeError: two lines"
    assert not crash.worker_died
    tries = [line.split() for line in (tmp_path / "tries").read_text().splitlines()]
    waited = [stem for stem, wait in tries if wait == "True"]
    busy, suspect = sources[0].stem, sources[-2].stem
    # A finished task may run again if its worker dies before Dask has forgotten the result.
    assert list(dict.fromkeys(waited)) == ([busy, suspect] if shared else [busy])
    assert waited.count(suspect) == (TRIES if shared else 0)
    assert [stem for stem, _ in tries].count(suspect) == TRIES * (2 if shared else 1)


def test_a_result_that_is_lost_with_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "correct_sources", correct_by_name(tmp_path))
    sources = [Source.of(f"sub-1/anat/sub-1_run-{number}_T1w.nii.gz") for number in range(3)]
    recipe = Recipe(tmp_path, tmp_path / "out", N4Settings())
    with connect(Workers(), tmp_path / "scratch") as client:
        outcomes = TaskList(client, recipe, [(one,) for one in sources], shared_workers=False).run()
        first = next(outcomes)

        def count(status: str) -> int:
            return [state.status for state in client.futures.values()].count(status)

        assert wait_until(lambda: count("finished") == len(sources))
        (worker,) = client.run(os.getpid).values()
        os.kill(worker, signal.SIGKILL)
        assert wait_until(lambda: count("lost") >= len(sources) - 1)
        assert {outcome.state for outcome in (first, *outcomes)} == {"corrected"}


def test_closing_cancels_the_other_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "correct_sources", correct_by_name(tmp_path))
    sources = [Source.of(f"sub-1/anat/sub-1_run-{number}_T1w.nii.gz") for number in range(300)]
    recipe = Recipe(tmp_path, tmp_path / "out", N4Settings())
    with connect(Workers(), tmp_path / "scratch") as client:
        outcomes = TaskList(client, recipe, [(one,) for one in sources], shared_workers=False).run()
        assert next(outcomes).state == "corrected"
        outcomes.close()
        client.submit(int).result(timeout=30)  # the worker is free again
    assert len((tmp_path / "tries").read_text().splitlines()) < len(sources)
