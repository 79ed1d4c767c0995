"""``n4ax bids``: a BIDS App that corrects whole datasets."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import click

from n4ax.cli import bids_options
from n4ax.cli.call import write_call
from n4ax.cli.image_progress import show_images
from n4ax.cli.itk_options import SAME_BITS
from n4ax.cli.notes import list_notes
from n4ax.cli.options import (
    ESTIMATION,
    FOLDER,
    INPUT_FOLDER,
    MASK_LABEL,
    POLICIES,
    QUIET,
    RESULT,
    SOME_FAILED,
    default_mask,
    make_settings,
    name_missing_extra,
    option_names,
    use_option_names,
)
from n4ax.cli.preview import print_preview, write_count
from n4ax.cli.progress import is_live, show_checks
from n4ax.messages import make_one_line
from n4ax.pools import start_thread
from n4ax.signals import clean_up_on_signals
from n4ax.version import __version__

if TYPE_CHECKING:
    from distributed import Client

    from n4ax.bids.image import Outcome
    from n4ax.bids.plan import StudyPlan
    from n4ax.bids.recipe import OutputSettings
    from n4ax.bids.study import Tally
    from n4ax.bids.study_file import Call
    from n4ax.bids.workers.description import Cluster, Workers
    from n4ax.cli.image_progress import Display
    from n4ax.series import Estimate
    from n4ax.settings import EngineName
    from n4ax.verdict.already import Already

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
      n4ax bids study out-ants participant --preset ants --mask \\
        'derivatives/masks/{folder}/{name}_desc-brain_mask.nii.gz'
      n4ax bids study out-brain participant --suffix T1w --derivatives \\
        fmriprep=study/derivatives/fmriprep
      n4ax bids study echoes participant --suffix MEGRE --shared-field echo
      n4ax bids study out participant --cluster slurm --jobs 20 --n-procs 8 \\
        --memory-gb 32 --walltime 04:00:00
      n4ax bids study out group

    If you give the same command again, it corrects the images that are
    missing, and those whose image or mask has changed. A folder has one
    setting: another one wants another folder, or --output-settings replace.
    """,
)
@click.argument(
    "dataset",
    metavar="BIDS_DIR",
    type=INPUT_FOLDER,
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
    rated: tuple[str, ...],
    shared_field: tuple[str, ...],
    longitudinal: bool,
    mask: str | None,
    weights: str | None,
    tissues: tuple[str, ...],
    derivatives: tuple[str, ...],
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
    output_settings: "OutputSettings",
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
            _write_group_report(dataset, output, dry_run, quiet)
            return
        _check_current_folder()
        from n4ax.bids.derivatives import DEFAULT_MASK, read_derivatives
        from n4ax.bids.plan import ImageChoice, WorkerChoice, plan_study
        from n4ax.bids.recipe import Recipe
        from n4ax.bids.staging import PRIVATE

        recipe = Recipe(
            dataset, output, make_settings(preset, parameters, bids),
            mask=mask or (DEFAULT_MASK if derivatives else default_mask(preset)),
            mask_above=mask_above, tissues=tissues, weights=weights,
            derivatives=read_derivatives(derivatives), series=series,
            b0_threshold=b0_threshold, shared_field=shared_field,
            longitudinal=longitudinal, dtype=dtype, engine=engine, already=already,
            output_settings=output_settings, names=option_names(bids),
        )  # fmt: skip
        images = ImageChoice(suffixes, participants, sessions, filters, rated)
        workers = WorkerChoice(
            processes=processes, threads=threads, memory_gb=memory_gb, cluster=cluster, jobs=jobs,
            queue=queue, walltime=walltime, account=account, options=options, scheduler=scheduler,
        )  # fmt: skip
        with show_checks(quiet) as progress:
            plan = plan_study(recipe, images, workers, progress)
        _print_participants_without_images(plan)
        for note in plan.notes:
            _print_message(f"note: {note}")
        scratch = scratch or output / PRIVATE
        if dry_run:
            good = print_preview(plan, scratch)
        else:
            good = _correct(plan, scratch, write_call(context), stop_at_failure, quiet)
    context.exit(0 if good else SOME_FAILED)


def _check_current_folder() -> None:
    """Refuse to start workers in a folder that has been removed."""
    try:
        os.getcwd()
    except OSError:
        raise ValueError("the current folder no longer exists: change to another folder") from None


def _write_group_report(dataset: Path, output: Path, dry_run: bool, quiet: bool) -> None:
    from n4ax.bids.outputs import check_output
    from n4ax.bids.study import report_study

    check_output(dataset, output)
    if dry_run:
        print("The report of the group would be written; nothing was done (--dry-run).")
    else:
        written = report_study(output)
        for path in [] if quiet else written:
            print(f"Wrote {path}")


def _print_participants_without_images(plan: "StudyPlan") -> None:
    labels = plan.without_images
    if labels:
        names = ", ".join(f"sub-{label}" for label in labels[:_MAX_LABELS])
        rest = len(labels) - _MAX_LABELS
        more = f" and {rest} more" if rest > 0 else ""
        _print_message(f"note: these participants have none of the images: {names}{more}")


def _correct(
    plan: "StudyPlan", scratch: Path, call: "Call", stop_at_failure: bool, quiet: bool
) -> bool:
    """Correct the images, print what became of them, and return whether all went well."""
    from n4ax.bids.outputs import prepare_output
    from n4ax.bids.staging import discard_leftovers
    from n4ax.bids.study import correct_study, report_study
    from n4ax.bids.study_file import add_run, take_folder
    from n4ax.bids.workers.connection import connect

    recipe, workers = plan.recipe, plan.workers
    _tell_problems(plan)
    prepare_output(recipe.dataset, recipe.output, recipe.derivatives, call.command)
    take_folder(recipe.dataset, recipe.output, plan.settings, recipe.output_settings, call.rerun)
    discard_leftovers(recipe.output)
    start, live = time.perf_counter(), is_live(quiet)
    count = len(plan.sources) - len(plan.problems)
    with (
        clean_up_on_signals(),  # the jobs of a cluster have to be cancelled
        show_images(count, quiet, _describe_start(workers)) as show,
        connect(workers, scratch) as client,
        _tell_of_workers(client, scratch, None if workers.are_local and not live else show),
    ):
        tally = correct_study(
            client, recipe, plan.groups, refused=plan.refused, on_outcome=_leave_out(plan, show),
            stop_at_failure=stop_at_failure,
        )  # fmt: skip
    try:
        if not tally.did_nothing:
            add_run(recipe.output, call.command, time.perf_counter() - start, tally.states)
        if tally.states["skipped"] < len(plan.sources):
            report_study(recipe.output)
    except (OSError, ValueError) as error:
        tally.add_problem(f"the report of the group could not be written: {error}")
    _print_tally(tally, plan, time.perf_counter() - start, quiet)
    discard_leftovers(recipe.output)
    return tally.all_is_well


def _tell_problems(plan: "StudyPlan") -> None:
    """Say which images cannot be corrected.

    Raises
    ------
    ValueError
        None is left, and some lack a file that was asked for.
    """
    from n4ax.bids.checks import describe_problems, lack_files

    lines = describe_problems(plan.problems, len(plan.sources))
    if lack_files(plan.problems, len(plan.sources)):
        raise ValueError("; ".join(lines))
    for line in lines:
        _print_message(line)


def _leave_out(
    plan: "StudyPlan", show: Callable[["Outcome"], None] | None
) -> Callable[["Outcome"], None] | None:
    """Show no images of which it was told already that they cannot be corrected."""
    if show is None:
        return None
    return lambda outcome: None if outcome.source in plan.problems else show(outcome)


def _describe_start(workers: "Workers") -> str:
    """What is going on until the first image is on its way."""
    if workers.are_jobs:
        return "waiting for the first job of the queue"
    number = workers.gpus or workers.processes
    return (
        f"starting {write_count(number, 'worker')}" if workers.are_local else "looking for workers"
    )


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

    thread = start_thread(look)
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
        if outcome.source not in plan.problems:
            _print_message(f"failed: {outcome.source}: {outcome.reason}")
    if plan.problems:
        number = write_count(len(plan.problems), "image")
        _print_message(
            f"failed: {number} for the reasons above; n4ax_errors.json lists all failures"
        )
    for problem in tally.problems:
        _print_message(f"error: {problem}")
    if tally.stopped:
        _print_message(f"stopped: {tally.stopped}")


def _summarise(tally: "Tally", plan: "StudyPlan", seconds: float) -> str:
    from n4ax.report.layout import GROUP_PAGE

    states, total = tally.states, len(plan.sources)
    reports = f"Reports: {plan.recipe.output / GROUP_PAGE}"
    if states["unchanged"] == total:
        return f"Nothing to do: {total} of {total} images are up to date. {reports}"
    untried = total - states.total()
    rest = f", {states['skipped']} left out" if states["skipped"] else ""
    rest += f", {untried} not tried" if untried else ""
    time_taken = f"{rest} in {timedelta(seconds=round(seconds))}"
    if states["corrected"]:
        time_taken += f" ({60 * states['corrected'] / seconds:.0f} a minute)"
    return (
        f"{states['corrected']} corrected, {states['unchanged']} unchanged, {states['failed']} "
        f"failed{time_taken}. {reports}"
    )


def _print_message(message: str) -> None:
    print(f"n4ax: {make_one_line(message)}", file=sys.stderr)
