"""The commands ``n4ax correct`` and ``n4ax demo``."""

import time
from importlib.util import find_spec
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from n4ax.cli import options
from n4ax.cli.itk_options import SAME_BITS
from n4ax.cli.progress import show_iterations
from n4ax.extras import need_extra
from n4ax.images.names import ITK, WRITTEN, find_stem, find_suffix, name_result
from n4ax.version import __version__

if TYPE_CHECKING:
    from n4ax.scan import CorrectedScan, Scan
    from n4ax.series import Estimate, Series

_SUFFIXES = {
    "--output": WRITTEN,
    "--bias": WRITTEN,
    "--field": (".npz",),
    "--figure": (".png",),
}

_files = options.under_heading("Input and output")
_series = options.under_heading("Series of volumes (4-D)")


@click.command(
    cls=options.Command,
    epilog="""
    Examples:
      n4ax correct head.nii.gz
      n4ax correct head.nii.gz -o corrected.nii.gz --figure check.png
      n4ax correct head.nii.gz --mask brain.nii.gz --shrink 4 --bias field.nii.gz
      n4ax correct t1w.nii.gz --preset ants --spline-distance 200
      n4ax correct bold.nii.gz --series mean --scale mean
      n4ax correct dwi.nii.gz --series b0 --mask brain.nii.gz
    """,
)
@click.argument("image", metavar="INPUT", type=options.INPUT_IMAGE)
@_files(
    "-o",
    "--output",
    type=options.PATH,
    metavar="FILE",
    help="Corrected image.  [default: INPUT_n4.nii.gz; .mgz, .nrrd, .mha and .mnc stay such]",
)
@_files(
    "--mask",
    callback=options.read_mask,
    metavar="FILE|otsu|all",
    help="Where to estimate the field: the mask in a file, otsu (above Otsu's threshold), or all "
    "(the whole image; none means the same).  [default: otsu; all with --preset ants or antspy]",
)
@_files(
    "--figure",
    type=options.PATH,
    metavar="PNG",
    help="Draw the image before and after the correction, and the field.",
)
@_files(
    "--bias",
    type=options.PATH,
    metavar="FILE",
    help="Write the field as an image; INPUT / field = corrected image.",
)
@_files(
    "--field",
    type=options.PATH,
    metavar="NPZ",
    help="Write the field's control points, which n4ax.BiasField.load reads.",
)
@_files(
    "--weights",
    type=options.INPUT_FILE,
    metavar="FILE",
    help="Confidence of each voxel; voxels that are not above 0 are left out.",
)
@_series(
    "--series",
    callback=options.read_series,
    metavar="WHICH",
    help="Divide all volumes by one field, which is estimated on their mean, on the first volume, "
    "on a volume by its number (from 0), on the mean of several (0,5,10), or on b0: the mean of "
    "the volumes without diffusion weighting, according to the .bval file beside INPUT. With "
    "each, every volume has its own field; with 4d, one field varies in space and time.  "
    "[required for a series]",
)
@options.b0_threshold(_series)
@options.ESTIMATION
@options.VOXELS
@options.RESULT
@SAME_BITS
@options.THREADS
@options.ENGINE
@options.QUIET
def correct(
    image: Path,
    output: Path | None,
    mask: str | None,
    weights: Path | None,
    series: "Series | None",
    bias: Path | None,
    field: Path | None,
    figure: Path | None,
    dtype: Literal["float32", "same"],
    threads: int | None,
    engine: Literal["cpu", "xla"] | None,
    quiet: bool,
    preset: str,
    b0_threshold: float,
    **given: Any,
) -> None:
    """Correct the bias field of an image.

    INPUT has 2 to 4 dimensions: NIfTI, .mgz of FreeSurfer, .nrrd, .mha, .mnc, or a series of DICOM
    (its folder, or one of its files). The field is estimated in the mask, and the whole image is
    divided by it. The output has the format of its name.
    """
    from n4ax.images.arguments import read_word

    start = time.perf_counter()
    mask = options.default_mask(preset) if mask is None else mask
    settings = options.make_settings(preset, given, correct)
    outputs = _Outputs(output or name_result(image, "_n4"), bias, field, figure)
    with options.name_missing_extra("simpleitk"):
        _check_outputs(outputs, [image, weights, None if read_word(mask) else Path(mask)])
    if series == "each" and field is not None:
        raise ValueError("--field writes one field, but --series each makes many: use --bias")

    from n4ax.pipeline import Run  # heavy, so after the checks
    from n4ax.scan import correct_scan, read_scan

    with options.name_missing_extra("simpleitk"), options.use_option_names(correct):
        scan = read_scan(image)
        estimate = _find_volumes(series, scan, b0_threshold)
        with show_iterations(image.name, settings, quiet) as progress:
            run = Run(engine, threads, progress)
            done = correct_scan(settings, scan, mask, series=estimate, weights=weights, run=run)
    figure_content, problem = _draw_figure(outputs, done)
    if problem:
        outputs = outputs._replace(figure=None)
    _write_outputs(outputs, scan, done, dtype, figure_content, threads)
    if not quiet:
        print(_summarise(scan, mask, done, outputs, time.perf_counter() - start))
    if problem:
        raise click.ClickException(problem)


