"""``n4ax bids``: a BIDS App over whole datasets."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from n4ax.cli import options
from n4ax.cli.options import combine_options
from n4ax.cli.progress import show_images
from n4ax.signals import clean_up_on_signals
from n4ax.version import __version__

if TYPE_CHECKING:
    from distributed import Client

    from n4ax.bids.image import Recipe
    from n4ax.bids.inputs import Source
    from n4ax.bids.study import Tally
    from n4ax.bids.workers import Workers

_LEVELS = ("participant", "group")
_SOME_FAILED = 1
_NAMED = 10
"""Participants without images that are named."""
_PATIENCE = 60.0
"""Seconds between two looks at whether there is any worker."""
_GB_PER_WORKER = 2.0
"""Memory that a worker is taken to need: 1 mm heads take half of it, 40 million voxels all."""
_BYTES = {"": 1.0, "G": 1.0, "M": 1e-3, "K": 1e-6, "T": 1e3}
_LISTS = ("--participant-label", "--session-label", "--suffix")


class _ListsTakeSeveral(options.Command):
    """A command whose lists may be given as BIDS Apps have them: ``--participant-label 01 02``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option for each value that follows it."""
        spread: list[str] = []
        place = 0
        while place < len(args):
            spread.append(args[place])
            name = args[place].replace("_", "-")
            place += 1
            if name not in _LISTS:
                continue
            end = place
            while end < len(args) and not args[end].startswith("-"):
                end += 1
            values = args[place:end]
            if len(values) > 3 and values[-1] in _LEVELS:  # the three arguments come last
                values = values[:-3]
            spread += [word for value in values[1:] for word in (value, args[place - 1])]
            spread += values[:1]
            place += len(values)
        return super().parse_args(ctx, spread)


def _gigabytes(_context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+\.?\d*)\s*([GMKT]?)B?", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise click.BadParameter(f"{text!r} is not of the form 16, 16GB or 800MB", param=option)
    return float(found[1]) * _BYTES[found[2].upper()]


_which = options.under_heading("Which images")
_volumes = options.under_heading("Series of volumes (4-D)")
_machine = options.under_heading("Machine")
_cluster = options.under_heading("Cluster")
_run = options.under_heading("This run")

_INPUTS = combine_options(
    _which(
        "--suffix", "suffixes", multiple=True, metavar="SUFFIX...",
        help="Kinds of images: T1w, bold, dwi, any suffix; inplane is both, boldref is sbref too. "
        " [default: T1w T2w FLAIR PDw inplane]",
    ),
    _which(
        "--participant-label", "participants", multiple=True, metavar="LABEL...",
        help="Only these participants, with sub- or without.",
    ),
    _which(
        "--session-label", "sessions", multiple=True, metavar="LABEL...",
        help="Only these sessions, with ses- or without.",
    ),
    _which(
        "--bids-filter-file", "filter_file", type=options.INPUT_FILE, metavar="FILE",
        help='Filters as fMRIPrep has them: {"t1w": {"acquisition": "mprage"}}.',
    ),
    _which(
        "--mask", metavar="PATTERN|otsu|none",
        help="Where the field is estimated: otsu, none (the whole image), or masks by a pattern of "
        "paths from BIDS_DIR, with {sub}, {ses}, {folder}, {stem}, {name} and * filled in.  "
        "[default: otsu; none with --preset ants or antspy]",
    ),
    _volumes(
        "--series", callback=options.read_series, default="mean", show_default=True,
        metavar="WHICH",
        help="Divide all volumes by the field of one: of their mean, the first, a number (from 0) "
        "or the mean of several (0,5,10). Or each: a field for each. dwi is always done by the "
        "mean of the volumes without diffusion weighting.",
    ),
    options.b0_threshold(_volumes),
)  # fmt: skip

_WORKERS = combine_options(
    _machine(
        "--n-procs", "--nprocs", "--n-cpus", "processes", type=click.IntRange(min=1), metavar="N",
        help="Images at a time, in each job of a cluster.  [default: as many as there are cores, "
        "memory allowing; 1 in a job]",
    ),
    _machine(
        "--nthreads", "--omp-nthreads", "--threads", "threads", type=click.IntRange(min=1),
        metavar="N", help="Threads for each image.  [default: cores / images at a time]",
    ),
    _machine(
        "--mem", "--memory-gb", "memory_gb", callback=_gigabytes, metavar="GB",
        help="Memory for all images at a time, in GB or as 800MB (of a job, on a cluster); an "
        "image that takes more than its share is given up.  [default: no limit; 8 in a job]",
    ),
    options.ENGINE,
    _machine(
        "-w", "--work-dir", "scratch", type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder for scratch files and the logs of jobs.  [default: OUTPUT_DIR/.n4ax]",
    ),
    _cluster(
        "--cluster", type=click.Choice(("local", "slurm", "pbs", "lsf", "sge")), default="local",
        show_default=True, help="Where to work: here, or in jobs of a queueing system.",
    ),
    _cluster("--jobs", type=click.IntRange(min=1), metavar="N", default=1, show_default=True,
             help="Jobs to submit."),
    _cluster("--walltime", metavar="HH:MM:SS", help="Time limit of a job."),
    _cluster("--queue", metavar="NAME", help="Queue or partition of the jobs."),
    _cluster("--account", metavar="NAME", help="Account or project of the jobs."),
    _cluster(
        "--cluster-options", "cluster_options", type=options.INPUT_FILE, metavar="FILE",
        help="JSON file of further options of dask-jobqueue: "
        '{"job_extra_directives": ["--gres=gpu:1"]}.',
    ),
    _cluster("--scheduler", metavar="tcp://HOST:PORT",
             help="Use a Dask scheduler that runs already."),
)  # fmt: skip


@click.command(
    cls=_ListsTakeSeveral,
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
    epilog="""
    Examples:
      n4ax bids study study/derivatives/n4ax participant
      n4ax bids study out participant --participant-label 01 02 --suffix T1w
      n4ax bids study out participant --preset ants --mask \\
        'derivatives/masks/{folder}/{name}_desc-brain_mask.nii.gz'
      n4ax bids study out participant --cluster slurm --jobs 20 --n-procs 8 \\
        --mem 32 --walltime 04:00:00
      n4ax bids study out group

    The same command again does what is missing, or whose image, mask or
    settings have changed.
    """,
)
@click.argument("bids_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output_dir", type=click.Path(file_okay=False, path_type=Path))
@click.argument("level", metavar="participant|group", type=click.Choice(_LEVELS))
@_INPUTS
@options.ESTIMATION
@options.VOXELS
@options.RESULT
@_WORKERS
@_run("-n", "--dry-run", is_flag=True, help="List the images, and do nothing.")
@_run("--stop-on-first-crash", "stop", is_flag=True, help="End at the first failure.")
@_run(
    "--skip-bids-validator", "--skip-bids-validation", is_flag=True,
    help="Accepted, as by other BIDS Apps; the dataset is never validated.",
)  # fmt: skip
@options.QUIET
@click.version_option(__version__, prog_name="n4ax")
@click.pass_context
def bids(
    context: click.Context,
    bids_dir: Path,
    output_dir: Path,
    level: str,
    dry_run: bool,
    quiet: bool,
    stop: bool,
    **given: Any,
) -> None:
    """Correct all images of a BIDS dataset.

    Writes a BIDS derivative dataset with the corrected images, the fields, and reports to look
    at. participant corrects; group writes the report of the group alone.
    """
    scratch = given.pop("scratch") or output_dir / ".n4ax"
    del given["skip_bids_validator"]
    if level == "group":
        _report(bids_dir, output_dir, dry_run)
        return
    _check_here()
    with options.name_missing_extra("bids"):
        from n4ax.bids.outputs import discard_leftovers, prepare_output

        plan = _plan(bids_dir, output_dir, given)
    if dry_run:
        context.exit(_SOME_FAILED if _list(plan, scratch) else 0)
    prepare_output(plan.job.dataset, plan.job.output)
    discard_leftovers(plan.job.output)
    failed = _corrected(plan, scratch, stop, quiet)
    discard_leftovers(plan.job.output)
    context.exit(_SOME_FAILED if failed else 0)


def _check_here() -> None:
    """Refuse to start workers in a folder that has been removed."""
    try:
        os.getcwd()
    except OSError:
        raise ValueError("the current folder is not there any more: go to another") from None


def _report(dataset: Path, output: Path, dry_run: bool) -> None:
    with options.name_missing_extra("bids"):
        from n4ax.bids.outputs import check_output
        from n4ax.bids.study import report_study

    check_output(dataset, output)
    if dry_run:
        print("The report of the group would be written; nothing was done (--dry-run).")
    else:
        report_study(output)


class _Plan(NamedTuple):
    """What is to be done, how, and where."""

    sources: "list[Source]"
    refused: Mapping[str, str]
    """Which of them cannot be corrected, by path, with the reason."""
    job: "Recipe"
    workers: "Workers"


def _plan(dataset: Path, output: Path, given: dict[str, Any]) -> _Plan:
    """The plan; everything that can be checked before the work is checked."""
    from n4ax.bids.image import Recipe
    from n4ax.bids.inputs import DEFAULT_SUFFIXES, find_sources, known_participants, read_filters
    from n4ax.bids.outputs import check_output, refusals

    check_output(dataset, output)
    inputs, how, place = (
        {name: given.pop(name) for name in names.split()}
        for names in (
            "participants sessions suffixes",
            "mask series b0_threshold dtype engine threads",
            "processes memory_gb cluster jobs queue walltime account scheduler",
        )
    )
    filters, further = given.pop("filter_file"), given.pop("cluster_options")
    if how["mask"] is None:
        how["mask"] = options.default_mask(given["preset"])
    if not how["mask"]:
        raise ValueError("--mask is empty; expected otsu, none or a pattern of paths")
    if how["series"] == "b0":
        raise ValueError("--series b0 is what dwi is done by anyway; for others give mean or first")
    settings = options.make_settings(given.pop("preset"), given, bids)
    inputs["suffixes"] = inputs["suffixes"] or DEFAULT_SUFFIXES
    inputs["filters"] = read_filters(filters) if filters else None
    sources = find_sources(dataset, **inputs)
    if not sources:
        raise ValueError(_nothing(dataset, inputs))
    without = set(known_participants(dataset)) - {source.participant for source in sources}
    if without and not inputs["participants"]:
        names = ", ".join(f"sub-{label}" for label in sorted(without)[:_NAMED])
        more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        print(f"n4ax: note: none of these images: {names}{more}", file=sys.stderr)
    workers = _workers(place, how["threads"], how["engine"], further, len(sources))
    if workers.cluster == "local" and workers.scheduler is None and not workers.gpus:
        how["engine"] = how["engine"] or "cpu"  # or all workers would take the same GPU
    how["threads"] = workers.threads if workers.scheduler is None else how["threads"]
    job = Recipe(dataset.absolute(), output.absolute(), settings, **how)
    return _Plan(sources, refusals(sources), job, workers)


def _nothing(dataset: Path, inputs: Mapping[str, Any]) -> str:
    """That there is no image, and what there would be."""
    from n4ax.bids.inputs import known_suffixes

    asked = f"suffixes {', '.join(inputs['suffixes'])}"
    if inputs["sessions"]:
        asked += f"; sessions {', '.join(inputs['sessions'])}"
    if inputs["filters"]:
        asked += "; and the filters"
    there = ", ".join(known_suffixes(dataset)) or "no images"
    return f"{dataset} has none of the images asked for ({asked}); it has {there}"


def _workers(
    place: dict[str, Any], threads: int | None, engine: str | None, further: Path | None,
    images: int,
) -> "Workers":  # fmt: skip
    """Where to work: as asked for, and else what this machine has room for."""
    from dask.system import CPU_COUNT  # what a container may have

    from n4ax.bids.workers import Workers, visible_gpus

    memory, processes = place.pop("memory_gb"), place.pop("processes")
    here = place["cluster"] == "local" and not place["scheduler"]
    gpus = visible_gpus() if here and engine != "cpu" and find_spec("jax_plugins") else 0
    cores = CPU_COUNT if place["cluster"] == "local" else processes or 1
    if here and memory is not None and memory > _gigabytes_in_all():
        raise ValueError(
            f"--mem {memory:g} is more than the {_gigabytes_in_all():.0f} GB of this machine; "
            "expected GB, or a unit as in 16000MB"
        )
    if processes is None and not here:
        processes = 1
    if processes is None:
        room = memory or _free_gigabytes()
        processes = max(1, min(cores, images, int(room / _GB_PER_WORKER)))
    content = {}
    if further is not None:
        try:
            content = json.loads(further.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"--cluster-options {further} is not JSON: {error}") from None
    with options.use_option_names(bids):
        return Workers(
            processes=processes,
            threads=threads or max(1, cores // processes),
            memory_gb=memory,
            options=content,
            gpus=gpus,
            **place,
        )


def _free_gigabytes() -> float:
    import psutil

    return min(psutil.virtual_memory().available / 1e9, _gigabytes_in_all())


def _gigabytes_in_all() -> float:
    """Memory of this machine, or what a container may have of it."""
    from distributed.system import MEMORY_LIMIT

    return MEMORY_LIMIT / 1e9


def _list(plan: _Plan, scratch: Path) -> bool:
    """What would be done, and whether anything would fail."""
    from n4ax.bids.inputs import find_mask
    from n4ax.bids.outputs import Outputs

    job, failed = plan.job, False
    for source in plan.sources:
        what, mask = Outputs.of(source).image, job.mask
        problem = plan.refused.get(source.path)
        if problem is None and mask not in ("otsu", "none"):
            try:
                mask = str(find_mask(job.dataset, source, mask))
            except ValueError as error:
                problem = str(error)
        failed = failed or problem is not None
        print(f"{source.path} -> {problem or f'{what} (mask {mask})'}")
    if plan.workers.scheduler is None and plan.workers.cluster != "local":
        with options.name_missing_extra("cluster"):
            from n4ax.bids.connection import job_script

            print(f"\nThe script of each job:\n\n{job_script(plan.workers, scratch)}")
    people = len({source.participant for source in plan.sources})
    images, people = _count(len(plan.sources), "image"), _count(people, "participant")
    print(f"{images} of {people}; nothing was done (--dry-run).")
    return failed


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _corrected(plan: _Plan, scratch: Path, stop: bool, quiet: bool) -> bool:
    """Do it, and whether anything failed."""
    from n4ax.bids.connection import connected
    from n4ax.bids.study import correct_study, report_study

    start = time.perf_counter()
    with (
        clean_up_on_signals(),  # jobs of a cluster are cancelled
        options.name_missing_extra("bids"),
        connected(plan.workers, scratch) as client,
        _told_to_wait(client, scratch),
        show_images(len(plan.sources), quiet, _told) as watch,
    ):
        tally = correct_study(
            client, plan.job, plan.sources, refused=plan.refused, watch=watch,
            shared_workers=bool(plan.workers.gpus or plan.workers.scheduler), stop_at_failure=stop,
        )  # fmt: skip
    try:
        report_study(plan.job.output)
    except (OSError, ValueError) as error:
        tally.notes.append(f"the report of the group could not be written: {error}")
    if not quiet:
        print(_summary(tally, plan, time.perf_counter() - start))
    for note in tally.notes:
        print(f"n4ax: note: {note}", file=sys.stderr)
    for outcome in tally.failures:
        print(f"n4ax: failed: {outcome.source}: {_told(outcome.reason)}", file=sys.stderr)
    if tally.stopped:
        print(f"n4ax: stopped: {tally.stopped}", file=sys.stderr)
    return bool(tally.failures or tally.stopped)


@contextmanager
def _told_to_wait(client: "Client", scratch: Path) -> Iterator[None]:
    """Say so while there is no worker: jobs may wait in their queue, or have ended."""
    over = Event()

    def look() -> None:
        while not over.wait(_PATIENCE):
            if not client.scheduler_info()["workers"]:
                print(
                    "n4ax: no worker is running: its jobs may wait, or have come to their end "
                    f"(see {scratch / 'logs'}; the same command again goes on)",
                    file=sys.stderr,
                )

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(1)


def _told(reason: str) -> str:
    """A reason in the words of the options."""
    return reason


def _summary(tally: "Tally", plan: _Plan, seconds: float) -> str:
    states = tally.states
    left = len(plan.sources) - states.total()
    rest = f", {left} not tried" if left else ""
    rate = 60 * states.total() / seconds
    return (
        f"{states['corrected']} corrected, {states['unchanged']} unchanged, {states['failed']} "
        f"failed{rest} in {timedelta(seconds=round(seconds))} ({rate:.0f} a minute). "
        f"Reports: {plan.job.output / 'group.html'}"
    )
