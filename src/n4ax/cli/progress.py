"""Progress on standard error: a live line on a terminal, plain lines or nothing elsewhere.

The live line needs rich, which comes with the extra ``progress``.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from n4ax.settings import N4Settings

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


_SECONDS_WITHOUT_LINE = 1.0
"""What takes less than this needs no live line."""
_LONGEST_NAME = 24
"""Letters of a name that fit beside the bar in 80 columns."""


@contextmanager
def show_iterations(
    name: str, settings: N4Settings, quiet: bool, engine: str | None = None
) -> Iterator[Callable[[int, int, int, float], None] | None]:
    """Show the iterations of one image on a live line of at most 80 columns.

    Parameters
    ----------
    name
        The name of the image.
    settings
        The settings of the correction, for the number of iterations.
    quiet
        Show nothing.
    engine
        The engine that was asked for. JAX's programs may have to be compiled first.

    Yields
    ------
    callable or None
        The ``progress`` callback for :func:`n4ax.fit`; ``None`` when there is no terminal to show
        it on.
    """
    if not is_live(quiet):
        yield None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    # Text is no markup: file names may have brackets.
    line = open_line(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=8),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    levels, total = len(settings.iters), sum(settings.iters)
    first = "choosing settings" if settings.adapt else "starting"
    first = "JAX loads or compiles its program" if engine == "xla" else first
    with line:
        task = line.add_task(_shorten(name), total=total, state=first)

        def progress(level: int, iteration: int, limit: int, measure: float) -> None:
            # How many levels there will be is not known while settings are chosen.
            done = (level * limit if settings.adapt else sum(settings.iters[:level])) + iteration
            of = "" if settings.adapt else f"/{levels}"
            state = f"level {level + 1}{of}, iteration {iteration}/{limit}, {measure:.1e}"
            line.update(task, completed=done, state=state)

        def notice(text: str) -> None:
            if text.startswith("compiling"):
                line.update(task, state=text)
            else:
                line.console.print(text, markup=False)

        with _pass_notices(notice):
            yield progress


def _shorten(name: str) -> str:
    """A name without its middle, if it is too long for the line."""
    room = _LONGEST_NAME - 1
    return name if len(name) <= _LONGEST_NAME else f"{name[: room // 2]}…{name[-room // 2 :]}"


@contextmanager
def _pass_notices(show: Callable[[str], None]) -> Iterator[None]:
    """Pass on what n4ax logs, such as that it compiles its kernels, which would cut the line."""

    class Passing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            show(record.getMessage().removeprefix("n4ax: "))

    handler, logger = Passing(), logging.getLogger("n4ax")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


@contextmanager
def show_pages(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show how many pages of a report are written, on a live line.

    Yields
    ------
    callable or None
        A function to call with the number of pages written and the number of all pages; ``None``
        when there is no terminal to show them on.
    """
    if not is_live(quiet):
        yield None
        return
    with open_line() as line:
        task = line.add_task("Reports")
        yield lambda done, total: line.update(task, completed=done, total=total)


@contextmanager
def show_checks(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show how many images are checked, on a live line that appears when it takes long.

    Yields
    ------
    callable or None
        A function to call with the number of images checked and the number of all images; ``None``
        when there is no terminal to show them on.
    """
    if not is_live(quiet):
        yield None
        return
    start = time.perf_counter()
    line = open_line()
    task = line.add_task("Checking images and masks")

    def progress(done: int, total: int) -> None:
        if not line.live.is_started and time.perf_counter() - start > _SECONDS_WITHOUT_LINE:
            line.start()
        line.update(task, completed=done, total=total)

    try:
        yield progress
    finally:
        if line.live.is_started:
            line.stop()


def is_live(quiet: bool) -> bool:
    """Whether there is a terminal for a live line."""
    return not quiet and sys.stderr.isatty() and find_spec("rich") is not None


def open_line(*columns: "ProgressColumn") -> "Progress":
    """A live line on standard error, which is wiped at the end."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)
