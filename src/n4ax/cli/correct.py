"""The commands ``n4ax correct`` and ``n4ax demo``."""

import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from n4ax.cli import correct_options, layout, options
from n4ax.cli.image_progress import show_images
from n4ax.cli.itk_options import SAME_BITS
from n4ax.cli.notes import list_notes
from n4ax.cli.progress import show_iterations
from n4ax.errors import InputError
from n4ax.messages import make_one_line
from n4ax.signals import say_when_stopped

if TYPE_CHECKING:
    from n4ax.correction.outcome import Outcome
    from n4ax.correction.recipe import Recipe
    from n4ax.correction.run import Plan
    from n4ax.settings import N4Settings

_OTHERS = ("bias", "field", "figure", "mask_output", "json")
"""The results besides the corrected image; each is called as its option."""


@click.command(
    cls=layout.Command,
    epilog="""
    Examples:
      n4ax correct head.nii.gz
      n4ax correct head.nii.gz -o corrected.nii.gz --figure check.png
      n4ax correct head.nii.gz --mask brain.nii.gz --bias field.nii.gz
      n4ax correct head.nii.gz --mask 'otsu & brain.nii.gz' --mask-dilate 3
      n4ax correct head.nii.gz --preset ants --spline-distance 200
      n4ax correct bold.nii.gz --series mean --scale mean
      n4ax correct dwi.nii.gz --series b0 --mask brain.nii.gz
      n4ax correct scans -o results --mask '{stem}_mask.nii.gz' --jobs 2
      n4ax correct t1w.nii.gz t2w.nii.gz --suffix _flat --figure '{stem}.png'
      n4ax correct head.nii.gz --preset auto --mask brain.nii.gz
      n4ax correct --methods --preset ants
    """,
)
@click.argument("images", metavar="IMAGE...", nargs=-1)
@correct_options.FILES
@correct_options.SEVERAL
@correct_options.MASK
@correct_options.SERIES
@options.ESTIMATION
@options.POLICIES
@options.RESULT
@SAME_BITS
@options.THREADS
@options.engine("xla where JAX has a GPU, else cpu")
@options.QUIET
@click.pass_context
def correct(
    context: click.Context,
    images: tuple[str, ...],
    methods: bool,
    strict: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Correct the bias field of images.

    IMAGE has 2 to 4 dimensions: NIfTI, .mgz of FreeSurfer, .nrrd, .mha, .mnc, or a series of DICOM
    (its folder, or one of its files). A folder stands for all images in it. The field is estimated
    in the mask, and the whole image is divided by it. The output has the format of its name.
    """
    preset = given.pop("preset")
    mask = given.pop("mask") or options.default_mask(preset)
    taken = {name: given.pop(name) for name in (*_TAKEN, *_OTHERS)}
    settings = options.make_settings(preset, given, correct)
    if not images and not methods:
        raise click.UsageError("give an image, a folder, or several of them", context)
    with options.name_missing_extra("simpleitk"), options.use_option_names(correct):
        recipe = _make_recipe(settings, mask, taken)
        if methods:
            from n4ax.provenance import write_methods

            print(
                write_methods(
                    settings,
                    recipe.describe()
                    | {name: taken[name.lower()] for name in ("Weights", "Tissues")},
                )
            )
        if not images:
            return
        plan = _make_plan(images, recipe, taken)
        if len(plan.tasks) == 1 and plan.table.path is None:
            outcomes = [_correct_one(plan, quiet)]
        else:
            outcomes = _correct_many(plan, quiet)
        suspicious = [outcome for outcome in outcomes if strict and outcome.suspicious]
        for outcome in suspicious:
            why = ", ".join(note.code for note in outcome.notes) or "as an earlier run found"
            _print_message(f"suspicious: {outcome.source} ({why}); --strict ends with status 1")
        if suspicious or any(outcome.reason or outcome.problem for outcome in outcomes):
            context.exit(options.SOME_FAILED)


_TAKEN = (
    "output", "overwrite", "suffix", "jobs", "table", "mask_label", "mask_above", "mask_dilate",
    "weights", "tissues", "series", "b0_threshold", "slicewise", "shared_field", "weights_from",
    "init", "dtype", "threads", "engine", "already",
)  # fmt: skip
"""The options that are no parameters of N4."""


def _make_plan(images: tuple[str, ...], recipe: "Recipe", taken: dict[str, Any]) -> "Plan":
    """Find the images, and check all that can be checked before the work."""
    from n4ax.correction import plan as planning
    from n4ax.correction.run import Plan
    from n4ax.correction.table import NAME, Table

    if taken["tissues"] and (recipe.slicewise or recipe.shared_field):
        name = "slicewise" if recipe.slicewise else "shared_field"
        raise InputError(f"{{tissues}} are for one volume with one field: leave out {{{name}}}")
    others = {name: taken[name] for name in _OTHERS}
    wish = planning.Wish(
        images,
        taken["output"],
        taken["suffix"],
        taken["weights"],
        taken["tissues"],
        others,
        taken["overwrite"],
    )
    tasks = planning.plan_tasks(wish, recipe)
    folder = planning.find_folder(wish, len(tasks))
    table = taken["table"]
    if wish.is_list and table is None and folder is not None:
        table = folder / NAME
    kept = Table(table, sys.argv)
    planning.check_names(tasks, recipe, kept.paths)
    if wish.is_list:
        planning.check_overwriting(tasks, kept.known_files, wish.overwrite)
    planning.check_places(tasks, kept.paths, make=wish.is_list or wish.into_folder)
    return Plan(recipe, tasks, kept, taken["jobs"], planning.count_left_out(wish, tasks))


def _make_recipe(settings: "N4Settings", mask: str, taken: dict[str, Any]) -> "Recipe":
    from n4ax.correction.recipe import Recipe
    from n4ax.mask_files import MaskChoice
    from n4ax.saved_field import read_spline

    init = taken["init"]
    return Recipe(
        settings,
        MaskChoice(mask, taken["mask_label"], taken["mask_above"], taken["mask_dilate"]),
        series=taken["series"],
        b0_threshold=taken["b0_threshold"],
        slicewise=taken["slicewise"],
        shared_field=taken["shared_field"],
        in_stages=taken["weights_from"] is not None,
        init=None if init is None else read_spline(init),
        dtype=taken["dtype"],
        engine=taken["engine"],
        threads=taken["threads"],
        already=taken["already"],
        names=options.option_names(correct),
    )


def _correct_one(plan: "Plan", quiet: bool) -> "Outcome":
    """Correct a single image, whose error is the error of the command."""
    from n4ax.correction.origin import leave_out
    from n4ax.correction.work import correct_task

    (task,) = plan.tasks
    left_out = leave_out(plan.recipe, task)
    if left_out is not None:
        if not quiet:
            print(left_out.summary)
        return left_out
    with (
        show_iterations(
            task.image.name, plan.recipe.settings, quiet, plan.recipe.engine
        ) as progress,
        say_when_stopped(lambda: f"{task.image} was not corrected; no file was changed"),
    ):
        outcome = correct_task(plan.recipe, task, progress)
    if not quiet:
        print(outcome.summary)
        for note in outcome.notes:
            _print_message(f"note: {note.with_options(plan.recipe.names)}")
    if outcome.problem:
        raise click.ClickException(outcome.problem)
    return outcome


def _correct_many(plan: "Plan", quiet: bool) -> "list[Outcome]":
    """Correct all images, and print what became of them."""
    from n4ax.correction.run import run_plan

    start, outcomes = time.perf_counter(), list["Outcome"]()

    def describe_stop() -> str:
        done = sum(outcome.state != "failed" for outcome in outcomes)
        how = "" if plan.table.path is None else "; the same command goes on with the others"
        return f"{done} of {len(plan.tasks)} images are done{how}"

    with (
        show_images(len(plan.tasks), quiet) as show,
        say_when_stopped(lambda: f"stopped: {describe_stop()}"),
    ):

        def take(outcome: "Outcome") -> None:
            outcomes.append(outcome)
            if show is not None:
                show(outcome)

        try:
            run_plan(plan, take)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise ValueError(f"{place}{error.strerror or error}; {describe_stop()}") from None
    if not quiet:
        print(_summarise(plan, outcomes, time.perf_counter() - start))
        names = plan.recipe.names
        for line in list_notes(
            (note.code, outcome.source, note.with_options(names))
            for outcome in outcomes
            for note in outcome.notes
        ):
            _print_message(line)
    bad = [outcome for outcome in outcomes if outcome.reason or outcome.problem]
    for outcome in sorted(bad, key=lambda outcome: outcome.source):
        reason = outcome.reason or outcome.problem
        line = reason if reason.startswith(outcome.source) else f"{outcome.source}: {reason}"
        _print_message(f"failed: {line}")
    return outcomes


def _print_message(text: str) -> None:
    print(f"n4ax: {make_one_line(text)}", file=sys.stderr)


def _summarise(plan: "Plan", outcomes: "list[Outcome]", seconds: float) -> str:
    states = Counter(outcome.state for outcome in outcomes)
    folders = sorted({str(outcome.output.parent) for outcome in outcomes})
    where = folders[0] if len(folders) == 1 else f"{len(folders)} folders"
    table = "" if plan.table.path is None else f" Table: {plan.table.path}."
    files = f"{plan.left_out} file{'s' * (plan.left_out > 1)}"
    others = f"{files} (masks, weights or results of others)"
    left_out = f" Left out: {others}." if plan.left_out else ""
    skipped = states["skipped"]
    if skipped:
        images = "1 image that was" if skipped == 1 else f"{skipped} images that were"
        left_out += f" Left out: {images} corrected before."
    return (
        f"{states['corrected']} corrected, {states['unchanged']} unchanged, {states['failed']} "
        f"failed in {seconds:.1f} s. Results in {where}.{table}{left_out}"
    )


@click.command(
    cls=layout.Command,
    epilog="""
    Examples:
      n4ax demo
      n4ax demo -o results --num-threads 2
    """,
)
@correct_options.files(
    "-o",
    "--output",
    "folder",
    type=options.PATH,
    metavar="DIR",
    default=Path("n4ax-demo"),
    show_default=True,
    help="Folder for the results.",
)
@options.THREADS
@options.QUIET
@click.pass_context
def demo(context: click.Context, folder: Path, threads: int | None, quiet: bool) -> None:
    """Correct the head that comes with n4ax, and draw the result.

    The results are head_n4.nii.gz, head_field.nii.gz and, if matplotlib is installed, head_n4.png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draws = find_spec("matplotlib") is not None
    context.invoke(
        correct,
        images=(str(Path(__file__).parents[1] / "data" / "head.nii.gz"),),
        output=str(folder / "head_n4.nii.gz"),
        bias=str(folder / "head_field.nii.gz"),
        figure=str(folder / "head_n4.png") if draws else None,
        threads=threads,
        quiet=quiet,
    )
    if not draws and not quiet:
        print("for a picture: pip install 'n4ax[figure]'")
