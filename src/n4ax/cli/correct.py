"""``n4ax correct`` and ``n4ax demo``."""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

import n4ax
from n4ax.settings import N4Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from nibabel.nifti1 import Nifti1Pair

    from n4ax.estimation import N4Result
    from n4ax.series import Estimate

_PRESETS = ("simpleitk", "ants", "antspy", "fast")
_MASK_WORDS = {"otsu": "otsu", "none": "all"}
_SUFFIXES = {
    "--output": (".nii", ".nii.gz"),
    "--bias": (".nii", ".nii.gz"),
    "--field": (".npz",),
    "--figure": (".png",),
}
_WORD = r"[\w.+-]*\w"


def _numbers(
    _context: click.Context, option: click.Parameter, text: str | None
) -> int | tuple[int, ...] | None:
    """``4`` to 4, ``4x4x3`` to (4, 4, 3)."""
    if text is None:
        return None
    try:
        values = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form 4 or 4x4x3", param=option) from None
    return values[0] if len(values) == 1 else values


def _series(
    _context: click.Context, option: click.Parameter, text: str | None
) -> "Estimate | None":
    """``mean``, ``first`` and ``each``, or the number of a volume."""
    if text is None or text in ("mean", "first", "each"):
        return text  # type: ignore[return-value]
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is not mean, first, each or a number", param=option)
    return int(text)


def _options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


_PATH = click.Path(path_type=Path)
_INPUT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_THREADS = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads to use; the result does not depend on it.  [default: all]",
)
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")

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
    click.option(
        "--non-positive",
        type=click.Choice(("itk", "exclude", "offset")),
        help="Intensities in the mask that are not above 0: as ITK, leave them out, or raise the "
        "image for the estimation.",
    ),
    click.option(
        "--scale",
        type=click.Choice(("itk", "mean", "unit-field", "minmax")),
        help="Level of the result: as it comes, mean kept, field of mean 1, or input's range.",
    ),
)


class _Scan(NamedTuple):
    """An image file, and what is in it."""

    path: Path
    image: "Nifti1Pair"
    voxels: "npt.NDArray[np.float32]"


class _Done(NamedTuple):
    """What was worked on, and what to write."""

    scan: _Scan
    """The image, or of a series the volume that the field was estimated on."""
    inside: "npt.NDArray[np.float32] | str"
    corrected: "npt.NDArray[np.float32]"
    log_bias: "npt.NDArray[np.float32]"
    results: "list[N4Result]"


class _Outputs(NamedTuple):
    """The files to write."""

    corrected: Path
    bias: Path | None
    field: Path | None
    figure: Path | None

    def given(self) -> list[tuple[str, Path]]:
        """Option and path of each."""
        return [
            (option, path) for option, path in zip(_SUFFIXES, self, strict=True) if path is not None
        ]


@click.command(
    epilog="""\b
    Examples:
      n4ax correct head.nii.gz -o corrected.nii.gz --bias field.nii.gz
      n4ax correct head.nii.gz --mask brain.nii.gz --shrink 4 --figure check.png
      n4ax correct epi.nii.gz --preset ants --spline-distance 200
    """
)
@click.argument("image", metavar="INPUT", type=_INPUT_FILE)
@click.option("-o", "--output", type=_PATH, help="Corrected image.  [default: INPUT_n4.nii.gz]")
@click.option(
    "--mask",
    metavar="FILE|otsu|none",
    help="Voxels to use; none is the whole image.  [default: otsu; none with --preset ants or "
    "antspy]",
)
@click.option("--weights", type=_INPUT_FILE, metavar="FILE", help="Confidence of each voxel.")
@click.option(
    "--series",
    callback=_series,
    metavar="mean|first|each|N",
    help="Of a 4-D image: estimate one field on the mean, the first or the N-th volume (from 0) "
    "and apply it to all, or one for each.  [default: a field in space and time]",
)
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
@_THREADS
@click.option(
    "--engine",
    type=click.Choice(("cpu", "xla")),
    help="Compiled for the CPU, or JAX.  [default: xla where JAX has a GPU, else cpu]",
)
@_QUIET
@_SETTINGS
def correct(
    image: Path,
    output: Path | None,
    mask: str | None,
    weights: Path | None,
    series: "Estimate | None",
    bias: Path | None,
    field: Path | None,
    figure: Path | None,
    dtype: Literal["float32", "same"],
    threads: int | None,
    engine: Literal["cpu", "xla"] | None,
    quiet: bool,
    preset: str,
    **given: Any,
) -> None:
    """Correct the bias field of a NIfTI image."""
    start = time.perf_counter()
    if quiet:
        logging.disable(logging.WARNING)
    if mask is None:
        mask = "none" if preset in ("ants", "antspy") else "otsu"
    settings = _settings(preset, given)
    outputs = _Outputs(output or _default_output(image), bias, field, figure)
    _check_outputs(outputs, [image, weights, None if mask in _MASK_WORDS else Path(mask)])

    if series == "each" and field is not None:
        raise ValueError("--field is for one field, and --series each makes many: use --bias")
    scan = _read(image)
    done = _worked(scan, settings, series, mask, weights, engine, threads, quiet)
    _write(outputs, scan, done, dtype)
    if not quiet:
        print(_summary(scan, mask, done, outputs, time.perf_counter() - start))


