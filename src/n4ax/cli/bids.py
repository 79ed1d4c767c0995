"""``n4ax bids``: a BIDS App that corrects whole datasets."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Literal

import click

from n4ax.cli import bids_options
from n4ax.cli.image_progress import show_images
from n4ax.cli.itk_options import SAME_BITS
from n4ax.cli.notes import list_notes
from n4ax.cli.options import (
    ESTIMATION,
    FOLDER,
    MASK_LABEL,
    POLICIES,
    QUIET,
    RESULT,
    default_mask,
    make_settings,
    name_missing_extra,
    option_names,
    use_option_names,
)
from n4ax.cli.progress import is_live
from n4ax.messages import make_one_line
from n4ax.signals import clean_up_on_signals
from n4ax.version import __version__

if TYPE_CHECKING:
    from distributed import Client

    from n4ax.bids.plan import StudyPlan
    from n4ax.bids.study import Tally
    from n4ax.bids.workers import Cluster, Workers
    from n4ax.cli.image_progress import Display
    from n4ax.series import Estimate
    from n4ax.settings import EngineName
    from n4ax.verdict.already import Already

_SOME_FAILED = 1
_MAX_LABELS = 10
"""Participants without images that are named; the rest are counted."""
_SECONDS_BETWEEN_LOOKS = 60.0
"""How often to check that there is a worker."""
_SECONDS_UNTIL_FIRST = 2.0
"""How often to look for the first one."""


@click.command(
    cls=bids_options.ListCommand,
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
    epilog="""
    Examples:
      n4ax bids study study/derivatives/n4ax participant
      n4ax bids study out participant --participant-label 01 02 --suffix T1w
      n4ax bids study out participant --preset ants --mask \\
        'derivatives/masks/{folder}/{name}_desc-brain_mask.nii.gz'
      n4ax bids study out participant --suffix MEGRE --shared-field echo
      n4ax bids study out participant --cluster slurm --jobs 20 --n-procs 8 \\
        --memory-gb 32 --walltime 04:00:00
      n4ax bids study out group

    If you give the same command again, it corrects the images that are
    missing, and those whose image, mask or settings have changed.
    """,
)
@click.argument(
    "dataset",
    metavar="BIDS_DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.argument("output", metavar="OUTPUT_DIR", type=FOLDER)
@click.argument("level", metavar="participant|group", type=click.Choice(bids_options.LEVELS))
@bids_options.IMAGES
@ESTIMATION
@MASK_LABEL
@POLICIES
@RESULT
@SAME_BITS
@bids_options.WORKERS
@bids_options.RUN
@QUIET
@click.version_option(__version__, prog_name="n4ax")
@click.pass_context
def bids(
    context: click.Context,
    dataset: Path,
    output: Path,
    level: str,
    *,
    suffixes: tuple[str, ...],
    participants: tuple[str, ...],
    sessions: tuple[str, ...],
    filters: Path | None,
    shared_field: tuple[str, ...],
    mask: str | None,
    tissues: tuple[str, ...],
    mask_above: float | None,
    series: "Estimate",
    b0_threshold: float,
    preset: str,
    dtype: Literal["float32", "same"],
    engine: "EngineName | None",
    processes: int | None,
    threads: int | None,
    memory_gb: float | None,
    scratch: Path | None,
    cluster: "Cluster",
    jobs: int,
    walltime: str | None,
    queue: str | None,
    account: str | None,
    options: Path | None,
    scheduler: str | None,
    dry_run: bool,
    already: "Already",
    stop_at_failure: bool,
    quiet: bool,
    **parameters: Any,
) -> None:
    """Correct all images of a BIDS dataset.

    Writes a BIDS derivative dataset with the corrected images, the bias fields and reports.
    participant corrects the images; group only writes the report of the group.
    """
    with name_missing_extra("bids"), use_option_names(bids):
        if level == "group":
            _write_group_report(dataset, output, dry_run)
            return
        _check_current_folder()
        from n4ax.bids.plan import ImageChoice, WorkerChoice, plan_study
        from n4ax.bids.recipe import Recipe
        from n4ax.bids.staging import PRIVATE

        recipe = Recipe(
            dataset, output, make_settings(preset, parameters, bids),
            mask=default_mask(preset) if mask is None else mask, mask_above=mask_above,
            tissues=tissues, series=series,
            b0_threshold=b0_threshold, dtype=dtype, engine=engine, already=already,
            names=option_names(bids),
        )  # fmt: skip
        images = ImageChoice(suffixes, participants, sessions, filters, shared_field)
        workers = WorkerChoice(
            processes=processes, threads=threads, memory_gb=memory_gb, cluster=cluster, jobs=jobs,
            queue=queue, walltime=walltime, account=account, options=options, scheduler=scheduler,
        )  # fmt: skip
        plan = plan_study(recipe, images, workers)
        _print_participants_without_images(plan)
        for note in plan.notes:
            _print_message(f"note: {note}")
        scratch = scratch or output / PRIVATE
        if dry_run:
            good = _print_preview(plan, scratch)
        else:
            good = _correct(plan, scratch, stop_at_failure, quiet)
    context.exit(0 if good else _SOME_FAILED)


def _check_current_folder() -> None:
    """Refuse to start workers in a folder that has been removed."""
    try:
        os.getcwd()
    except OSError:
        raise ValueError("the current folder no longer exists: change to another folder") from None


def _write_group_report(dataset: Path, output: Path, dry_run: bool) -> None:
    from n4ax.bids.outputs import check_output
    from n4ax.bids.study import report_study

    check_output(dataset, output)
    if dry_run:
        print("The report of the group would be written; nothing was done (--dry-run).")
    else:
        report_study(output)


def _print_participants_without_images(plan: "StudyPlan") -> None:
    labels = plan.without_images
    if labels:
        names = ", ".join(f"sub-{label}" for label in labels[:_MAX_LABELS])
        rest = len(labels) - _MAX_LABELS
        more = f" and {rest} more" if rest > 0 else ""
        _print_message(f"note: these participants have none of the images: {names}{more}")


def _print_preview(plan: "StudyPlan", scratch: Path) -> bool:
    """Print what would be done; return whether every image can be corrected, as far as is known."""
    from n4ax.bids.plan import preview_study

    good = True
    for image in preview_study(plan):
        good = good and not image.problem
        shared = f"; field shared with {', '.join(image.others)}" if image.others else ""
        planned = f"{image.output} (mask {image.mask}{shared})"
        print(f"{image.source} -> {image.problem or planned}")
    if plan.workers.are_jobs:
        with name_missing_extra("cluster"):
            from n4ax.bids.connection import make_job_script

            print(f"\nThe script of each job:\n\n{make_job_script(plan.workers, scratch)}")
    participants = len({source.participant for source in plan.sources})
    images, people = _count(len(plan.sources), "image"), _count(participants, "participant")
    print(f"{images} of {people}; nothing was done (--dry-run).")
    return good


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _correct(plan: "StudyPlan", scratch: Path, stop_at_failure: bool, quiet: bool) -> bool:
    """Correct the images, print what became of them, and return whether all went well."""
    from n4ax.bids.connection import connect
    from n4ax.bids.outputs import prepare_output
    from n4ax.bids.staging import discard_leftovers
    from n4ax.bids.study import correct_study, report_study

    recipe, workers = plan.recipe, plan.workers
    prepare_output(recipe.dataset, recipe.output)
    discard_leftovers(recipe.output)
    start, live = time.perf_counter(), is_live(quiet)
    with (
        clean_up_on_signals(),  # the jobs of a cluster have to be cancelled
        show_images(len(plan.sources), quiet, _describe_start(workers)) as show,
        connect(workers, scratch) as client,
        _tell_of_workers(client, scratch, None if workers.are_local and not live else show),
    ):
        tally = correct_study(
            client, recipe, plan.groups, refused=plan.refused, on_outcome=show,
            stop_at_failure=stop_at_failure,
        )  # fmt: skip
    try:
        if tally.states["skipped"] < len(plan.sources):
            report_study(recipe.output)
    except (OSError, ValueError) as error:
        tally.add_problem(f"the report of the group could not be written: {error}")
    _print_tally(tally, plan, time.perf_counter() - start, quiet)
    discard_leftovers(recipe.output)
    return tally.all_is_well


def _describe_start(workers: "Workers") -> str:
    """What is going on until the first image is on its way."""
    if workers.are_jobs:
        return "waiting for the first job of the queue"
    number = workers.gpus or workers.processes
    return f"starting {_count(number, 'worker')}" if workers.are_local else "looking for workers"


@contextmanager
def _tell_of_workers(client: "Client", scratch: Path, show: "Display | None") -> Iterator[None]:
    """Say when the first worker is there, and whenever there is none."""
    finished = Event()

    def look() -> None:
        seconds = _SECONDS_UNTIL_FIRST
        while not finished.wait(seconds):
            if client.scheduler_info()["workers"]:
                if show is not None and seconds == _SECONDS_UNTIL_FIRST:
                    show.say("the first images are on their way")
                seconds = _SECONDS_BETWEEN_LOOKS
            elif seconds == _SECONDS_BETWEEN_LOOKS:
                _print_message(
                    "no worker is running: jobs may be waiting in the queue, or have ended "
                    f"({scratch / 'logs'} has what they said)"
                )

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join(1)


def _print_tally(tally: "Tally", plan: "StudyPlan", seconds: float, quiet: bool) -> None:
    if not quiet:
        print(_summarise(tally, plan, seconds))
    for note in tally.notes:
        _print_message(f"note: {note}")
    for line in list_notes(tally.remarks) if not quiet else ():
        _print_message(line)
    for outcome in tally.failures:
        _print_message(f"failed: {outcome.source}: {outcome.reason}")
    for problem in tally.problems:
        _print_message(f"error: {problem}")
    if tally.stopped:
        _print_message(f"stopped: {tally.stopped}")


def _summarise(tally: "Tally", plan: "StudyPlan", seconds: float) -> str:
    from n4ax.report.layout import GROUP_PAGE

    states = tally.states
    untried = len(plan.sources) - states.total()
    rest = f", {states['skipped']} left out" if states["skipped"] else ""
    rest += f", {untried} not tried" if untried else ""
    rate = 60 * states.total() / seconds
    return (
        f"{states['corrected']} corrected, {states['unchanged']} unchanged, {states['failed']} "
        f"failed{rest} in {timedelta(seconds=round(seconds))} ({rate:.0f} a minute). "
        f"Reports: {plan.recipe.output / GROUP_PAGE}"
    )


def _print_message(message: str) -> None:
    print(f"n4ax: {make_one_line(message)}", file=sys.stderr)
