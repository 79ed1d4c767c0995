"""Progress of many images: a line a minute in logs, a live line on a terminal."""

import re
import time
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from n4ax.cli import image_progress as module
from n4ax.cli.image_progress import Log, Pace, show_images


class Clock:
    """A clock that is set by hand."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def make_outcome(state: str = "corrected", reason: str = "") -> Any:
    return SimpleNamespace(source="sub-1_T1w.nii.gz", state=state, reason=reason)


def make_log(count: int, clock: Clock) -> Log:
    return Log(Pace(count, clock), "starting 2 workers", lambda: datetime(2026, 11, 27, 10, 0))


def test_lines_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    log = make_log(100, clock)
    log.tell()
    for _ in range(9):
        clock.seconds += 30
        log(make_outcome())
    clock.seconds += 30
    log(make_outcome("failed", "no\nmask"))
    log.tell()
    clock.seconds += 60
    log.end()
    assert capsys.readouterr().err.splitlines() == [
        "n4ax: 100 images: starting 2 workers",
        "n4ax: 0 of 100 done · starting 2 workers",
        "n4ax: sub-1_T1w.nii.gz failed: no mask",
        "n4ax: 10 of 100 done, 1 failed · 2 a minute · 0:45:00 left, until about 10:45",
        "n4ax: 10 of 100 done, 1 failed · 100 an hour · took 0:06:00",
    ]


def test_the_rate_is_that_of_the_last_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    """A study that goes on passes over what it has at once, which says nothing of the others."""
    clock = Clock()
    log = make_log(2000, clock)
    for _ in range(1000):
        log(make_outcome("unchanged"))
    for _ in range(100):
        clock.seconds += 60
        log(make_outcome())
    log.tell()
    assert capsys.readouterr().err.splitlines()[-1] == (
        "n4ax: 1100 of 2000 done · 60 an hour · 15:00:00 left, until about 2026-11-28 01:00"
    )


def test_slow_images_are_counted_by_the_hour(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    log = make_log(4, clock)
    clock.seconds += 3600
    log(make_outcome())
    log.tell()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "n4ax: 1 of 4 done · 1 an hour · 3:00:00 left, until about 13:00"


def test_what_is_going_on_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    log = make_log(1, Clock())
    log.say("starting 2 workers")
    log.say("the first images are on their way")
    log.say("the first images are on their way")
    assert capsys.readouterr().err.splitlines() == [
        "n4ax: 1 image: starting 2 workers", "n4ax: the first images are on their way"
    ]  # fmt: skip


def test_a_short_study_prints_its_start_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with show_images(2, quiet=False, first="starting 1 worker") as show:
        assert show is not None
        show(make_outcome())
        show(make_outcome("unchanged"))
    start, end = capsys.readouterr().err.splitlines()
    assert start == "n4ax: 2 images: starting 1 worker"
    assert re.fullmatch(r"n4ax: 2 of 2 done · \d+ a minute · took 0:00:00", end)


def test_lines_come_while_no_image_finishes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.05)
    with show_images(2, quiet=False, first="waiting for the first job of the queue"):
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("n4ax: 0 of 2 done · waiting for the first job of the queue") > 1
    assert lines[-1].startswith("n4ax: 0 of 2 done · ")


def test_nothing_is_shown_when_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with show_images(2, quiet=True) as show:
        assert show is None
    assert capsys.readouterr().err == ""


def test_a_live_line_says_what_is_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rich = pytest.importorskip("rich.progress")
    shown: list[dict[str, Any]] = []

    def record(_line: object, _task: object, **fields: Any) -> None:
        shown.append(fields)

    monkeypatch.setattr(module, "is_live", lambda _quiet: True)
    monkeypatch.setattr(rich.Progress, "update", record)
    with show_images(4, quiet=False, first="starting 2 workers") as show:
        assert show is not None
        show.say("the first images are on their way")
        show(make_outcome("failed", "no mask"))
    assert shown[0] == {"state": "the first images are on their way"}
    assert shown[1]["completed"] == 1
    assert shown[1]["state"].endswith(" left · 1 failed")
