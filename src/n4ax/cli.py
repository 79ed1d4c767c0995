"""The command line: ``n4ax correct`` and ``n4ax demo``.

Heavy packages are loaded inside the commands, after the arguments are known to be good.
"""

import logging
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import n4ax
from n4ax.settings import N4Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from nibabel.nifti1 import Nifti1Pair

    from n4ax.correction import N4Result

BAD_INPUT = 2
"""Exit status for input that cannot be worked with."""

_OPTION_OF = {
    "iters": "--iterations",
    "conv_threshold": "--threshold",
    "shrink_factor": "--shrink",
    "spline_distance": "--spline-distance",
    "spline_order": "--spline-order",
    "mask_label": "--mask-label",
    "over_relax": "--over-relax",
    "nbins": "--bins",
    "wiener": "--noise",
    "fwhm": "--fwhm",
    "nonfinite": "--nonfinite",
    "engine": "--engine",
}
"""Options whose names differ from the library's keywords."""

_PRESETS = ("simpleitk", "ants", "antspy", "fast")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        status = n4ax_command.main(arguments, prog_name="n4ax", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_INPUT
    except click.ClickException as error:
        return _fail(f"{error.format_message()} (see --help)")
    except click.Abort:
        return 128 + signal.SIGINT
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except ValueError as error:
        return _fail(_as_options(str(error)))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}")
    except MemoryError:
        return _fail("not enough memory; try --shrink 2")


def console() -> None:
    """The installed program."""
    sys.exit(main())


def _stop(number: int, _frame: object) -> None:
    """Leave by an exception, so that temporary files are removed on the way."""
    raise SystemExit(128 + number)


def _fail(message: str) -> int:
    print(f"n4ax: error: {message}", file=sys.stderr)
    return BAD_INPUT


def _as_options(message: str) -> str:
    """A message of the library with its keywords as the options that they are here."""
    for keyword, option in _OPTION_OF.items():
        message = re.sub(rf'\b{keyword}="(\w+)"', rf"{option} \1", message)
        message = re.sub(
            rf"\b{keyword}\b(=)?", lambda m, o=option: o + (" " if m[1] else ""), message
        )
    return message


def _numbers(_context: click.Context, option: click.Parameter, text: str | None) -> Any:
    """``4`` to 4, ``4x4x3`` to (4, 4, 3)."""
    if text is None:
        return None
    try:
        values = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form 4 or 4x4x3", param=option) from None
    return values[0] if len(values) == 1 else values


def _examples(*lines: str) -> str:
    """Lines that click prints as they stand."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


_PATH = click.Path(path_type=Path)

_SETTINGS = _options(
    click.option(
        "--preset",
        type=click.Choice(_PRESETS),
        default="simpleitk",
        show_default=True,
        help="Whose defaults to start from; options given here win.",
    ),
    click.option(
        "--iterations",
        "iters",
        callback=_numbers,
        metavar="NxNx...",
        help="Most iterations at each level, such as 50x50x50x50.",
    ),
    click.option(
        "--threshold",
        "conv_threshold",
        type=float,
        metavar="T",
        help="End a level once the convergence measure is not above this.",
    ),
    click.option(
        "--shrink",
        "shrink_factor",
        callback=_numbers,
        metavar="N",
        help="Estimate on every N-th voxel (or AxBxC, per axis).",
    ),
    click.option(
        "--spline-distance",
        type=float,
        metavar="MM",
        help="Length of a mesh element at the first level, in mm.",
    ),
    click.option(
        "--mesh",
        callback=_numbers,
        metavar="AxBxC",
        help="Mesh elements per axis at the first level instead.",
    ),
    click.option("--spline-order", type=int, metavar="N", help="Order of the B-spline, 1 to 5."),
    click.option("--bins", "nbins", type=int, metavar="N", help="Histogram bins."),
    click.option("--fwhm", type=float, metavar="W", help="Width of the field's distribution."),
    click.option("--noise", "wiener", type=float, metavar="X", help="Wiener filter noise."),
    click.option(
        "--over-relax", type=float, metavar="A", help="Factor on every increment; 1 is N4."
    ),
    click.option(
        "--mask-label", type=int, metavar="L", help="Only this value of the mask is inside."
    ),
    click.option(
        "--outside",
        type=click.Choice(("divide", "keep", "zero")),
        help="What the corrected image is outside the mask.",
    ),
    click.option(
        "--nonfinite",
        type=click.Choice(("error", "exclude")),
        help="NaN and infinite voxels in the mask: stop, or leave them out.",
    ),
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog=_examples(
        "n4ax correct head.nii.gz",
        "n4ax correct head.nii.gz -o corrected.nii.gz --figure check.png",
        "n4ax correct head.nii.gz --mask brain.nii.gz --shrink 4",
        "n4ax demo",
    ),
)
@click.version_option(n4ax.__version__, prog_name="n4ax")
def n4ax_command() -> None:
    """N4 bias field correction with ITK's numbers."""


