"""The choice with maps of tissues: the settings that make two tissues most even.

The measure is the coefficient of joint variation, (s1 + s2) / |m1 - m2|, of intensities that are
lightly smoothed, always in the same voxels.

References
----------
M. Ganzetti, N. Wenderoth and D. Mantini, "Intensity Inhomogeneity Correction of Structural MR
Images: A Data-Driven Approach to Define Input Algorithm Parameters", Frontiers in Neuroinformatics
10, 2016, doi:10.3389/fninf.2016.00010.
"""

from math import inf

import numpy as np

from n4ax.auto.view import Floats, View, round_off
from n4ax.images.smoothing import smooth

LIGHTLY = 0.03
"""The standard deviation of the Gaussian that smooths, as a share of the mask's reach: some 4 mm
in a brain."""

SEARCHED = tuple(
    (element, levels, iterations, fwhm)
    for element, levels in ((4 / 3, 1), (1.0, 1), (2 / 3, 2), (1 / 2, 2), (1 / 3, 2))
    for iterations in ((50,) if levels == 1 else (50, 200))
    for fwhm in (0.05, 0.15, 0.3)
    if (iterations, fwhm) != (200, 0.05)
)
"""The settings that are tried: the finest element as a share of the mask's reach, levels,
iterations at each level, and FWHM."""


def measure_joint_variation(view: View, log_bias: Floats | None = None) -> float:
    """The coefficient of joint variation of the two tissues after the division by a field.

    Parameters
    ----------
    view
        The image, whose tissues are known.
    log_bias
        The log field; ``None`` for the image as it is.
    """
    used, one, other = view.used, *view.tissues
    divided = view.image.astype(np.float64)
    if log_bias is not None:
        divided = divided / np.exp(log_bias.astype(np.float64))
    reach = [LIGHTLY * view.reach / step for step in view.spacing]
    near = smooth(used.astype(np.float64), reach)
    values = smooth(np.where(used, divided, 0.0), reach) / np.where(near > 0, near, 1.0)
    first, second = values[one & used], values[other & used]
    if not (first.size and second.size):
        return inf
    distance = abs(first.mean() - second.mean())
    return round_off((first.std() + second.std()) / distance) if distance > 0 else inf
