"""The command ``n4ax tune``."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from n4ax.cli import correct_options, layout, options
from n4ax.cli.image_progress import show_images
from n4ax.signals import say_when_stopped

if TYPE_CHECKING:
    from n4ax.correction.recipe import Recipe, Task
    from n4ax.tuning import Tuning

_series = layout.under_heading("Series of volumes (4-D)")


@click.command(
    cls=layout.Command,
    epilog="""
    Examples:
      n4ax tune head.nii.gz
      n4ax tune scans --mask '{stem}_mask.nii.gz' -o tuning
      n4ax tune scans --mask '{stem}_mask.nii.gz' \\
        --tissues 'tissues/{stem}_seg.nii.gz' -o tuning
      n4ax tune bold.nii.gz --series mean --mask brain.nii.gz
    """,
)
@click.argument("images", metavar="IMAGE...", nargs=-1)
@correct_options.files(
    "-o",
    "--output",
    type=options.FOLDER,
    metavar="DIR",
    help="Write tune.tsv, tune.json (everything that was tried) and tune.png to this folder.  "
    "[default: write nothing]",
)
@correct_options.choose_mask("otsu")
@correct_options.mask(
    "--tissues",
    multiple=True,
    metavar="FILE",
    help="Where tissues are, to take what makes them most even: an image of labels, such as "
    "FreeSurfer's, or a map of probabilities (give the option for each). For several images give a "
    "pattern such as {stem}_seg.nii.gz.",
)
@_series(
    "--series",
    callback=options.read_series,
    metavar="WHICH",
    help="What the field of a series is estimated on: mean, first, b0, the number of a volume "
    "(from 0) or several such as 0,5,10.  [required for a series]",
)
@options.b0_threshold(_series)
@options.POLICIES
@options.THREADS
@options.QUIET
@click.pass_context
def tune(
    context: click.Context,
    images: tuple[str, ...],
    output: Path | None,
    tissues: tuple[str, ...],
    quiet: bool,
    **given: Any,
) -> None:
    """Find one setting for all images of a study, on a few of them.

    IMAGE is as for n4ax correct. With --tissues, all images are tried with the same settings, and
    those are taken after which the tissues are most even. Without, settings are taken that belong
    to the shading of the images. No correction may be the best. No image is changed.
    """
    if not images:
        raise click.UsageError("give an image, a folder, or several of them", context)
    with options.name_missing_extra("simpleitk"), options.use_option_names(tune):
        recipe = _make_recipe(given)
        tasks = _find_tasks(images, tissues, recipe)
        if output is not None:
            from n4ax.tuning.record import check_folder

            check_folder(output)
        tuning = _search(recipe, tasks, quiet)
        commands = _write_commands(context, tuning, recipe)
        if not quiet:
            _print(tuning, commands, recipe.series is not None)
        if output is not None:
            _write(output, tuning, recipe, tasks, commands, quiet)


class _Tried(NamedTuple):
    """An image that has been tried, for the progress."""

    source: str
    state: str = "tried"
    reason: str = ""


def _make_recipe(given: dict[str, Any]) -> "Recipe":
    from n4ax.correction.recipe import Recipe
    from n4ax.mask_files import MaskChoice

    policies = {name: given[name] for name in ("non_positive", "nonfinite")}
    return Recipe(
        options.make_settings("auto", policies, tune),
        MaskChoice(
            given["mask"] or "otsu", given["mask_label"], given["mask_above"], given["mask_dilate"]
        ),
        series=given["series"],
        b0_threshold=given["b0_threshold"],
        threads=given["threads"],
        names=options.option_names(tune),
    )


def _find_tasks(
    images: tuple[str, ...], tissues: tuple[str, ...], recipe: "Recipe"
) -> "list[Task]":
    """Find the images with their masks and tissues."""
    from n4ax.correction.plan import Wish, plan_tasks

    return plan_tasks(Wish(images, tissues=tissues), recipe)


def _search(recipe: "Recipe", tasks: "list[Task]", quiet: bool) -> "Tuning":
    from n4ax.tuning import find_settings
    from n4ax.tuning.study import look_at_images

    with (
        show_images(len(tasks), quiet) as show,
        say_when_stopped(lambda: "stopped; no file was written"),
    ):
        looks = look_at_images(recipe, tasks)
        on_image = None if show is None else lambda name: show(_Tried(name))
        return find_settings(recipe.settings, looks, on_image)


_REPEATED = (
    "mask", "mask_label", "mask_above", "mask_dilate", "series", "b0_threshold", "non_positive",
    "nonfinite",
)  # fmt: skip
"""The options that mean the same for ``n4ax correct``."""


def _write_commands(
    context: click.Context, tuning: "Tuning", recipe: "Recipe"
) -> dict[str, list[str]]:
    """The words of the command lines to use afterwards, by the program; none to leave images."""
    from n4ax.tuning.commands import write_ants, write_n4ax

    if tuning.leaves:
        return {}
    repeated: list[str] = []
    for name in _REPEATED:
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            value = context.params[name]
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            repeated += [recipe.names[name], text]
    return {
        "n4ax": write_n4ax(tuning.settings, repeated),
        "ANTs": write_ants(tuning.settings, has_mask=recipe.mask.text != "all"),
    }


def _print(tuning: "Tuning", commands: dict[str, list[str]], of_series: bool) -> None:
    from n4ax.tuning.commands import wrap
    from n4ax.tuning.tables import write_tables

    print(write_tables(tuning))
    for program, words in commands.items():
        print(f"\nWith {program}:\n")
        print("\n".join(f"  {line}" for line in wrap(words)))
    if commands and of_series:
        print("\nFor ANTs, IMAGE is the volume that the field is estimated on.")


def _write(
    folder: Path,
    tuning: "Tuning",
    recipe: "Recipe",
    tasks: "list[Task]",
    commands: dict[str, list[str]],
    quiet: bool,
) -> None:
    from n4ax.tuning.record import describe, write_results

    lines = {program: shlex.join(words) for program, words in commands.items()}
    files, problem = write_results(folder, tuning, describe(tuning, recipe, tasks, lines))
    if quiet:
        return
    print(f"\nWrote {', '.join(map(str, files))}.")
    if problem:
        print(f"n4ax: note: {problem}", file=sys.stderr)