def _worked(
    scan: _Scan,
    settings: N4Settings,
    series: "Estimate | None",
    mask: str,
    weights: Path | None,
    engine: Literal["cpu", "xla"] | None,
    threads: int | None,
    quiet: bool,
) -> _Done:
    from n4ax import nifti

    volume = scan if series is None else _first_volume(scan)
    inside: Any = _MASK_WORDS[mask] if mask in _MASK_WORDS else _on_grid(Path(mask), volume)
    keywords: dict[str, Any] = {
        "weights": None if weights is None else _on_grid(weights, volume),
        "spacing": nifti.voxel_sizes(volume.image),
        "affine": nifti.affine_of(scan.image),
        "engine": engine,
        "num_threads": threads,
    }
    with _progress(scan.path.name, settings, quiet) as watch, _options_named():
        if series is None:
            from n4ax.estimation import fit_with

            result = fit_with(
                settings, scan.voxels, inside, progress=watch, trace=False, **keywords
            )
            return _Done(scan, inside, result.corrected, result.log_bias, [result])
        from n4ax.series import correct_series

        found = correct_series(
            settings, scan.voxels, inside, estimate=series, progress=watch, **keywords
        )
        volume = volume._replace(voxels=found.volume)
        return _Done(volume, inside, found.corrected, found.log_bias, found.results)


@click.command(
    epilog="""\b
    Examples:
      n4ax demo
      n4ax demo -o results --threads 2
    """
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=_PATH,
    default=Path("n4ax-demo"),
    show_default=True,
    help="Folder for the results.",
)
@_THREADS
@_QUIET
@click.pass_context
def demo(context: click.Context, folder: Path, threads: int | None, quiet: bool) -> None:
    """Correct the packaged head, and draw it before and after."""
    folder.mkdir(parents=True, exist_ok=True)
    context.invoke(
        correct,
        image=Path(n4ax.__file__).parent / "data" / "head.nii.gz",
        output=folder / "head_n4.nii.gz",
        bias=folder / "head_field.nii.gz",
        figure=folder / "head_n4.png",
        threads=threads,
        quiet=quiet,
    )


def _default_output(image: Path) -> Path:
    stem = image.name.removesuffix(".gz")
    for suffix in (".nii", ".hdr", ".img"):
        stem = stem.removesuffix(suffix)
    return image.with_name(f"{stem}_n4.nii.gz")


def _settings(preset: str, given: dict[str, Any]) -> N4Settings:
    keywords = {name: value for name, value in given.items() if value is not None}
    if isinstance(keywords.get("iters"), int):
        keywords["iters"] = (keywords["iters"],)
    start = getattr(N4Settings, preset)().keywords()
    with _options_named():
        return N4Settings(**{**start, **keywords, "voxel_order": "F"})


@contextmanager
def _options_named() -> Iterator[None]:
    """Errors of the library, told in the words of the command line."""
    try:
        yield
    except ValueError as error:
        raise ValueError(_in_options(str(error))) from None


def _in_options(message: str) -> str:
    """``shrink_factor=4`` to ``--shrink 4``, and parameters without a value likewise."""

    def option_and_value(found: re.Match[str]) -> str:
        return f"{option} {'x'.join(re.findall(_WORD, found[1]))}"

    for parameter in correct.params:
        name = str(parameter.name)
        is_option = isinstance(parameter, click.Option)
        option = max(parameter.opts, key=len) if is_option else parameter.human_readable_name
        message = re.sub(rf'\b{name}=("[^"]*"|\([^)]*\)|{_WORD})', option_and_value, message)
        # Names such as mask are also English words, and a parameter only at the beginning.
        message = re.sub(rf"\b{name}\b" if "_" in name else rf"^{name}(?= )", option, message)
    return message


