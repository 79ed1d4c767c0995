"""How far it is: a live line on a terminal, plain lines or nothing elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from n4ax.settings import N4Settings

if TYPE_CHECKING:
    from n4ax.bids.image import Outcome


@contextmanager
def iterations_shown(
    name: str, settings: N4Settings, quiet: bool
) -> Iterator[Callable[[int, int, int, float], None] | None]:
    """A live line on a terminal; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        # File names may have brackets, which are not to be taken for markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    levels = len(settings.iters)
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(name, total=sum(settings.iters), state="")

        def watch(level: int, iteration: int, limit: int, measure: float) -> None:
            done = sum(settings.iters[:level]) + iteration
            state = f"level {level + 1} of {levels}  {iteration:3d}/{limit}  {measure:.6f}"
            display.update(task, completed=done, state=state)

        yield watch


@contextmanager
def show_images(count: int, quiet: bool) -> "Iterator[Callable[[Outcome], None] | None]":
    """A bar with rate and time left on a terminal; elsewhere a line for each image."""
    if quiet:
        yield None
        return
    pace = _Pace(count)
    if not sys.stderr.isatty():
        width = len(str(count))

        def line(outcome: "Outcome") -> None:
            number, state = pace.next(outcome), outcome.state
            what = f"{state}: {outcome.reason}" if outcome.reason else state
            print(f"[{number:{width}d}/{count}] {outcome.source} {what} · {pace}", file=sys.stderr)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("", total=count, state="starting")

        def step(outcome: "Outcome") -> None:
            number = pace.next(outcome)
            display.update(task, completed=number, state=str(pace))

        yield step


@contextmanager
def pages_shown(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as display:
        task = display.add_task("Reports")
        yield lambda done, total: display.update(task, completed=done, total=total)


class _Pace:
    """How many images a minute, how many failed, and the time left."""

    def __init__(self, count: int) -> None:
        self._count, self._done, self._failed = count, 0, 0
        self._start = time.perf_counter()

    def next(self, outcome: "Outcome") -> int:
        """Count one more."""
        self._done += 1
        self._failed += outcome.state == "failed"
        return self._done

    def __str__(self) -> str:
        seconds = max(time.perf_counter() - self._start, 1e-9)
        left = timedelta(seconds=round(seconds / self._done * (self._count - self._done)))
        failed = f" · {self._failed} failed" if self._failed else ""
        return f"{60 * self._done / seconds:.0f} a minute · {left} left{failed}"