@n4ax_command.command(
    epilog=_examples(
        "n4ax correct head.nii.gz -o corrected.nii.gz --bias field.nii.gz",
        "n4ax correct epi.nii.gz --preset ants --spline-distance 200",
        "n4ax correct t1.nii.gz --mask brain.nii.gz --outside keep -q",
    )
)
@click.argument("image", metavar="INPUT", type=_PATH)
@click.option("-o", "--output", type=_PATH, help="Corrected image [default: INPUT_n4.nii.gz].")
@click.option("--mask", metavar="FILE|otsu|none", help="Voxels to use; none is the whole image.")
@click.option("--weights", type=_PATH, metavar="FILE", help="Confidence of each voxel.")
@click.option("--bias", type=_PATH, metavar="FILE", help="Write the field as an image.")
@click.option("--field", type=_PATH, metavar="FILE", help="Write its control points (.npz).")
@click.option("--figure", type=_PATH, metavar="PNG", help="Draw before, field and after.")
@click.option(
    "--dtype",
    type=click.Choice(("float32", "same")),
    default="float32",
    show_default=True,
    help="Voxel type of the output; same rounds and clips integers.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="[default: all]")
@click.option("--engine", type=click.Choice(("cpu", "xla")), help="[default: cpu]")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@_SETTINGS
def correct(
    image: Path,
    output: Path | None,
    mask: str | None,
    weights: Path | None,
    bias: Path | None,
    field: Path | None,
    figure: Path | None,
    dtype: Any,
    threads: int | None,
    engine: Any,
    quiet: bool,
    preset: str,
    **given: Any,
) -> None:
    """Correct the bias field of a NIfTI image."""
    start = time.perf_counter()
    if quiet:
        logging.getLogger("n4ax").setLevel(logging.ERROR)
    target = _default_output(image) if output is None else output
    settings = _settings(preset, given)
    _check_outputs(image, [target, bias], [field, figure])

    from n4ax import nifti

    scan = nifti.read_image(image)
    voxels = nifti.read_voxels(scan, image)
    if mask is None:
        mask = "none" if preset in ("ants", "antspy") else "otsu"
    inside = _mask_voxels(mask, scan, image)
    confidence = None
    if weights is not None:
        confidence = nifti.voxels_on_grid(weights, scan, image)

    with _progress(image.name, settings, quiet) as watch:
        from n4ax.correction import fit_with

        result = fit_with(
            settings,
            voxels,
            inside,
            weights=confidence,
            spacing=nifti.voxel_sizes(scan),
            affine=nifti.affine_of(scan),
            engine=engine,
            num_threads=threads,
            progress=watch,
            trace=False,
        )
    nifti.write_image(nifti.with_voxels(scan, result.corrected, dtype), target)
    written = [target]
    if bias is not None:
        import numpy as np

        nifti.write_image(nifti.with_voxels(scan, np.exp(result.log_bias)), bias)
        written.append(bias)
    if field is not None:
        result.field.save(field)
        written.append(field)
    if figure is not None:
        _draw(figure, image.name, scan, voxels, inside, result)
        written.append(figure)
    if not quiet:
        _summary(image, scan, mask, result, written, time.perf_counter() - start)


@n4ax_command.command()
@click.option(
    "-o",
    "--output",
    "folder",
    type=_PATH,
    default=Path("n4ax-demo"),
    show_default=True,
    help="Folder for the results.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="[default: all]")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def demo(context: click.Context, folder: Path, threads: int | None, quiet: bool) -> None:
    """Correct the packaged head, and draw it before and after."""
    folder.mkdir(parents=True, exist_ok=True)
    context.invoke(
        correct,
        image=Path(__file__).parent / "data" / "head.nii.gz",
        output=folder / "head_n4.nii.gz",
        bias=folder / "head_field.nii.gz",
        figure=folder / "head_n4.png",
        threads=threads,
        quiet=quiet,
    )


def _default_output(image: Path) -> Path:
    stem = image.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".hdr")
    return image.with_name(f"{stem}_n4.nii.gz")


def _settings(preset: str, given: dict[str, Any]) -> N4Settings:
    keywords = {name: value for name, value in given.items() if value is not None}
    if isinstance(keywords.get("iters"), int):
        keywords["iters"] = (keywords["iters"],)
    start = getattr(N4Settings, preset)().keywords()
    return N4Settings(**{**start, **keywords, "voxel_order": "F"})


def _check_outputs(image: Path, images: list[Path | None], others: list[Path | None]) -> None:
    """Everything that can be known of the outputs before the work is done."""
    from n4ax.atomic import check_writable

    named = [path for path in images + others if path is not None]
    for path in named:
        if path.exists() and image.exists() and path.samefile(image):
            raise ValueError(f"{path} is the input and would be overwritten: choose another output")
        if sum(path.absolute() == other.absolute() for other in named) > 1:
            raise ValueError(f"{path} is named for two outputs: choose another name for one")
        check_writable(path)
    for path in images:
        if path is not None and not path.name.endswith((".nii", ".nii.gz")):
            raise ValueError(f"{path}: expected a name ending in .nii or .nii.gz")


def _mask_voxels(mask: str, scan: "Nifti1Pair", image: Path) -> Any:
    if mask in ("otsu", "none"):
        return "all" if mask == "none" else "otsu"
    from n4ax import nifti

    return nifti.voxels_on_grid(Path(mask), scan, image)


@contextmanager
def _progress(
    name: str, settings: N4Settings, quiet: bool
) -> Iterator[Callable[[int, int, int, float], None] | None]:
    """A live line on a terminal; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    levels = len(settings.iters)
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(name, total=sum(settings.iters), state="")

        def watch(level: int, iteration: int, limit: int, measure: float) -> None:
            done = sum(settings.iters[:level]) + iteration
            state = f"level {level + 1} of {levels}  {iteration:3d}/{limit}  {measure:.6f}"
            display.update(task, completed=done, state=state)

        yield watch


def _draw(
    figure: Path,
    name: str,
    scan: "Nifti1Pair",
    voxels: "npt.NDArray[np.float32]",
    inside: Any,
    result: "N4Result",
) -> None:
    import numpy as np

    from n4ax.figure import save_figure
    from n4ax.nifti import affine_of
    from n4ax.otsu import otsu_mask

    if isinstance(inside, str):
        inside = np.ones(voxels.shape) if inside == "all" else otsu_mask(voxels)
    title = f"{name}  ·  n4ax {n4ax.__version__}  ·  {sum(result.iterations)} iterations"
    save_figure(
        figure, voxels, result.log_bias, result.corrected, inside != 0, affine_of(scan), title
    )


def _summary(
    image: Path,
    scan: "Nifti1Pair",
    mask: str,
    result: "N4Result",
    written: list[Path],
    seconds: float,
) -> None:
    import numpy as np

    low, high = np.exp(result.log_bias.min()), np.exp(result.log_bias.max())
    size = " x ".join(str(n) for n in scan.shape)
    levels = ", ".join(
        f"{count} ({why})" for count, why in zip(result.iterations, result.stopped, strict=True)
    )
    print(
        f"{image}: {size} voxels, mask {mask}. Iterations per level: {levels}. "
        f"The field runs from {low:.3f} to {high:.3f}. "
        f"Wrote {', '.join(map(str, written))} in {seconds:.1f} s."
    )
