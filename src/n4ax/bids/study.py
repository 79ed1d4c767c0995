"""All images of a dataset, over all workers: corrected, written down, and reported."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker

from n4ax.bids.image import Outcome, Recipe, correct_source
from n4ax.bids.inputs import Source
from n4ax.bids.journal import Journal
from n4ax.bids.outputs import FULL
from n4ax.report.pages import find_neighbours, remove_empty, write_group, write_participant
from n4ax.report.records import NothingToReportError, find_labels, natural_key

_AHEAD = 10_000
"""Images that the scheduler knows of beyond those that are finished."""


class SchedulerGoneError(Exception):
    """Nobody hands out the tasks any more."""


@dataclass
class Tally:
    """What became of the images of a study.

    Attributes
    ----------
    states
        How many were corrected, unchanged and failed.
    failures
        The outcomes that failed.
    notes
        What there is to say of images that went well, and of reports that did not.
    stopped
        Why not all were tried; empty if they were.
    disk_full
        Whether that was for want of space.
    """

    states: Counter[str] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: str = ""
    disk_full: bool = False

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.states[outcome.state] += 1
        self.notes += [f"{outcome.source}: {note}" for note in outcome.notes]
        if outcome.state == "failed":
            self.failures.append(outcome)
        if outcome.disk_full:
            self.fill(outcome.reason)

    def fill(self, reason: str) -> None:
        """Stop since there is no space."""
        self.disk_full = True
        self.stopped = f"{reason}: make space and run the same command again"


def correct_study(
    client: Client,
    job: Recipe,
    sources: Sequence[Source],
    *,
    refused: Mapping[str, str] | None = None,
    shared_workers: bool = False,
    stop_at_failure: bool = False,
    watch: Callable[[Outcome], None] | None = None,
) -> Tally:
    """Correct images on the workers of ``client``, and write logs, reports and the errors.

    Parameters
    ----------
    client
        Whose workers can read the dataset and write the output.
    job, sources
        How, and which.
    refused
        Those of them that cannot be corrected, by path, with the reason.
    shared_workers
        Whether a worker has several images at a time: then those of a worker that died are tried
        once more, alone, since it may have been another's fault.
    stop_at_failure
        Try no more after the first that fails. A full disk always ends a study.
    watch
        Called with what became of each, in the order in which they finish.

    Raises
    ------
    OSError
        Logs, reports or errors cannot be written.
    """
    tally, journal = Tally(), Journal(job)
    try:
        outcomes = _outcomes(client, job, sources, refused or {}, shared_workers)
        pages = _Pages(client, job.output, sources)
        _go_through(outcomes, sources, tally, journal, pages, stop_at_failure, watch)
        journal.write_errors()
    except SchedulerGoneError as error:
        tally.stopped = f"{error}: run the same command again"
    except OSError as error:
        if error.errno not in FULL:
            raise
        tally.fill(f"{error.filename}: {error.strerror}")
    return tally


def _go_through(
    outcomes: Generator[Outcome, None, None],
    sources: Sequence[Source],
    tally: Tally,
    journal: Journal,
    pages: "_Pages",
    stop_at_failure: bool,
    watch: Callable[[Outcome], None] | None,
) -> None:
    """Count, write down and report what becomes of each."""
    left = Counter(source.participant for source in sources)
    journal.write_errors()
    touched = journal.forgotten
    for outcome in outcomes:
        tally.add(outcome)
        if watch is not None:
            watch(outcome)
        journal.add(outcome)
        if outcome.state == "failed" and stop_at_failure:
            tally.stopped = tally.stopped or f"{outcome.source} failed"
        label = outcome.participant
        left[label] -= 1
        touched.add(label)
        if tally.stopped:
            break
        if not left[label]:
            touched.discard(label)
            journal.write_errors()
            pages.write(label)
    outcomes.close()  # those that were not waited for are given up
    if tally.disk_full:
        return
    journal.write_errors()
    for label in sorted(touched):
        pages.write(label)
    tally.notes += pages.problems()


def report_study(output: Path) -> None:
    """Write the report of the group.

    Raises
    ------
    ValueError
        There is nothing to report.
    OSError
        It cannot be written.
    """
    if not output.is_dir():
        raise ValueError(f"OUTPUT_DIR {output} does not exist: run n4ax bids ... participant first")
    write_group(output)
    remove_empty(output)


class _Pages:
    """The pages of the participants, written by the workers when they have nothing else to do."""

    def __init__(self, client: Client, output: Path, sources: Sequence[Source]) -> None:
        people = {source.participant for source in sources}
        with suppress(NothingToReportError):
            people |= set(find_labels(output))
        self._client, self._output = client, output
        self._people = sorted(people, key=natural_key)
        self._futures: list[Future] = []

    def write(self, label: str) -> None:
        """Have the page of a participant written."""
        beside = find_neighbours(label, self._people)
        page = self._client.submit(_page, self._output, label, beside, pure=False, priority=-1)
        self._futures.append(page)

    def problems(self) -> list[str]:
        """Wait for the pages, and say which could not be written, and why."""
        found: Any = self._client.gather(self._futures)
        return [problem for problem in found if problem]


def _page(output: Path, label: str, beside: tuple[str | None, str | None]) -> str:
    """Write the report of a participant; why not, if it cannot be written."""
    try:
        write_participant(output, label, beside)
    except NothingToReportError:  # what failed is there no more
        return ""
    except (OSError, ValueError) as error:
        return f"the report of sub-{label} could not be written: {error}"
    return ""


def _outcomes(
    client: Client,
    job: Recipe,
    sources: Iterable[Source],
    refused: Mapping[str, str],
    shared_workers: bool,
) -> Generator[Outcome, None, None]:
    """What becomes of each, as they finish; not too many are waiting at a time.

    Those that another run works on are left for the end, and so are those that are tried again.
    """
    for source in sources:
        if source.path in refused:
            yield Outcome(source.path, source.participant, "failed", refused[source.path])
    waiting = iter([source for source in sources if source.path not in refused])
    busy: list[Source] = []
    killed: list[Source] = []
    queue: Any = as_completed()
    running: dict[Any, Source] = {}
    again = shared_workers

    def submit(some: Iterable[Source], *, wait: bool) -> None:
        for source in some:
            future = client.submit(correct_source, job, source, wait=wait, pure=False)
            running[future.key] = source
            queue.add(future)

    submit(islice(waiting, _AHEAD), wait=False)
    try:
        for future in queue:
            source = running.pop(future.key)
            outcome = _outcome(future, source)
            if outcome.state == "busy":
                busy.append(source)
            elif outcome.worker_died and again:
                killed.append(source)
            else:
                yield outcome
            submit(islice(waiting, 1), wait=False)
            if not running and busy:
                submit(busy, wait=True)
                busy.clear()
            elif not running and killed:
                again = False
                submit([killed.pop()], wait=True)
    finally:
        with suppress(Exception):  # where the scheduler is gone, so are they
            client.cancel([Future(key, client) for key in running])


def _outcome(future: Future, source: Source) -> Outcome:
    """What a task came to, its worker's death included."""
    if future.status in ("cancelled", "lost"):
        raise SchedulerGoneError("the scheduler of the workers is gone")
    try:
        return future.result()
    except KilledWorker:
        reason = (
            "the worker died on it each time, most likely out of memory: run fewer images at once "
            "(--n-procs), give --mem more, or give --shrink 2"
        )
        return Outcome(source.path, source.participant, "failed", reason, worker_died=True)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(source.path, source.participant, "failed", reason)
