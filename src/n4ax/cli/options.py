"""Options that several commands have in common."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from n4ax.settings import N4Settings

if TYPE_CHECKING:
    from n4ax.series import Estimate

_PRESETS = ("simpleitk", "ants", "antspy", "fast")
_WORD = r"[\w.+-]*\w"


def numbers(
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


def series_words(
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


def together(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """One decorator of several, the first outermost."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


PATH = click.Path(path_type=Path)
INPUT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

THREADS = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads to use; the result does not depend on it.  [default: all]",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")

SETTINGS = together(
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
        callback=numbers,
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
        callback=numbers,
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
        callback=numbers,
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


ENGINE = click.option(
    "--engine",
    type=click.Choice(("cpu", "xla")),
    help="Compiled for the CPU, or JAX.  [default: xla where JAX has a GPU, else cpu]",
)
B0_THRESHOLD = click.option(
    "--b0-threshold",
    type=click.FloatRange(min=0),
    default=50.0,
    show_default=True,
    metavar="B",
    help="Largest b-value, in s/mm², of a volume without diffusion weighting.",
)
DTYPE = click.option(
    "--dtype",
    type=click.Choice(("float32", "same")),
    default="float32",
    show_default=True,
    help="Voxel type of the output; same rounds and clips integers.",
)


@contextmanager
def extra_named(extra: str) -> Iterator[None]:
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


def settings_of(preset: str, given: Mapping[str, Any], command: click.Command) -> N4Settings:
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
    with options_named(command):
        return N4Settings(**{**start, **keywords, "voxel_order": "F"})


@contextmanager
def options_named(command: click.Command) -> Iterator[None]:
    """Errors of the library, told in the words of the command line."""
    try:
        yield
    except ValueError as error:
        raise ValueError(in_options(str(error), command)) from None


def in_options(message: str, command: click.Command) -> str:
    """``shrink_factor=4`` to ``--shrink 4``, and parameters without a value likewise."""

    def option_and_value(found: re.Match[str]) -> str:
        return f"{option} {'x'.join(re.findall(_WORD, found[1]))}"

    for parameter in command.params:
        name = str(parameter.name)
        is_option = isinstance(parameter, click.Option)
        option = max(parameter.opts, key=len) if is_option else parameter.human_readable_name
        message = re.sub(rf'\b{name}=("[^"]*"|\([^)]*\)|{_WORD})', option_and_value, message)
        # Names such as mask are also English words, and a parameter only at the beginning.
        message = re.sub(rf"\b{name}\b" if "_" in name else rf"^{name}(?= )", option, message)
    return message
