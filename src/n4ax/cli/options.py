"""The options that several commands share, how they are read, and how errors name them."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from n4ax.cli.layout import combine_options, under_heading
from n4ax.errors import InputError, lacks_memory
from n4ax.settings import N4Settings, Preset
from n4ax.settings.arithmetic import read_arithmetic, read_itk_version

if TYPE_CHECKING:
    from n4ax.series import Series

_PRESETS = get_args(Preset)

SOME_FAILED = 1
"""Exit status if some of several images could not be corrected, or if results are suspicious."""


def read_numbers(
    _context: click.Context, option: click.Parameter, text: str | None
) -> int | tuple[int, ...] | None:
    """Read ``4`` as 4, and ``4x4x3`` as (4, 4, 3)."""
    if text is None:
        return None
    try:
        values = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        message = f"{text!r} is not a whole number such as 4, or several such as 4x4x3"
        raise click.BadParameter(message, param=option) from None
    return values[0] if len(values) == 1 else values


def read_mask(_context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """Read ``otsu`` as it is, ``all`` and ``none`` as ``all``, and leave other text as a path."""
    from n4ax.images.arguments import read_word  # loads NumPy

    if text is None:
        return None
    if not text:
        raise click.BadParameter("the name is empty", param=option)
    word = read_word(text)
    if word is None and read_word(text.lower()):
        message = f"{text!r} is written in small letters: otsu, all or none"
        raise click.BadParameter(message, param=option)
    return word or text


def read_series(
    _context: click.Context, option: click.Parameter, text: str | None
) -> "Series | None":
    """Read a word such as ``mean`` as it is, and ``0,5,10`` as (0, 5, 10)."""
    if text is None or text in ("mean", "first", "each", "b0", "4d"):
        return text  # type: ignore[return-value]
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        message = f"{text!r} is not mean, first, each, b0, 4d or numbers of volumes such as 0,5,10"
        raise click.BadParameter(message, param=option)
    volumes = tuple(int(word) for word in words)
    return volumes[0] if len(volumes) == 1 else volumes


def _refuse_nan(_context: click.Context, option: click.Parameter, value: float) -> float:
    """Refuse what is not a number, which is in no range and yet passes its checks."""
    if isnan(value):
        raise click.BadParameter(f"{value} is not a number", param=option)
    return value


class _NamedPath(click.Path):
    """A path to write to. An empty name, as from a variable that is not set, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("the name is empty", param, ctx)
        return super().convert(value, param, ctx)


class _InputPath(click.Path):
    """A path to read. Where it cannot be looked at, the error has the reason of the system."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        try:
            os.stat(value)
        except FileNotFoundError:
            self.fail(
                f"{self.name.capitalize()} {os.fsdecode(value)!r} does not exist.", param, ctx
            )
        except OSError as error:
            self.fail(f"{path}: {error.strerror}", param, ctx)
        return path


PATH = _NamedPath(path_type=Path)
FOLDER = _NamedPath(file_okay=False, path_type=Path)
INPUT_FILE = _InputPath(dir_okay=False, path_type=Path)
INPUT_FOLDER = _InputPath(file_okay=False, path_type=Path)

_voxels = under_heading("Voxels used for the estimation")
_estimation = under_heading("Estimation (defaults of --preset simpleitk)")
_result = under_heading("Intensities of the result")
_machine = under_heading("Machine")

THREADS = _machine(
    "--num-threads",
    "threads",
    aliases=("--threads",),
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of threads; the result does not depend on it.  [default: all]",
)


def engine(default: str) -> Callable[..., Any]:
    """The option ``--engine``, whose default the help gives in these words."""
    return _machine(
        "--engine",
        type=click.Choice(("cpu", "xla")),
        help=f"Compute with code compiled for the CPU, or with JAX (xla).  [default: {default}]",
    )


QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")

ESTIMATION = combine_options(
    _estimation(
        "--preset",
        type=click.Choice(_PRESETS),
        default="simpleitk",
        show_default=True,
        help="Set of defaults to start from; the other options override it. ants: shrink 4, "
        "threshold 0, no mask. antspy: the same with threshold 1e-7. fast: close to the result of "
        "all iterations at threshold 0, in less time. auto: chosen for each image, or the image is "
        "left as it is (n4ax tune: for a study).",
    ),
    _estimation(
        "--shrink-factor",
        aliases=("--shrink",),
        callback=read_numbers,
        metavar="N|AxBxC",
        help="Estimate the field on every N-th voxel along all axes, or give a number for each "
        f"axis.  [default: {N4Settings.shrink_factor}]",
    ),
    _estimation(
        "--spline-distance",
        type=float,
        metavar="MM",
        help="Length of a mesh element at the first level, in mm; each further level halves it.  "
        "[default: set by --mesh]",
    ),
    _estimation(
        "--mesh",
        callback=read_numbers,
        metavar="N|AxBxC",
        help="Number of mesh elements at the first level, along all axes or for each axis; an "
        "alternative to --spline-distance.  [default: 1; more with a --spline-order below 3]",
    ),
    _estimation(
        "--iters",
        aliases=("--iterations",),
        callback=read_numbers,
        metavar="NxNx...",
        help="Maximum number of iterations at each level; there are as many levels as numbers.  "
        f"[default: {'x'.join(map(str, N4Settings.iters))}]",
    ),
    _estimation(
        "--conv-threshold",
        aliases=("--threshold",),
        type=float,
        metavar="T",
        help="End a level once the convergence measure is no longer above this; 0 runs all "
        f"iterations.  [default: {N4Settings.conv_threshold}]",
    ),
    _estimation(
        "--fwhm",
        type=float,
        metavar="W",
        help="Full width at half maximum of the field's distribution, in log intensity.  "
        f"[default: {N4Settings.fwhm}]",
    ),
    _estimation(
        "--wiener",
        aliases=("--noise",),
        type=float,
        metavar="X",
        help=f"Noise term of the Wiener filter; it has no unit.  [default: {N4Settings.wiener}]",
    ),
    _estimation(
        "--nbins",
        aliases=("--bins",),
        type=int,
        metavar="N",
        help=f"Number of histogram bins.  [default: {N4Settings.nbins}]",
    ),
    _estimation(
        "--spline-order",
        type=int,
        metavar="N",
        help=f"Order of the B-spline, from 1 to 5.  [default: {N4Settings.spline_order}]",
    ),
    _estimation(
        "--accelerate/--no-accelerate",
        default=None,
        help="Come close to the result of all iterations in a fraction of the time; requires "
        "--conv-threshold 0.  [default: no-accelerate; accelerate with --preset fast]",
    ),
    _estimation(
        "--over-relax",
        type=float,
        metavar="A",
        help="Factor that multiplies every increment of the field; 1 is N4.  "
        f"[default: {N4Settings.over_relax:g}]",
    ),
)
MASK_LABEL = _voxels(
    "--mask-label",
    type=int,
    metavar="L",
    help="The only value of the mask that counts as inside.  [default: every value but 0]",
)
POLICIES = combine_options(
    _voxels(
        "--non-positive",
        type=click.Choice(("itk", "exclude", "offset")),
        help="Intensities in the mask that are not above 0: treat them as ITK does, leave them "
        f"out, or raise the image for the estimation.  [default: {N4Settings.non_positive}]",
    ),
    _voxels(
        "--nonfinite",
        type=click.Choice(("error", "exclude")),
        help="NaN and infinite voxels in the mask: stop with an error, or leave them out.  "
        f"[default: {N4Settings.nonfinite}]",
    ),
)
DTYPE = _result(
    "--dtype",
    type=click.Choice(("float32", "same")),
    default="float32",
    show_default=True,
    help="Voxel type of the output. same keeps the type of the input; integers are rounded and "
    "clipped.",
)

RESULT = combine_options(
    _result(
        "--scale",
        type=click.Choice(("itk", "mean", "unit-field", "minmax")),
        help="Level: leave it as the field makes it, keep the mean in the mask, give the field a "
        "geometric mean of 1 in the mask, or stretch the intensities to the range of the input.  "
        f"[default: {N4Settings.scale}]",
    ),
    _result(
        "--outside",
        type=click.Choice(("divide", "keep", "zero")),
        help="Outside the mask: divide by the field as well, keep the input, or write 0.  "
        f"[default: {N4Settings.outside}]",
    ),
    DTYPE,
)


def b0_threshold(option: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--b0-threshold``, under the heading of ``option``."""
    return option(
        "--b0-threshold",
        type=click.FloatRange(min=0, max=1e9),
        callback=_refuse_nan,
        default=50.0,
        show_default=True,
        metavar="B",
        help="Largest b-value that counts as no diffusion weighting, in s/mm².",
    )