def _check_outputs(outputs: _Outputs, inputs: list[Path | None]) -> None:
    """Everything that can be known of the outputs before the work is done."""
    from n4ax.atomic import check_writable

    for option, path in outputs.given():
        suffixes = _SUFFIXES[option]
        if not path.name.endswith(suffixes):
            expected = " or ".join(suffixes)
            raise ValueError(f"{option} {path}: expected a name ending in {expected}")
        for source in inputs:
            if source is not None and realpath(source) == realpath(path):
                raise ValueError(
                    f"{option} {path} would overwrite the input {source}: choose another name"
                )
        if sum(realpath(path) == realpath(other) for _, other in outputs.given()) > 1:
            raise ValueError(f"{path} is named for two outputs: choose another name for one")
        check_writable(path)


def _read(path: Path) -> _Scan:
    from n4ax import nifti

    image = nifti.read_image(path)
    return _Scan(path, image, nifti.read_voxels(image, path))


def _first_volume(scan: _Scan) -> _Scan:
    """The first volume of a series, for its grid."""
    shape = scan.image.shape
    if len(shape) != 4:
        raise ValueError(f"{scan.path} has shape {shape}; --series is for images of 4 axes")
    return _Scan(scan.path, scan.image.slicer[..., 0], scan.voxels[..., 0])  # type: ignore[arg-type]


def _on_grid(path: Path, scan: _Scan) -> "npt.NDArray[np.float32]":
    from n4ax import nifti

    return nifti.voxels_on_grid(path, scan.image, scan.path)


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
        # File names may have brackets, which are not to be taken for markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}", markup=False),
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


def _write(
    outputs: _Outputs,
    scan: _Scan,
    done: _Done,
    dtype: Literal["float32", "same"],
) -> None:
    """All files or none: they get their names only after the last is written."""
    import numpy as np

    from n4ax import nifti
    from n4ax.atomic import replaced

    with ExitStack() as stack:
        place = {path: stack.enter_context(replaced(path)) for _, path in outputs.given()}
        corrected = nifti.with_voxels(scan.image, done.corrected, dtype)
        nifti.write_image(corrected, place[outputs.corrected])
        if outputs.bias is not None:
            bias = nifti.with_voxels(scan.image, np.exp(done.log_bias))
            nifti.write_image(bias, place[outputs.bias])
        if outputs.field is not None:
            done.results[0].field.save(place[outputs.field])
        if outputs.figure is not None:
            _draw(place[outputs.figure], done)


def _draw(path: Path, done: _Done) -> None:
    import numpy as np

    from n4ax import nifti
    from n4ax.figure import save_figure
    from n4ax.otsu import otsu_mask

    (scan, inside), result = done[:2], done.results[0]
    if not isinstance(inside, str):
        mask = result.settings.inside(inside)
    elif inside == "all":
        mask = np.ones(scan.voxels.shape, bool)
    else:
        mask = otsu_mask(scan.voxels).astype(bool)
    count = sum(result.iterations)
    title = f"{scan.path.name}  ·  n4ax {n4ax.__version__}  ·  {count} iterations"
    affine = nifti.affine_of(scan.image)
    save_figure(path, scan.voxels, result.log_bias, result.corrected, mask, affine, title)


def _summary(scan: _Scan, mask: str, done: _Done, outputs: _Outputs, seconds: float) -> str:
    import numpy as np

    result = done.results[0]
    low, high = np.exp(done.log_bias.min()), np.exp(done.log_bias.max())
    size = " x ".join(str(n) for n in scan.image.shape)
    levels = ", ".join(
        f"{count} ({why})" for count, why in zip(result.iterations, result.stopped, strict=True)
    )
    written = ", ".join(str(path) for _, path in outputs.given())
    of_many = " (volume 0)" if len(done.results) > 1 else ""
    return (
        f"{scan.path}: {size} voxels, mask {mask}. Iterations per level{of_many}: {levels}. "
        f"The field runs from {low:.3f} to {high:.3f}. Wrote {written} in {seconds:.1f} s."
    )
