"""Progress of many images on standard error: a live line on a terminal, a line a minute elsewhere.

The live line needs rich, which comes with the extra ``progress``.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Protocol

from n4ax.cli.progress import is_live, open_line
from n4ax.messages import make_one_line
from n4ax.pools import start_thread

SECONDS_BETWEEN_LINES = 60.0
"""How often a line is printed where there is no terminal."""

_WINDOW = 600.0
"""The rate is that of the last ten minutes, since images that are there already take no time."""

_FEW = 5
"""With fewer images than this in ten minutes, the rate is that of the whole run."""


class Outcome(Protocol):
    """What became of an image of a dataset or of a list."""

    @property
    def source(self) -> str:
        """The image."""
        ...

    @property
    def state(self) -> str:
        """Whether it was corrected, was unchanged or failed."""
        ...

    @property
    def reason(self) -> str:
        """Why it failed."""
        ...


class Display(Protocol):
    """Where the progress of images is shown."""

    def __call__(self, outcome: Outcome) -> None:
        """Show what became of an image."""
        ...

    def say(self, text: str) -> None:
        """Show what is going on while no image finishes."""
        ...


@contextmanager
def show_images(count: int, quiet: bool, first: str = "") -> Iterator[Display | None]:
    """Show how many images are done, at what rate, and the time left.

    On a terminal this is a live line. Elsewhere a line is printed at the start, every minute, for
    each failure, and at the end.

    Parameters
    ----------
    count
        The number of images.
    quiet
        Show nothing.
    first
        What is going on until the first image is done; if it is empty, no line is printed at the
        start.

    Yields
    ------
    Display or None
        A function to call with the outcome of each image; ``None`` if nothing is shown.
    """
    if quiet:
        yield None
    elif is_live(quiet):
        with _show_line(count, first or "starting") as display:
            yield display
    else:
        log = Log(Pace(count), first)
        with _print_regularly(log):
            yield log


class Pace:
    """The number of images that are done, how many of them failed, the rate, and the time left.

    Parameters
    ----------
    count
        The number of images.
    clock
        A clock in seconds.
    """

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.count, self.done, self.failed, self.corrected = count, 0, 0, 0
        self._clock = clock
        self._start = clock()
        self._recent: deque[float] = deque()

    def add(self, outcome: Outcome) -> None:
        """Count one more image."""
        self.done += 1
        self.failed += outcome.state == "failed"
        self.corrected += outcome.state == "corrected"
        self._recent.append(self._clock())

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return max(self._clock() - self._start, 1e-9)

    def find_rate(self) -> float:
        """Images in a second, lately."""
        now = self._clock()
        while self._recent and self._recent[0] <= now - _WINDOW:
            self._recent.popleft()
        if len(self._recent) < _FEW:
            return self.done / self.seconds
        return len(self._recent) / min(_WINDOW, self.seconds)


class Log:
    """Progress as lines, which are printed when :meth:`tell` is called.

    Parameters
    ----------
    pace
        Counts the images.
    first
        What is going on until the first image is done.
    now
        Gives the time of day.
    """

    def __init__(self, pace: Pace, first: str, now: Callable[[], datetime] = datetime.now) -> None:
        self._pace, self._now = pace, now
        self._first = self._state = first
        self._lock = Lock()
        if first:
            images = "1 image" if pace.count == 1 else f"{pace.count} images"
            _print(f"{images}: {first}")

    @property
    def has_begun(self) -> bool:
        """Whether there is a line at the start, or an image is done."""
        return bool(self._first or self._pace.done)

    def __call__(self, outcome: Outcome) -> None:
        """Count an image; a failure is told at once."""
        with self._lock:
            self._pace.add(outcome)
            self._state = ""
            if outcome.state == "failed":
                _print(f"{outcome.source} failed: {outcome.reason}")

    def say(self, text: str) -> None:
        """Print what is going on, unless that has been printed."""
        with self._lock:
            if text != self._state:
                self._state = text
                _print(text)

    def tell(self) -> None:
        """Print what is done and what is left."""
        with self._lock:
            parts = [self._count()]
            rate = self._pace.find_rate()
            if rate:
                left = timedelta(seconds=round((self._pace.count - self._pace.done) / rate))
                parts += [_describe_rate(rate), f"{left} left, until about {self._add(left)}"]
            if self._state:
                parts.append(self._state)
            _print(" · ".join(parts))

    def end(self) -> None:
        """Print what has been done."""
        with self._lock:
            seconds = self._pace.seconds
            rate = [_describe_rate(self._pace.done / seconds)] if self._pace.corrected else []
            took = timedelta(seconds=round(seconds))
            _print(" · ".join([self._count(), *rate, f"took {took}"]))

    def _count(self) -> str:
        pace = self._pace
        failed = f", {pace.failed} failed" if pace.failed else ""
        return f"{pace.done} of {pace.count} done{failed}"

    def _add(self, left: timedelta) -> str:
        """The time of day after so much time, with the date if that is not today."""
        now = self._now()
        then = now + left
        return then.strftime("%H:%M" if then.date() == now.date() else "%Y-%m-%d %H:%M")


def _print(text: str) -> None:
    print(f"n4ax: {make_one_line(text)}", file=sys.stderr, flush=True)


def _describe_rate(rate: float) -> str:
    minute = 60 * rate
    return f"{minute:.0f} a minute" if minute >= 2 else f"{60 * minute:.0f} an hour"


@contextmanager
def _print_regularly(log: Log) -> Iterator[None]:
    """Print a line every minute, and one at the end."""
    finished = Event()

    def print_lines() -> None:
        while not finished.wait(SECONDS_BETWEEN_LINES):
            log.tell()

    thread = start_thread(print_lines)
    try:
        yield
    finally:
        finished.set()
        thread.join(1)
        if log.has_begun:
            log.end()


@contextmanager
def _show_line(count: int, first: str) -> Iterator[Display]:
    """A live line, which is wiped at the end."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    line = open_line(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    pace = Pace(count)

    class Line:
        def __call__(self, outcome: Outcome) -> None:
            pace.add(outcome)
            rate, failed = pace.find_rate(), f" · {pace.failed} failed" if pace.failed else ""
            left = timedelta(seconds=round((count - pace.done) / rate))
            state = f"{_describe_rate(rate)} · {left} left{failed}"
            line.update(task, completed=pace.done, state=state)

        def say(self, text: str) -> None:
            line.update(task, state=text)

    with line:
        task = line.add_task("", total=count, state=first or "starting")
        yield Line()
