"""Correct all images of a dataset on all workers, and write the logs and the reports."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from n4ax.bids.citation import write_folder_citation
from n4ax.bids.image import Outcome
from n4ax.bids.inputs import Source
from n4ax.bids.journal import Journal
from n4ax.bids.recipe import Recipe
from n4ax.bids.tasks import Group, SchedulerGoneError, TaskList
from n4ax.errors import InputError
from n4ax.files import DISK_FULL
from n4ax.report.group_tables import list_tables
from n4ax.report.pages import find_neighbours, remove_empty, write_group, write_participant
from n4ax.report.records import NothingToReportError, find_labels, natural_key


@dataclass
class Tally:
    """What became of the images of a study.

    Attributes
    ----------
    states
        The number of images that were corrected, that were unchanged and that failed.
    failures
        The outcomes of the images that failed.
    notes
        What the user should know about images that were corrected.
    remarks
        What is suspicious about corrections: the kind, the image and the text.
    problems
        Logs, pictures and reports that could not be written, and why.
    stopped
        Why not all images were tried; empty if all were.
    disk_full
        Whether the study was stopped because there was no space left.
    """

    states: Counter[str] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[tuple[str, str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stopped: str = ""
    disk_full: bool = False

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.states[outcome.state] += 1
        self.notes += [f"{outcome.source}: {note}" for note in outcome.notes]
        self.remarks += [(code, outcome.source, text) for code, text in outcome.remarks.items()]
        if outcome.problem:
            self.add_problem(f"{outcome.source}: {outcome.problem}")
        if outcome.state == "failed":
            self.failures.append(outcome)
        if outcome.disk_full:
            self.stop_for_space(outcome.reason)

    @property
    def all_is_well(self) -> bool:
        """Whether all images were corrected, and all logs and reports were written."""
        return not (self.failures or self.problems or self.stopped)

    @property
    def did_nothing(self) -> bool:
        """Whether all images were left as they were."""
        return not (self.states["corrected"] or self.failures or self.stopped)

    def add_problem(self, problem: str) -> None:
        """Remember a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def stop_for_space(self, reason: str) -> None:
        """Stop the study because there is no space left."""
        self.disk_full = True
        self.stopped = f"{reason}: make space and run the same command again"


