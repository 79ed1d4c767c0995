"""Correct all images of a plan, several at a time if that is asked for."""

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from threading import Event

from n4ax import provenance
from n4ax.correction.origin import leave_out
from n4ax.correction.outcome import Outcome
from n4ax.correction.recipe import Recipe, Task
from n4ax.correction.table import Table
from n4ax.correction.work import (
    Correction,
    correct_task,
    correct_together,
    describe_error,
    fail,
    make_stamp,
    write_correction,
)
from n4ax.files import DISK_FULL
from n4ax.method.solver import Progress
from n4ax.pools import ThreadPool
from n4ax.processors import choose_thread_count

OnOutcome = Callable[[Outcome], None]


@dataclass(frozen=True)
class Plan:
    """Images to correct, and how.

    Attributes
    ----------
    recipe
        How they are corrected.
    tasks
        The images.
    table
        What remembers the results.
    jobs
        So many images are corrected at a time. The results do not depend on it.
    left_out
        So many files were named besides, which are masks, weights or results of the others.
    """

    recipe: Recipe
    tasks: Sequence[Task]
    table: Table
    jobs: int = 1
    left_out: int = 0


class _StoppedError(Exception):
    """The work on an image was given up because another one ended the run."""


def run_plan(plan: Plan, on_outcome: OnOutcome) -> None:
    """Correct all images, and tell what became of each as soon as it is known.

    An image that cannot be corrected does not end the run; a full disk does.

    Parameters
    ----------
    plan
        The images.
    on_outcome
        Called with the outcome of each image, in the order in which they finish.

    Raises
    ------
    OSError
        The table cannot be written, or there is no space left.
    """
    plan.table.start(plan.tasks)
    correct = _correct_together if plan.recipe.shared_field else _correct_each
    try:
        with closing(correct(plan)) as outcomes:
            for outcome in outcomes:
                plan.table.add(outcome)
                on_outcome(outcome)
    finally:
        plan.table.write()


def _correct_each(plan: Plan) -> Generator[Outcome, None, None]:
    """Correct images by themselves, several at a time, and give what became of each."""
    stop = Event()

    def watch(*_: float) -> None:
        if stop.is_set():
            raise _StoppedError

    recipe = _share_threads(plan)
    with ThreadPool(plan.jobs) as pool:
        futures = [pool.submit(_correct, recipe, task, plan.table, watch) for task in plan.tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _correct_together(plan: Plan) -> Generator[Outcome, None, None]:
    """Correct all images by one field. If one of them cannot be corrected, none is."""
    recipe, start = plan.recipe, time.perf_counter()
    left_out = [leave_out(recipe, task) for task in plan.tasks]
    yield from (outcome for outcome in left_out if outcome is not None)
    tasks = [task for task, out in zip(plan.tasks, left_out, strict=True) if out is None]
    if not tasks:
        return
    field = plan.tasks[0].outputs.field  # the file of all of them, which the first one writes
    tasks[0] = tasks[0]._replace(outputs=tasks[0].outputs._replace(field=field))
    try:
        stamp = provenance.make_stamp({"All": [make_stamp(recipe, task) for task in tasks]})
        if all(plan.table.is_complete(task, stamp) for task in tasks):
            yield from (_leave(task, plan.table) for task in tasks)
            return
        corrections = correct_together(recipe, tasks)
    except Exception as error:  # as for single images
        reason = describe_error(error, recipe.names)
        yield from (fail(task, reason, start) for task in tasks)
        return
    for correction in corrections:

        def write(one: Correction = correction) -> Outcome:
            return replace(write_correction(recipe, one, start, recorded=True), stamp=stamp)

        yield _try(recipe, correction.task, write)


def _share_threads(plan: Plan) -> Recipe:
    """The recipe with the threads of each image."""
    if plan.jobs == 1 or plan.recipe.threads is not None:
        return plan.recipe
    return replace(plan.recipe, threads=max(1, choose_thread_count() // plan.jobs))


def _correct(recipe: Recipe, task: Task, table: Table, progress: Progress) -> Outcome:
    """Correct an image unless its results are there, or say why it cannot be corrected."""

    def correct() -> Outcome:
        left_out = leave_out(recipe, task)
        if left_out is not None:
            return left_out
        recorded = table.path is not None
        stamp = make_stamp(recipe, task) if recorded else ""
        if table.is_complete(task, stamp):
            return _leave(task, table)
        return replace(correct_task(recipe, task, progress, recorded=recorded), stamp=stamp)

    return _try(recipe, task, correct)


def _leave(task: Task, table: Table) -> Outcome:
    """The outcome of an image whose results are there."""
    suspicious = table.is_suspicious(task)
    return Outcome(str(task.image), task.outputs.output, "unchanged", suspicious=suspicious)


def _try(recipe: Recipe, task: Task, work: Callable[[], Outcome]) -> Outcome:
    """The outcome of some work on an image, which is a failure after an error.

    Raises
    ------
    OSError
        There is no space left, so that the other images would fail as well.
    """
    start = time.perf_counter()
    try:
        return work()
    except _StoppedError:
        raise
    except Exception as error:  # one bad image must not end the run
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        return fail(task, describe_error(error, recipe.names), start)
