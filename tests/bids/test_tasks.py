"""Images as tasks: which are tried again, when, and how often."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from n4ax.bids import tasks as module
from n4ax.bids.image import Outcome
from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.bids.tasks import TaskList
from n4ax.bids.workers.connection import connect
from n4ax.bids.workers.description import Workers
from n4ax.settings import N4Settings
from tests.bids.runs import make_small_study
from tests.bids.worker_tasks import wait_until


def correct_by_name(folder: Path) -> Callable[..., list[Outcome]]:
    """A stand-in for the correction: the first image's name says what becomes of a task.

    It is sent to the workers by value, because they cannot import this file.
    """

    def correct(_recipe: object, sources: tuple[Source, ...], *, wait: bool) -> list[Outcome]:
        import os
        import signal
        import time

        from n4ax.bids.image import Outcome

        source = sources[0]
        with (folder / "tries").open("a") as file:
            file.write(f"{source.stem} {wait}\n")
        if "killer" in source.stem:
            os.kill(os.getpid(), signal.SIGKILL)
        if "large" in source.stem:
            ballast = b"1" * 650_000_000
            time.sleep(2)  # a worker's memory is looked at ten times a second
            del ballast
        if "crash" in source.stem:
            raise RuntimeError("two\nlines")
        busy = "busy" in source.stem and not wait
        state = "busy" if busy else "corrected"
        return [Outcome(one.path, one.participant, state) for one in sources]

    return correct


def read_tries(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "tries").read_text().splitlines()
    return [(stem, wait) for stem, wait in map(str.split, lines)]


def test_images_that_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "correct_sources", correct_by_name(tmp_path))
    monkeypatch.setattr(module, "_AHEAD", 3)
    words = ["busy", *(f"good{number}" for number in range(9)), "killer", "crash", "killer2"]
    sources = [Source.of(f"sub-1/anat/sub-1_acq-{word}_T1w.nii.gz") for word in words]
    beside = [Source.of(f"sub-1/anat/sub-1_acq-{word}_T2w.nii.gz") for word in words]
    make_small_study(tmp_path, sources[10].path)
    recipe = Recipe(tmp_path, tmp_path / "out", N4Settings(), names={"memory_gb": "--memory-gb"})
    with connect(Workers(processes=2), tmp_path / "scratch") as client:
        listed = TaskList(client, recipe, list(zip(sources, beside, strict=True)))
        outcomes = {outcome.source: outcome for outcome in listed.run()}
        assert len(client.scheduler_info()["workers"]) <= 1  # the last one may be starting again
    found = [outcomes[source.path] for source in sources]
    assert [outcomes[source.path].state for source in beside] == [one.state for one in found]
    assert [outcome.state for outcome in found] == ["corrected"] * 10 + ["failed"] * 3
    killer, crash, other = found[-3:]
    assert killer.worker_died
    assert other.worker_died
    assert "its worker died twice, the second time when this image was alone" in killer.reason
    assert "the image needs about 0.4 GB, so allow more memory (--memory-gb) or" in killer.reason
    assert "the image needs more than there is" in other.reason  # it has no header
    assert crash.reason == "RuntimeError: two lines"
    assert not crash.worker_died
    tries = read_tries(tmp_path)
    waited = [stem for stem, wait in tries if wait == "True"]
    busy, first, last = (sources[number].stem for number in (0, 10, 12))
    # A finished task may run again if its worker dies before Dask has forgotten the result.
    assert waited[0] == busy
    assert sorted(waited[-2:]) == sorted([first, last])
    stems = [stem for stem, _ in tries]
    assert stems.count(first) == stems.count(last) == 2


@pytest.mark.slow
def test_an_image_that_fits_only_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes more than half of the memory, which is what each of two processes has."""
    monkeypatch.setattr(module, "correct_sources", correct_by_name(tmp_path))
    words = ["large", *(f"good{number}" for number in range(4))]
    sources = [Source.of(f"sub-1/anat/sub-1_acq-{word}_T1w.nii.gz") for word in words]
    recipe = Recipe(tmp_path, tmp_path / "out", N4Settings())
    workers = Workers(processes=2, memory_gb=1.2)
    with connect(workers, tmp_path / "scratch") as client:
        listed = TaskList(client, recipe, [(source,) for source in sources])
        outcomes = {outcome.source: outcome.state for outcome in listed.run()}
    assert outcomes.pop(sources[0].path) == "corrected"
    assert set(outcomes.values()) == {"corrected"}
    assert [stem for stem, _ in read_tries(tmp_path)].count(sources[0].stem) == 2


def test_a_result_that_is_lost_with_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "correct_sources", correct_by_name(tmp_path))
    sources = [Source.of(f"sub-1/anat/sub-1_run-{number}_T1w.nii.gz") for number in range(3)]
    recipe = Recipe(tmp_path, tmp_path / "out", N4Settings())
    with connect(Workers(), tmp_path / "scratch") as client:
        outcomes = TaskList(client, recipe, [(one,) for one in sources]).run()
        first = next(outcomes)

        def count(status: str) -> int:
            return [state.status for state in client.futures.values()].count(status)

        assert wait_until(lambda: count("finished") == len(sources) - 1)  # the first was released
        (worker,) = client.run(os.getpid).values()
        os.kill(worker, signal.SIGKILL)
        # A new worker may have done them again before anyone has seen that they were lost.
        again = len(sources) + len(sources) - 1
        assert wait_until(
            lambda: count("lost") == len(sources) - 1 or len(read_tries(tmp_path)) >= again
        )
        assert {outcome.state for outcome in (first, *outcomes)} == {"corrected"}


def test_closing_cancels_the_other_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "correct_sources", correct_by_name(tmp_path))
    sources = [Source.of(f"sub-1/anat/sub-1_run-{number}_T1w.nii.gz") for number in range(300)]
    recipe = Recipe(tmp_path, tmp_path / "out", N4Settings())
    with connect(Workers(), tmp_path / "scratch") as client:
        outcomes = TaskList(client, recipe, [(one,) for one in sources]).run()
        assert next(outcomes).state == "corrected"
        outcomes.close()
        client.submit(int).result(timeout=30)  # the worker is free again
    assert len((tmp_path / "tries").read_text().splitlines()) < len(sources)
