"""The images of a study as tasks: handed to the workers, and tried again where that may help."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker

from n4ax.bids.headers import read_headers
from n4ax.bids.image import Outcome
from n4ax.bids.inputs import Source
from n4ax.bids.need import estimate_need
from n4ax.bids.recipe import Recipe
from n4ax.bids.together import correct_sources
from n4ax.bids.workers.connection import find_problem, leave_one_worker
from n4ax.errors import InputError
from n4ax.messages import make_one_line

_AHEAD = 10_000
"""How many unfinished tasks the scheduler knows of at a time."""

_DIED = (
    "its worker died twice, the second time when this image was alone, most likely for want of "
    "memory: the image needs {0}, so allow more memory ({memory_gb}) or use a machine that has more"
)

_GONE = "the scheduler of the workers has gone"


Group = tuple[Source, ...]
"""The images of a task."""


class SchedulerGoneError(Exception):
    """The scheduler has gone, so that no task will be run any more."""


class TaskList:
    """The images of a study, as tasks of the workers: images that share a field are one task.

    An image that another run is working on is tried again at the end, and then waited for. An image
    whose worker died is tried again after that, alone, in the only worker that is left, which has
    all the memory that there is: most workers die for want of it.

    Parameters
    ----------
    client
        The client of the workers.
    recipe
        How to correct the images.
    groups
        The images, those together that are to share a field.
    """

    def __init__(self, client: Client, recipe: Recipe, groups: Sequence[Group]) -> None:
        self._client = client
        self._recipe = recipe
        self._untried: Iterator[Group] = iter(groups)
        self._busy: list[Group] = []
        self._suspects: list[Group] = []
        """Images that were running in a worker that died."""
        self._are_alone = False
        self._running: dict[Any, Group] = {}
        self._futures: Any = as_completed()

    def run(self) -> Generator[Outcome, None, None]:
        """Give the outcome of each image as it finishes; closing this cancels the other images.

        Raises
        ------
        SchedulerGoneError
            The scheduler has ended.
        """
        self._submit(islice(self._untried, _AHEAD), wait=False)
        try:
            for future in self._futures:
                if future.status == "lost":  # its worker died too early, so Dask runs it again
                    self._futures.add(future)
                    continue
                group = self._running.pop(future.key)
                outcomes = self._read_outcomes(future, group)
                future.release()  # so that it is not run again if its worker leaves now
                if not self._keep_for_later(group, outcomes):
                    yield from outcomes
                self._submit(islice(self._untried, 1), wait=False)
                if not self._running:
                    self._retry()
        finally:
            self._cancel()

    def _submit(self, groups: Iterable[Group], *, wait: bool) -> None:
        for group in groups:
            future = self._client.submit(
                correct_sources, self._recipe, group, wait=wait, pure=False
            )
            self._running[future.key] = group
            self._futures.add(future)

    def _keep_for_later(self, group: Group, outcomes: Sequence[Outcome]) -> bool:
        """Keep images that are to be tried again, and return whether they are."""
        if any(outcome.state == "busy" for outcome in outcomes):
            self._busy.append(group)
            return True
        if not self._are_alone and any(outcome.worker_died for outcome in outcomes):
            self._suspects.append(group)
            return True
        return False

    def _retry(self) -> None:
        """Submit all busy images, or the next suspect alone, now that nothing else is running."""
        if self._busy:
            self._submit(self._busy, wait=True)
            self._busy = []
        elif self._suspects:
            if not self._are_alone:
                self._are_alone = True
                leave_one_worker(self._client)
            self._submit([self._suspects.pop()], wait=True)

    def _read_outcomes(self, future: Future, group: Group) -> list[Outcome]:
        """The outcomes of a task that has ended, even if its worker died."""
        if future.status == "cancelled":
            raise SchedulerGoneError(find_problem(self._client) or _GONE)
        try:
            return future.result()
        except KilledWorker:
            reason, died = self._explain_death(group), True
        except Exception as error:
            reason, died = make_one_line(f"{type(error).__name__}: {error}"), False
        return [
            Outcome(source.path, source.participant, "failed", reason, worker_died=died)
            for source in group
        ]

    def _explain_death(self, group: Group) -> str:
        headers = read_headers(self._recipe.dataset, group)
        need = estimate_need(self._recipe, group, headers)
        needed = f"about {need:.1f} GB" if need else "more than there is"
        return InputError(_DIED, needed).with_options(self._recipe.names)

    def _cancel(self) -> None:
        with suppress(Exception):  # if the scheduler has gone, the tasks have gone with it
            self._client.cancel([Future(key, self._client) for key in self._running])
