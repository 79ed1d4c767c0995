"""Options that several commands have in common."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from n4ax.errors import InputError
from n4ax.settings import N4Settings

if TYPE_CHECKING:
    from n4ax.series import Estimate

_PRESETS = ("simpleitk", "ants", "antspy", "fast")
_WORD = r"[\w.+-]*\w"


def read_numbers(
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


def read_series(
    _context: click.Context, option: click.Parameter, text: str | None
) -> "Estimate | Literal['b0'] | None":
    """``mean``, ``first``, ``each`` and ``b0``, or the numbers of volumes."""
    if text is None or text in ("mean", "first", "each", "b0"):
        return text  # type: ignore[return-value]
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise click.BadParameter(
            f"{text!r} is not mean, first, each, b0 or numbers such as 0,5,10", param=option
        )
    volumes = tuple(int(word) for word in words)
    return volumes[0] if len(volumes) == 1 else volumes


def combine_options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """One decorator of several, the first outermost."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


class Option(click.Option):
    """An option with the heading that the help lists it under."""

    def __init__(self, *names: Any, heading: str, **given: Any) -> None:
        super().__init__(*names, **given)
        self.heading = heading


def under_heading(heading: str) -> Callable[..., Any]:
    """``click.option`` for the options of a heading."""
    return partial(click.option, cls=Option, heading=heading)


def write_examples(text: str | None, formatter: click.HelpFormatter) -> None:
    """Write an epilog as it stands: click would fill its lines."""
    formatter.write(f"\n{cleandoc(text or '')}\n")