@click.command(
    cls=options.Command,
    epilog="""
    Examples:
      n4ax demo
      n4ax demo -o results --threads 2
    """,
)
@_files(
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
        image=Path(__file__).parents[1] / "data" / "head.nii.gz",
        output=folder / "head_n4.nii.gz",
        bias=folder / "head_field.nii.gz",
        figure=folder / "head_n4.png" if draws else None,
        threads=threads,
        quiet=quiet,
    )
    if not draws and not quiet:
        print("for a picture: pip install 'n4ax[figure]'")


class _Outputs(NamedTuple):
    """The files to write; each field has the name of its option."""

    output: Path
    bias: Path | None
    field: Path | None
    figure: Path | None

    def items(self) -> list[tuple[str, Path]]:
        """The option and the path of each file that was asked for."""
        return [(f"--{name}", path) for name, path in self._asdict().items() if path is not None]


def _check_outputs(outputs: _Outputs, inputs: list[Path | None]) -> None:
    """Refuse outputs that could not be written, before any work is done."""
    from n4ax.files import check_writable

    sources = {realpath(path): path for path in inputs if path is not None}
    places = [realpath(path) for _, path in outputs.items()]
    for (option, path), place in zip(outputs.items(), places, strict=True):
        suffixes = _SUFFIXES[option]
        if not path.name.lower().endswith(suffixes):
            expected = " or ".join(suffixes)
            raise ValueError(f"{option} {path}: expected a name ending in {expected}")
        if place in sources:
            raise ValueError(
                f"{option} {path} would overwrite the input {sources[place]}: choose another name"
            )
        if places.count(place) > 1:
            raise ValueError(f"{path} is given for two outputs: choose another name for one")
        if find_suffix(path) in ITK:
            from n4ax.images.formats import load_itk

            load_itk(path)
        check_writable(path)


def _find_volumes(
    series: "Series | None", scan: "Scan", b0_threshold: float
) -> "Estimate | Literal['4d'] | None":
    """What to estimate the field on; ``b0`` is looked up in the file of b-values."""
    if series != "b0":
        return series
    from n4ax.series import find_unweighted_volumes

    bval = scan.path.with_name(f"{find_stem(scan.path)}.bval")
    return find_unweighted_volumes(bval, scan.volumes, b0_threshold)


def _draw_figure(outputs: _Outputs, done: "CorrectedScan") -> tuple[bytes, str]:
    """Draw the figure if it was asked for; return its content, and why it could not be drawn."""
    if outputs.figure is None:
        return b"", ""
    scan, result, mask = done.scan, done.results[0], done.mask
    count = sum(result.iterations)
    title = f"{scan.path.name}  ·  n4ax {__version__}  ·  {count} iterations"
    try:
        with need_extra("figure", "it"):
            from n4ax.figure import draw_figure

        volumes = scan.voxels, result.log_bias, result.corrected
        return draw_figure(*volumes, mask, scan.affine, title), ""
    except Exception as error:  # whatever is wrong with matplotlib, the images are worth keeping
        is_missing = isinstance(error, ImportError)
        reason = str(error) if is_missing else f"{type(error).__name__}: {error}"
        return b"", (
            f"--figure {outputs.figure} could not be drawn ({reason}); all other files were written"
        )


def _write_outputs(
    outputs: _Outputs,
    scan: "Scan",
    done: "CorrectedScan",
    dtype: Literal["float32", "same"],
    figure: bytes,
    threads: int | None,
) -> None:
    """Write all files or none."""
    from n4ax.files import replace_files, write_file
    from n4ax.images import nifti
    from n4ax.processors import choose_thread_count
    from n4ax.scan import make_bias_image, make_corrected_image

    count = threads or choose_thread_count()
    paths = [path for _, path in outputs.items()]
    with replace_files(paths) as places:
        temporary = dict(zip(paths, places, strict=True))
        corrected = make_corrected_image(scan, done, dtype)
        nifti.write_image(corrected, temporary[outputs.output], count)
        if outputs.bias is not None:
            nifti.write_image(make_bias_image(scan, done), temporary[outputs.bias], count)
        if outputs.field is not None:
            done.results[0].field.save(temporary[outputs.field])
        if outputs.figure is not None:
            write_file(temporary[outputs.figure], figure)


def _summarise(
    scan: "Scan", mask: str, done: "CorrectedScan", outputs: _Outputs, seconds: float
) -> str:
    """One paragraph that says what was corrected, how it went, and what was written."""
    import numpy as np

    result = done.results[0]
    low, high = np.exp(done.log_bias.min()), np.exp(done.log_bias.max())
    size = " x ".join(str(n) for n in scan.image.shape)
    levels = ", ".join(
        f"{count} ({why})" for count, why in zip(result.iterations, result.stopped, strict=True)
    )
    written = ", ".join(str(path) for _, path in outputs.items())
    of_many = " (volume 0)" if len(done.results) > 1 else ""
    return (
        f"{scan.path}: {size} voxels, mask {mask}. Iterations per level{of_many}: {levels}. "
        f"The field ranges from {low:.3f} to {high:.3f}. Wrote {written} in {seconds:.1f} s."
    )