def correct_study(
    client: Client,
    recipe: Recipe,
    groups: Sequence[Group],
    *,
    refused: Mapping[str, str] | None = None,
    stop_at_failure: bool = False,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Tally:
    """Correct images on the workers of ``client``, and write logs, reports and the errors.

    Parameters
    ----------
    client
        Client of workers that can read the dataset and write to the output.
    recipe
        How to correct the images.
    groups
        The images, those together that are to share a field.
    refused
        The reasons why some of the images cannot be corrected, by path. Each of these is by itself.
    stop_at_failure
        Whether to stop after the first failure. A full disk always stops a study.
    on_outcome
        Called with the outcome of each image, in the order in which they finish.

    Returns
    -------
    Tally
        What became of the images. A log or a report that cannot be written does not end the run.
    """
    tally = Tally()
    try:
        sources = [source for group in groups for source in group]
        records = _Records(client, recipe, sources, tally)
        tasks = _run_tasks(client, recipe, groups, refused or {})
        with closing(tasks) as outcomes:
            for outcome in outcomes:
                tally.add(outcome)
                if on_outcome is not None:
                    on_outcome(outcome)
                if outcome.state == "failed" and stop_at_failure:
                    tally.stopped = tally.stopped or f"{outcome.source} failed"
                records.add(outcome)
                if tally.stopped:
                    break
        records.finish()
    except SchedulerGoneError as error:
        tally.stopped = f"{error}: run the same command again"
    except _NoSpaceError as error:
        tally.stop_for_space(str(error))
    return tally


def report_study(output: Path) -> list[Path]:
    """Write the report of the group.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    ValueError
        The folder does not exist, or there is nothing to report.
    OSError
        The report cannot be written.
    """
    if not output.is_dir():
        raise InputError("{output} {0} does not exist: run n4ax bids ... participant first", output)
    page = write_group(output)
    remove_empty(output)
    citation = write_folder_citation(output)
    return [page, *list_tables(output), *([] if citation is None else [citation])]


def _run_tasks(
    client: Client,
    recipe: Recipe,
    groups: Sequence[Group],
    refused: Mapping[str, str],
) -> Generator[Outcome, None, None]:
    """Give the outcomes of the refused images, then those of all others as they finish."""
    for group in groups:
        for source in group:
            if source.path in refused:
                yield Outcome(source.path, source.participant, "failed", refused[source.path])
    accepted = [group for group in groups if group[0].path not in refused]
    yield from TaskList(client, recipe, accepted).run()


class _NoSpaceError(Exception):
    """There is no space left for logs."""


class _Records:
    """What is written about the images while a study runs: the journal and the reports."""

    def __init__(
        self, client: Client, recipe: Recipe, sources: Sequence[Source], tally: Tally
    ) -> None:
        self._tally = tally
        self._journal = Journal(recipe.dataset, recipe.output)
        self._unfinished = Counter(source.participant for source in sources)
        self._outdated: set[str] = set()
        """Participants whose pages have to be written again."""
        self._write_errors()
        self._pages = _Pages(client, recipe.output, sources)

    def add(self, outcome: Outcome) -> None:
        """Log an outcome, and write the page of a participant whose images are all finished."""
        with self._go_on_after_errors():
            self._journal.add(outcome)
        label = outcome.participant
        self._unfinished[label] -= 1
        self._outdated.add(label)
        if not self._unfinished[label] and not self._tally.stopped:
            self._outdated.discard(label)
            self._write_errors()
            self._pages.write(label)

    def finish(self) -> None:
        """Write the errors and the remaining pages, unless there is no space left for pages."""
        self._write_errors()
        if self._tally.disk_full:
            return
        for label in sorted(self._outdated):
            self._pages.write(label)
        for problem in self._pages.wait_for_problems():
            self._tally.add_problem(problem)

    def _write_errors(self) -> None:
        with self._go_on_after_errors():
            self._outdated |= self._journal.write_errors()

    @contextmanager
    def _go_on_after_errors(self) -> Iterator[None]:
        """Remember that a log could not be written; only a full disk ends the run."""
        try:
            yield
        except OSError as error:
            problem = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            if error.errno in DISK_FULL:
                raise _NoSpaceError(problem) from error
            self._tally.add_problem(problem)


class _Pages:
    """The participants' pages, which the workers write when they have nothing else to do."""

    def __init__(self, client: Client, output: Path, sources: Sequence[Source]) -> None:
        participants = {source.participant for source in sources}
        with suppress(NothingToReportError):
            participants |= set(find_labels(output))
        self._client, self._output = client, output
        self._participants = sorted(participants, key=natural_key)
        self._futures: dict[str, Future] = {}

    def write(self, label: str) -> None:
        """Let a worker write the page of a participant."""
        beside = find_neighbours(label, self._participants)
        self._futures[label] = self._client.submit(
            _write_page, self._output, label, beside, pure=False, priority=-1
        )

    def wait_for_problems(self) -> list[str]:
        """Wait for all pages, and say which of them could not be written, and why.

        A page whose worker died is written once more.
        """
        for label, page in list(self._futures.items()):
            if isinstance(page.exception(), KilledWorker):
                self.write(label)
        problems = [_read_problem(label, page) for label, page in self._futures.items()]
        return [problem for problem in problems if problem]


def _write_page(output: Path, label: str, beside: tuple[str | None, str | None]) -> str:
    """Write the page of a participant; return why that failed, or an empty text."""
    try:
        write_participant(output, label, beside)
    except NothingToReportError:  # the images that failed no longer exist
        return ""
    except (OSError, ValueError) as error:
        return f"the report of sub-{label} could not be written: {error}"
    return ""


def _read_problem(label: str, page: Future) -> str:
    """Why a page could not be written, or an empty text."""
    try:
        return page.result()
    except Exception as error:  # such as that its worker died
        return f"the report of sub-{label} could not be written: {type(error).__name__}: {error}"