class Command(click.Command):
    """A command whose help has headings, in the order of the options, and examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples."""
        write_examples(self.epilog, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options, those of a heading together."""
        lists: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                lists.setdefault(getattr(parameter, "heading", "Other"), []).append(record)
        for heading, records in lists.items():
            with formatter.section(heading if len(lists) > 1 else "Options"):
                formatter.write_dl(records, col_max=26)


PATH = click.Path(path_type=Path)
INPUT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_voxels = under_heading("Voxels to estimate on")
_estimation = under_heading("Estimation (defaults of --preset simpleitk)")
_result = under_heading("Level and outside of the result")
_machine = under_heading("Machine")

THREADS = _machine(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads to use; the result does not depend on it.  [default: all]",
)
ENGINE = _machine(
    "--engine",
    type=click.Choice(("cpu", "xla")),
    help="Compiled for the CPU, or JAX.  [default: xla where JAX has a GPU, else cpu]",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")

ESTIMATION = combine_options(
    _estimation(
        "--preset",
        type=click.Choice(_PRESETS),
        default="simpleitk",
        show_default=True,
        help="Whose defaults to start from; options given here win. ants: shrink 4, threshold 0, "
        "no mask; antspy: the same with threshold 1e-7; fast: near to all iterations at threshold "
        "0 in less time.",
    ),
    _estimation(
        "--shrink",
        "shrink_factor",
        callback=read_numbers,
        metavar="N|AxBxC",
        help="Estimate on every N-th voxel, along all axes or each.  "
        f"[default: {N4Settings.shrink_factor}]",
    ),
    _estimation(
        "--spline-distance",
        type=float,
        metavar="MM",
        help="Length of a mesh element at the first level, in mm; each level halves it.  "
        "[default: by --mesh]",
    ),
    _estimation(
        "--mesh",
        callback=read_numbers,
        metavar="N|AxBxC",
        help="Or the number of mesh elements at the first level, along all axes or each.  "
        "[default: 1, more with a --spline-order below 3]",
    ),
    _estimation(
        "--iterations",
        "iters",
        callback=read_numbers,
        metavar="NxNx...",
        help="Most iterations of each level; as many levels as numbers.  "
        f"[default: {'x'.join(map(str, N4Settings.iters))}]",
    ),
    _estimation(
        "--threshold",
        "conv_threshold",
        type=float,
        metavar="T",
        help="End a level once the convergence measure is not above this; 0 runs all "
        f"iterations.  [default: {N4Settings.conv_threshold}]",
    ),
    _estimation(
        "--fwhm",
        type=float,
        metavar="W",
        help="Width at half maximum of the field's distribution, in log intensity.  "
        f"[default: {N4Settings.fwhm}]",
    ),
    _estimation(
        "--noise",
        "wiener",
        type=float,
        metavar="X",
        help=f"Noise of the Wiener filter, without unit.  [default: {N4Settings.wiener}]",
    ),
    _estimation(
        "--bins",
        "nbins",
        type=int,
        metavar="N",
        help=f"Bins of the histogram.  [default: {N4Settings.nbins}]",
    ),
    _estimation(
        "--spline-order",
        type=int,
        metavar="N",
        help=f"Order of the B-spline, 1 to 5.  [default: {N4Settings.spline_order}]",
    ),
    _estimation(
        "--accelerate/--no-accelerate",
        default=None,
        help="Come close to the outcome of all iterations in a fraction of the time; needs "
        "--threshold 0.  [default: no-accelerate; accelerate with --preset fast]",
    ),
    _estimation(
        "--over-relax",
        type=float,
        metavar="A",
        help="Factor on every increment of the field; 1 is N4.  "
        f"[default: {N4Settings.over_relax:g}]",
    ),
)
VOXELS = combine_options(
    _voxels(
        "--mask-label",
        type=int,
        metavar="L",
        help="Only this value of the mask is inside.  [default: all but 0]",
    ),
    _voxels(
        "--non-positive",
        type=click.Choice(("itk", "exclude", "offset")),
        help="Intensities in the mask that are not above 0: as ITK, leave them out, or raise the "
        f"image for the estimation.  [default: {N4Settings.non_positive}]",
    ),
    _voxels(
        "--nonfinite",
        type=click.Choice(("error", "exclude")),
        help="NaN and infinite voxels in the mask: stop, or leave them out.  "
        f"[default: {N4Settings.nonfinite}]",
    ),
)
RESULT = combine_options(
    _result(
        "--scale",
        type=click.Choice(("itk", "mean", "unit-field", "minmax")),
        help="Level: as it comes, mean in the mask kept, field of geometric mean 1 there, or "
        f"stretched to the input's range.  [default: {N4Settings.scale}]",
    ),
    _result(
        "--outside",
        type=click.Choice(("divide", "keep", "zero")),
        help="Outside the mask: divided by the field too, as it was, or 0.  "
        f"[default: {N4Settings.outside}]",
    ),
    _result(
        "--dtype",
        type=click.Choice(("float32", "same")),
        default="float32",
        show_default=True,
        help="Voxel type of the file; same is the input's: integers are rounded and clipped.",
    ),
)


def b0_threshold(option: Callable[..., Any]) -> Callable[..., Any]:
    """The option that tells volumes without diffusion weighting, under a heading."""
    return option(
        "--b0-threshold",
        type=click.FloatRange(min=0),
        default=50.0,
        show_default=True,
        metavar="B",
        help="Largest b-value of a volume without diffusion weighting, in s/mm².",
    )


@contextmanager
def name_missing_extra(extra: str) -> Iterator[None]:
    """What to install, where a library is missing.

    Raises
    ------
    ValueError
        One is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: pip install 'n4ax[{extra}]'") from None
    except ImportError as error:
        raise ValueError(str(error)) from None


def default_mask(preset: str) -> str:
    """The mask where none is given: as those do whose defaults the preset has."""
    return "none" if preset in ("ants", "antspy") else "otsu"


def make_settings(preset: str, given: Mapping[str, Any], command: click.Command) -> N4Settings:
    """The settings of a preset, with what was given instead.

    Raises
    ------
    ValueError
        A value is out of its range; it is told in the words of the command's options.
    """
    keywords = {name: value for name, value in given.items() if value is not None}
    if isinstance(keywords.get("iters"), int):
        keywords["iters"] = (keywords["iters"],)
    start = getattr(N4Settings, preset)().keywords()
    if "spline_distance" in keywords:
        start["mesh"] = None  # they say the same thing
    with use_option_names(command):
        return N4Settings(**{**start, **keywords, "voxel_order": "F"})


@contextmanager
def use_option_names(command: click.Command) -> Iterator[None]:
    """Turn an error that names parameters into one that names the options of a command.

    Raises
    ------
    ValueError
        An argument cannot be used.
    """
    try:
        yield
    except InputError as error:
        raise ValueError(error.with_options(option_names(command))) from None
    except ValueError as error:
        raise ValueError(_in_options(str(error), command)) from None


def option_names(command: click.Command) -> dict[str, str]:
    """What each parameter of a command is called on the command line."""
    return {
        str(parameter.name): max(parameter.opts, key=len)
        if isinstance(parameter, click.Option)
        else parameter.human_readable_name
        for parameter in command.params
    }


def _in_options(message: str, command: click.Command) -> str:
    """``shrink_factor=4`` to ``--shrink 4``, and parameters without a value likewise."""

    def option_and_value(found: re.Match[str]) -> str:
        return f"{option} {'x'.join(re.findall(_WORD, found[1]))}"

    for name, option in option_names(command).items():
        message = re.sub(rf'\b{name}=("[^"]*"|\([^)]*\)|{_WORD})', option_and_value, message)
        # Names such as mask are also English words, and a parameter only at the beginning.
        message = re.sub(rf"\b{name}\b" if "_" in name else rf"^{name}(?= )", option, message)
    return message
