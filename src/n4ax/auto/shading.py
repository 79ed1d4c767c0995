"""The choice without maps of tissues: by how strong the shading is.

A first estimate shows how much the field varies. The stronger the shading, the longer steps and the
more iterations it takes to follow it. The weaker it is, the more anatomy counts, which a small FWHM
and few iterations keep out of the field. In an even image the first estimate varies by some 3 to
4 %, all of it anatomy, and such an image is left as it is.

All numbers were found on brains that were simulated with known fields (``benchmarks/truth``), half
of which were held back to judge the choice.
"""

from typing import NamedTuple

import numpy as np

from n4ax.auto.view import Floats, View, round_off

FIRST = (0.42, 200, 0.15)
"""The finest element as a share of the mask's reach, iterations at each level, and FWHM of the
first estimate. It is the most reliable of the settings that were tried."""

LEVELS = 2


class Strength(NamedTuple):
    """What belongs to a spread of the field. Between two of them all is interpolated."""

    spread: float
    """Standard deviation of the log field of the first estimate, in percent."""
    iterations: float
    fwhm: float
    element: float
    """Length of the finest mesh elements, as a share of the mask's reach."""


STRENGTHS = (
    Strength(4.0, 0, 0.05, 0.42),
    Strength(5.0, 50, 0.05, 0.42),
    Strength(6.4, 50, 0.15, 0.42),
    Strength(11.0, 50, 0.15, 0.42),
    Strength(16.0, 200, 0.15, 0.42),
    Strength(24.0, 200, 0.15, 0.42),
    Strength(30.0, 200, 0.15, 0.36),
)

FEWEST_ITERATIONS = 10
"""Fewer iterations than this are not worth a correction."""

AIR = 0.6
"""There is air in a mask of which less than this share is tissue. Air slows N4 down."""


def measure_spread(view: View, log_bias: Floats) -> float:
    """The standard deviation of a log field in the tissue of the mask, in percent."""
    return round_off(float(100 * np.std(log_bias[view.bright])))


def weigh(spread: float, fullness: float) -> Strength:
    """What belongs to a spread of the first estimate.

    Parameters
    ----------
    spread
        The spread, in percent.
    fullness
        Which share of the mask is tissue rather than air.
    """
    places = [strength.spread for strength in STRENGTHS]
    columns = list(zip(*STRENGTHS, strict=True))
    iterations, fwhm, element = (float(np.interp(spread, places, own)) for own in columns[1:])
    if fullness < AIR and iterations >= FEWEST_ITERATIONS:
        iterations = STRENGTHS[-1].iterations
    return Strength(spread, iterations, fwhm, element)
