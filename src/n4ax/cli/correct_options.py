"""The options of ``n4ax correct`` that other commands do not have."""

from collections.abc import Callable
from typing import Any

import click

from n4ax.cli import layout, options

files = layout.under_heading("Input and output")
_many = layout.under_heading("Several images")
mask = layout.under_heading("Mask and weights")
_series = layout.under_heading("Series of volumes (4-D) and slices")


def _read_name(_context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """Read the name of a file or a pattern of names."""
    if text == "":
        raise click.BadParameter("the name is empty", param=option)
    return text


def _read_suffix(_context: click.Context, option: click.Parameter, text: str) -> str:
    """Read what follows a name, which is a part of a name itself."""
    if "/" in text or "\\" in text:
        raise click.BadParameter(f"{text!r} has a slash; give folders with --output", param=option)
    return text


def _read_labels(
    _context: click.Context, option: click.Parameter, text: str | None
) -> tuple[int, ...]:
    """Read ``2,41`` as (2, 41)."""
    try:
        return tuple(int(part) for part in text.split(",")) if text is not None else ()
    except ValueError:
        message = f"{text!r} is not a whole number such as 2, or several such as 2,41"
        raise click.BadParameter(message, param=option) from None


FILES = layout.combine_options(
    files(
        "-o",
        "--output",
        callback=_read_name,
        metavar="FILE|DIR",
        help="Corrected image, or the folder for the results.  [default: IMAGE_n4.nii.gz; .mgz, "
        ".nrrd, .mha and .mnc stay such]",
    ),
    files(
        "--figure",
        metavar="PNG",
        callback=_read_name,
        help="Draw the image before and after the correction, and the field.",
    ),
    files(
        "--bias",
        metavar="FILE",
        callback=_read_name,
        help="Write the field as an image; IMAGE / field = corrected image.",
    ),
    files(
        "--field",
        metavar="FILE",
        callback=_read_name,
        help="Write the field's control points, which n4ax apply and --init take: .npz, .nii.gz or "
        ".nii.",
    ),
    files(
        "--init",
        type=options.INPUT_FILE,
        metavar="FIELD",
        help="Start from a field that --field wrote; what is written is the whole field.",
    ),
    files(
        "--json",
        metavar="FILE",
        callback=_read_name,
        help="Write how the image was corrected: settings, iterations, versions, digests of the "
        "files.",
    ),
    files(
        "--already",
        type=click.Choice(("skip", "warn", "correct")),
        default="warn",
        show_default=True,
        help="Images that were corrected before, by the scanner or by n4ax, as their header or the "
        "JSON file of dcm2niix beside them says: leave them out, correct them with a note, or "
        "correct them.",
    ),
    files(
        "--strict",
        is_flag=True,
        help="Exit with status 1 if a result is suspicious: a note about its mask, its "
        "intensities or too strong a field. It is written all the same.",
    ),
    files(
        "--overwrite",
        is_flag=True,
        help="Replace results of several images that are there already and that no earlier run "
        "with the same table wrote.",
    ),
    files(
        "--methods",
        is_flag=True,
        help="Print text for the methods section of a paper, with its references; without IMAGE, "
        "do nothing else.",
    ),
)
SEVERAL = layout.combine_options(
    _many(
        "--suffix",
        default="_n4",
        show_default=True,
        callback=_read_suffix,
        metavar="TEXT",
        help="What follows the name of an image in the name of its result. In the names of masks "
        "and results, {stem} stands for the name of the image without its ending, and {folder} "
        "for its folder.",
    ),
    _many(
        "--jobs",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Images to correct at a time; each takes a share of the threads. Images that share a "
        "field are one piece of work.",
    ),
    _many(
        "--shared-field",
        is_flag=True,
        help="Estimate one field for all images, such as the echoes of one acquisition: volumes of "
        "one grid in one place.",
    ),
    _many(
        "--table",
        type=options.PATH,
        metavar="TSV",
        help="Table of what was done, with a JSON file beside it. A run that was stopped goes on "
        "where its table ends.  [default: n4ax.tsv in the folder of -o]",
    ),
)


def choose_mask(default: str) -> Callable[..., Any]:
    """The options that choose the mask; the help says what the default is."""
    return layout.combine_options(
        mask(
            "--mask",
            callback=options.read_mask,
            metavar="FILE|otsu|all",
            help="Where to estimate the field: the mask in a file, otsu (above Otsu's threshold), "
            "or all (the whole image). Several are combined by & (or +), | and !; "
            "labels.nii.gz=2,41 are labels, and p.nii.gz>0.5 is a threshold.  "
            f"[default: {default}]",
        ),
        mask(
            "--mask-label",
            callback=_read_labels,
            metavar="L[,L...]",
            help="The values of the mask that count as inside.  [default: every value but 0]",
        ),
        mask(
            "--mask-above",
            type=float,
            metavar="P",
            help="Values of the mask above this are inside, for maps of probabilities.",
        ),
        mask(
            "--mask-dilate",
            type=float,
            default=0.0,
            metavar="MM",
            help="Enlarge the mask by this distance in mm; a negative one makes it smaller.",
        ),
    )


MASK = layout.combine_options(
    choose_mask("otsu; all with --preset ants or antspy"),
    mask(
        "--mask-output",
        metavar="FILE",
        callback=_read_name,
        help="Write the mask that was used.",
    ),
    mask(
        "--tissues",
        multiple=True,
        metavar="FILE",
        help="Where tissues are, for --preset auto and for notes on how even they become: an image "
        "of labels, such as FreeSurfer's, or a map of probabilities (give the option for each).",
    ),
    mask(
        "--weights-from",
        type=click.Choice(("multiotsu",)),
        help="Work in stages, with classes of intensity as weights: first the dark ones, then the "
        "bright ones, then all but the darkest.",
    ),
    mask(
        "--weights",
        metavar="FILE",
        callback=_read_name,
        help="Confidence of each voxel; voxels that are not above 0 are left out.",
    ),
)
SERIES = layout.combine_options(
    _series(
        "--series",
        callback=options.read_series,
        metavar="WHICH",
        help="Divide all volumes by one field, which is estimated on their mean, on the first "
        "volume, on a volume by its number (from 0), on the mean of several (0,5,10), or on b0: "
        "the mean of the volumes without diffusion weighting, according to the .bval file beside "
        "IMAGE. With each, every volume has its own field; with 4d, one field varies in space and "
        "time.  [required for a series]",
    ),
    options.b0_threshold(_series),
    _series(
        "--slicewise",
        is_flag=True,
        help="Give each slice along the third axis a field of its own, for separate sections.",
    ),
)
