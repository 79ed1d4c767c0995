"""The command ``n4ax apply``."""

import sys
from collections.abc import Callable
from os.path import realpath
from pathlib import Path
from typing import Any, Literal

import click

from n4ax.cli import layout, options
from n4ax.images.names import WRITTEN, find_files, find_suffix, name_result
from n4ax.messages import make_one_line

_files = layout.under_heading("Input and output")
_how = layout.under_heading("What is done")


@click.command(
    cls=layout.Command,
    epilog="""
    Examples:
      n4ax apply t1w_field.npz t2w.nii.gz flair.nii.gz
      n4ax apply t1w_field.npz bold.nii.gz -o bold_corrected.nii.gz
      n4ax apply t1w_field.npz t1w_n4.nii.gz --invert --suffix _shaded
    """,
)
@click.argument("field", metavar="FIELD", type=options.INPUT_FILE)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@_files(
    "-o",
    "--output",
    type=options.PATH,
    metavar="FILE|DIR",
    help="Where to write: a file for one image, or a folder.  [default: the folder of each image]",
)
@_files(
    "--suffix",
    default="_n4",
    show_default=True,
    metavar="TEXT",
    help="What follows the name of an image in the name of its result.",
)
@_files("--overwrite", is_flag=True, help="Replace results that are there already.")
@_how(
    "--by",
    type=click.Choice(("space", "index")),
    default="space",
    show_default=True,
    help="On another grid than that of the field: take the field where each voxel lies in space, "
    "or stretch it over the grid from the first to the last voxel, as ITK does.",
)
@_how("--invert", is_flag=True, help="Multiply by the field: take a correction back.")
@options.DTYPE
@options.QUIET
@click.pass_context
def apply(
    context: click.Context,
    field: Path,
    images: tuple[str, ...],
    output: Path | None,
    suffix: str,
    overwrite: bool,
    by: Literal["space", "index"],
    invert: bool,
    dtype: Literal["float32", "same"],
    quiet: bool,
) -> None:
    """Divide images by a field that was found before.

    FIELD is a file that n4ax correct wrote, by --field (t1w_field.npz, which fits every grid) or by
    --bias. IMAGE is any image of the same person: another contrast, another grid, a series.
    """
    from n4ax.correction.names import find_images

    with options.use_option_names(apply):
        found_images = find_images(images)
    targets = [_name_result(image, output, suffix, len(found_images)) for image in found_images]
    _check_targets(targets, [field, *found_images], overwrite)

    from n4ax.images import nifti
    from n4ax.saved_field import apply_field, read_field
    from n4ax.scan import read_scan

    with options.name_missing_extra("simpleitk"), options.use_option_names(apply):
        found = read_field(field)

        def apply_to(image: Path, target: Path) -> None:
            scan = read_scan(image)
            voxels = apply_field(found, scan, by=by, invert=invert)
            _write(nifti.replace_voxels(scan.image, voxels, dtype), target)
            if not quiet:
                done = "Multiplied" if invert else "Divided"
                print(f"{done} {image} by {field}. Wrote {target}.")

        if len(targets) == 1:
            apply_to(found_images[0], targets[0])
            return
        for folder in {path.parent for path in targets}:
            folder.mkdir(parents=True, exist_ok=True)
        if _apply_to_each(apply_to, dict(zip(found_images, targets, strict=True))):
            context.exit(options.SOME_FAILED)


def _apply_to_each(apply_to: Callable[[Path, Path], None], results: dict[Path, Path]) -> bool:
    """Apply the field to every image; name those that it cannot be applied to, and return if any.

    The results of the others are there, each of them whole.
    """
    from n4ax.correction.work import describe_error

    reasons: dict[Path, str] = {}
    for image, target in results.items():
        try:
            apply_to(image, target)
        except (ValueError, OSError) as error:
            reasons[image] = describe_error(error, options.option_names(apply))
    for image, reason in reasons.items():
        place = "" if reason.startswith(str(image)) else f"{image}: "
        print(f"n4ax: failed: {make_one_line(place + reason)}", file=sys.stderr)
    return bool(reasons)


def _name_result(image: Path, output: Path | None, suffix: str, count: int) -> Path:
    """The file that the result for an image is written to."""
    beside = name_result(image, suffix)
    if output is None and not suffix:
        raise ValueError(
            "--suffix is empty, so that the result would have the name of an image: give --output"
        )
    if output is None:
        return beside
    is_folder = output.is_dir() or (count > 1 and not find_suffix(output) and not output.exists())
    if is_folder:
        return output / beside.name
    if count > 1:
        raise ValueError(f"--output {output} is one file for {count} images: give a folder")
    if find_suffix(output) not in WRITTEN:
        raise ValueError(
            f"--output {output}: expected a folder that exists, or a name ending in "
            f"{' or '.join(WRITTEN)}"
        )
    return output


def _check_targets(targets: list[Path], inputs: list[Path], overwrite: bool) -> None:
    """Refuse results that could not be written, before any work is done."""
    from n4ax.files import check_writable

    sources = {realpath(file) for path in inputs for file in find_files(path)}
    seen: set[str] = set()
    missing = {path.parent for path in targets if len(targets) > 1 and not path.parent.exists()}
    for target in (file for path in targets for file in find_files(path)):
        place = realpath(target)
        if place in sources:
            raise ValueError(f"{target} would overwrite an input: choose another --suffix")
        if place in seen:
            raise ValueError(f"two results would be {target}: apply the field to one at a time")
        if target.exists() and not overwrite:
            raise ValueError(f"{target} exists: give --overwrite to replace it, or --suffix")
        seen.add(place)
        if target.parent not in missing:
            check_writable(target)


def _write(image: Any, target: Path) -> None:
    """Write a result, which appears whole or not at all."""
    from n4ax.images.writing import write_images
    from n4ax.processors import choose_thread_count

    write_images({target: image}, choose_thread_count())
