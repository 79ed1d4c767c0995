"""The command lines that correct images with settings that were found."""

import shlex
from collections.abc import Sequence

from n4ax.auto.choice import write_factors
from n4ax.settings import N4Settings

_COLUMNS = 78
"""So long is a line at most, without the sign that goes on in the next one."""


def write_n4ax(settings: N4Settings, repeated: Sequence[str] = ()) -> list[str]:
    """The words of a command line of ``n4ax correct`` with these settings.

    Parameters
    ----------
    settings
        The settings, with a spline distance.
    repeated
        Options with their values that choose the mask and the like.
    """
    return [
        "n4ax", "correct", "IMAGE", *repeated,
        "--spline-distance", f"{settings.spline_distance:g}",
        "--iters", write_factors(settings.iters),
        "--fwhm", f"{settings.fwhm:g}",
        "--shrink-factor", write_factors(settings.shrink_factor),
        "--conv-threshold", _write_small(settings.conv_threshold),
    ]  # fmt: skip


def write_ants(settings: N4Settings, *, has_mask: bool) -> list[str]:
    """The words of a command line of ANTs with these settings.

    ANTs has one shrink factor for all axes: the smallest is taken.

    Parameters
    ----------
    settings
        The settings, with a spline distance and a shrink factor for each axis.
    has_mask
        Whether the field is estimated in a mask, and not in the whole image.
    """
    factors = settings.shrink_factor
    assert not isinstance(factors, int)
    return [
        "N4BiasFieldCorrection", "-d", str(len(factors)), "-i", "IMAGE", "-o", "OUTPUT",
        *(["-x", "MASK"] if has_mask else []),
        "-s", str(min(factors)),
        "-b", f"[{settings.spline_distance:g}]",
        "-c", f"[{write_factors(settings.iters)},{_write_small(settings.conv_threshold)}]",
        "-t", f"[{settings.fwhm:g},{settings.wiener:g},{settings.nbins}]",
    ]  # fmt: skip


def wrap(words: Sequence[str]) -> list[str]:
    """The lines of a command line for a POSIX shell, each of some 80 columns at most."""
    lines, pieces = [""], [shlex.quote(word) for word in words]
    # An option stays in one line with its value.
    for number, piece in enumerate(pieces):
        value = pieces[number + 1] if piece.startswith("-") and number + 1 < len(pieces) else ""
        if lines[-1] and len(f"{lines[-1]} {piece} {value}".rstrip()) > _COLUMNS:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {piece}" if lines[-1] else piece
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _write_small(number: float) -> str:
    return f"{number:g}".replace("e-0", "e-")