def default_mask(preset: str) -> str:
    """The mask that is used when none is given: the whole image for ANTs' presets, else Otsu's."""
    return "all" if preset in ("ants", "antspy") else "otsu"


def make_settings(preset: str, given: Mapping[str, Any], command: click.Command) -> N4Settings:
    """Make the settings from a preset and from the options that override it.

    Parameters
    ----------
    preset
        The name of the preset.
    given
        The value of each parameter of :class:`n4ax.N4Settings`; ``None`` where the option was not
        given. Without an option, the environment may choose the arithmetic and ITK's version.
    command
        The command that the options belong to.

    Raises
    ------
    ValueError
        If a value is out of range. The message names the option, or the variable.
    """
    keywords = {name: value for name, value in given.items() if value is not None}
    if isinstance(keywords.get("iters"), int):
        keywords["iters"] = (keywords["iters"],)
    found = _read_environment(keywords)
    names = option_names(command)
    if found.get("arithmetic") == "itk":
        names["arithmetic"] = "N4AX_ARITHMETIC"
    try:
        start: N4Settings = getattr(N4Settings, preset)()
        return start.override(**found, **keywords, voxel_order="F")
    except InputError as error:
        raise ValueError(error.with_options(names)) from None


def _read_environment(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that variables choose, where no option was given."""
    variables = {"arithmetic": read_arithmetic, "itk_version": read_itk_version}
    read = {name: variables[name]() for name in variables if name not in given}
    return {name: value for name, value in read.items() if value is not None}


def option_names(command: click.Command) -> dict[str, str]:
    """What the parameters of a command are called on the command line.

    Returns
    -------
    dict of str to str
        For an option its longest spelling, such as ``--output``; for an argument the name that the
        help shows, such as ``IMAGE`` for ``images``.
    """
    return {
        str(parameter.name): max(getattr(parameter, "shown", parameter.opts), key=len)
        if isinstance(parameter, click.Option)
        else parameter.human_readable_name.removesuffix("...")
        for parameter in command.params
    }


@contextmanager
def use_option_names(command: click.Command) -> Iterator[None]:
    """Name the options of a command in errors of the library, in place of parameters.

    Raises
    ------
    ValueError
        In place of an :class:`n4ax.errors.InputError`. Other errors pass unchanged.
    """
    try:
        yield
    except InputError as error:
        raise ValueError(error.with_options(option_names(command))) from None


@contextmanager
def name_missing_extra(extra: str) -> Iterator[None]:
    """Say which extra of n4ax to install if an import fails.

    Raises
    ------
    ValueError
        In place of an ``ImportError``.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: pip install 'n4ax[{extra}]'") from None
    except ImportError as error:
        if lacks_memory(error):
            raise
        raise ValueError(str(error)) from None
