"""All images of a dataset, over all workers: what became of them, told, logged and reported."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker
from filelock import FileLock

from n4ax.bids.correction import Job, Outcome, correct_source
from n4ax.bids.inputs import Source
from n4ax.bids.outputs import ERRORS, FULL, PRIVATE, as_json, write_text
from n4ax.report.pages import write_group, write_participant

_AHEAD = 1000
"""Images that the scheduler knows of beyond those that are finished."""


@dataclass
class Tally:
    """What became of the images of a study.

    Attributes
    ----------
    states
        How many were corrected, unchanged and failed.
    failures
        The outcomes that failed.
    stopped
        Why not all were tried; empty if they were.
    """

    states: Counter[str] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)
    stopped: str = ""

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.states[outcome.state] += 1
        if outcome.state == "failed":
            self.failures.append(outcome)


def correct_study(
    client: Client,
    job: Job,
    sources: Sequence[Source],
    *,
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
    stop_at_failure
        Try no more after the first that fails. A full disk always ends a study.
    watch
        Called with what became of each, in the order in which they finish.

    Raises
    ------
    OSError
        Logs, reports or errors cannot be written.
    """
    tally = Tally()
    left = Counter(source.entities["sub"] for source in sources)
    people = sorted(left)
    due: set[str] = set()
    pages: list[Future] = []
    for outcome in _outcomes(client, job, sources):
        tally.add(outcome)
        full = _log(job.output, outcome)
        if watch is not None:
            watch(outcome)
        label = outcome.participant
        left[label] -= 1
        if outcome.state != "unchanged" or not (job.output / f"sub-{label}.html").exists():
            due.add(label)
        tally.stopped = full or _reason_to_stop(outcome, stop_at_failure)
        if tally.stopped:
            break
        if label in due and not left[label]:
            beside = _neighbours(label, people)
            pages.append(client.submit(_page, job.output, label, beside, pure=False, priority=-1))
    _write_errors(job.output)
    client.gather(pages, errors="skip" if tally.stopped else "raise")
    return tally


def report_study(output: Path) -> None:
    """Write the report of the group.

    Raises
    ------
    ValueError
        There is nothing to report.
    OSError
        It cannot be written.
    """
    with FileLock(output / PRIVATE / "group.lock"):
        write_group(output)


def _outcomes(client: Client, job: Job, sources: Iterable[Source]) -> Iterator[Outcome]:
    """What becomes of each, as they finish; not too many are waiting at a time.

    Those that another run works on are left for the end, and those of which workers died are
    tried once more then, alone: it may have been their neighbour in the worker.
    """
    waiting = iter(sources)
    busy: list[Source] = []
    killed: list[Source] = []
    queue: Any = as_completed()
    running: dict[Any, Source] = {}
    last = False

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
            elif _has_killed(future) and not last:
                killed.append(source)
            else:
                yield outcome
            submit(islice(waiting, 1), wait=False)
            if not running and busy:
                submit(busy, wait=True)
                busy.clear()
            elif not running and killed:
                last = True
                submit([killed.pop()], wait=True)
    finally:
        client.cancel([Future(key, client) for key in running])


def _has_killed(future: Future) -> bool:
    """Whether workers have died of a task."""
    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _outcome(future: Future, source: Source) -> Outcome:
    """What a task came to, its worker's death included."""
    if future.status == "finished":
        return future.result()
    if _has_killed(future):
        reason = (
            "the worker died on it each time, most likely out of memory: run fewer images at once "
            "(--n-procs), give --mem more, or give --shrink 2"
        )
    else:
        error = future.exception() if future.status == "error" else None
        reason = f"{type(error).__name__}: {error}" if error else "the scheduler gave it up"
    return Outcome(source.path, source.entities["sub"], "failed", " ".join(reason.split()))


def _reason_to_stop(outcome: Outcome, stop_at_failure: bool) -> str:
    if outcome.disk_full:
        return _full(outcome.reason)
    if outcome.state == "failed" and stop_at_failure:
        return f"{outcome.source} failed"
    return ""


def _full(reason: str) -> str:
    return f"{reason}: make space and run the same command again"


def _neighbours(label: str, people: list[str]) -> tuple[str | None, str | None]:
    place = people.index(label)
    return (*people[:place], None)[place - 1], (*people[place + 1 :], None)[0]


def _page(output: Path, label: str, neighbours: tuple[str | None, str | None]) -> None:
    """The report of a participant, whose images may all have failed."""
    _write_errors(output)
    write_participant(output, label, neighbours)


def _log(output: Path, outcome: Outcome) -> str:
    """Log an outcome, and record or forget a failure; why not, if the disk is full."""
    try:
        _write_log(output, outcome)
        _record_failure(output, outcome)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return _full(f"{error.filename}: {error.strerror}")
    return ""


def _write_log(output: Path, outcome: Outcome) -> None:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    what = f"{outcome.state}: {outcome.reason}" if outcome.reason else outcome.state
    lines = [f"{now} {outcome.source} {what} ({outcome.seconds:.2f} s)"]
    lines += [f"{now}   {line}" for line in outcome.log]
    path = output / "logs" / f"sub-{outcome.participant}.log"
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _record_failure(output: Path, outcome: Outcome) -> None:
    record = _failures(output) / f"{Path(outcome.source).name}.json"
    if outcome.state != "failed":
        record.unlink(missing_ok=True)
        return
    record.parent.mkdir(parents=True, exist_ok=True)
    failure = {
        "Source": outcome.source, "Subject": outcome.participant, "Reason": outcome.reason
    }  # fmt: skip
    write_text(record, as_json(failure))


def _write_errors(output: Path) -> None:
    """What failed in this run and in others into the same output, and has not succeeded since."""
    private = output / PRIVATE
    private.mkdir(exist_ok=True)
    with FileLock(private / "errors.lock"):
        failures = []
        for path in sorted(_failures(output).glob("*.json")):
            try:
                failures.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):  # taken away by another run meanwhile
                continue
        write_text(output / ERRORS, as_json({"Errors": failures}))


def _failures(output: Path) -> Path:
    return output / PRIVATE / "failed"
