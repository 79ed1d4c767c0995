"""What changed in N4 from ITK 5 to ITK 6, in one table.

| what | ITK 5 (SimpleITK to 2.5, ANTs to 2.6) | ITK 6 |
|---|---|---|
| range of the histogram | a voxel that raises the maximum is not tested for the minimum | every voxel is tested for both |
| one intensity in the whole mask | the width of the bins is 0, and the field becomes its logarithm | the sharpening changes nothing |
| Fourier transform | Temperton's prime factor algorithm | PocketFFT |
| weights of the knot halving | LINPACK's decomposition in float32 | Eigen's decomposition in float32 |

Everything else in N4 has the same arithmetic in both. The weights decide the last digits of every
field of more than one level; they are of the size of ITK's own rounding noise.
"""  # noqa: E501

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Weights = tuple[tuple[float, ...], tuple[float, ...]]
"""The weights of the coarse control points in an even and in an odd fine control point."""


class Rules(NamedTuple):
    """The rules of a version of ITK.

    Attributes
    ----------
    tests_both_ends
        Whether a voxel that raises the maximum may also lower the minimum.
    keeps_constants
        Whether a mask with a single intensity is left as it is.
    has_pocketfft
        Whether the Fourier transform is PocketFFT's.
    halving
        The weights of the knot halving for each spline order, as ITK's float32 decomposition finds
        them. The exact weights are those of the two-scale relation, binomials of ``order + 1``
        divided by ``2**order``.
    """

    tests_both_ends: bool
    keeps_constants: bool
    has_pocketfft: bool
    halving: Mapping[int, Weights]


def _read_weights(even: str, odd: str) -> Weights:
    return (
        tuple(float.fromhex(word) for word in even.split()),
        tuple(float.fromhex(word) for word in odd.split()),
    )


_LINPACK = {
    1: _read_weights("1 -0x1p-26", "0x1.fffffcp-2 0x1p-1"),
    2: _read_weights(
        "0x1.7ffffep-1 0x1.ffffe4p-3 0x1.4p-25", "0x1.fffff8p-3 0x1.7ffffcp-1 0"
    ),
    3: _read_weights(
        "0x1p-1 0x1p-1 0x1.8p-24 -0x1p-29",
        "0x1.00000ap-3 0x1.800008p-1 0x1.00000ap-3 -0x1.4p-26",
    ),
    4: _read_weights(
        "0x1.3ffffap-2 0x1.3fffecp-1 0x1.ffff04p-5 -0x1p-23 0x1.3p-27",
        "0x1.ffffdap-5 0x1.3ffff2p-1 0x1.3ffff2p-2 -0x1p-24 0x1p-30",
    ),
    5: _read_weights(
        "0x1.7ffffcp-3 0x1.3fffecp-1 0x1.7ffffp-3 0x1.0ap-23 -0x1.fp-26 -0x1.3p-30",
        "0x1.00000ap-5 0x1.ep-2 0x1.e0000ep-2 0x1.00001ep-5 -0x1.ep-26 -0x1.6p-32",
    ),
}  # fmt: skip

_EIGEN: dict[int, Weights] = {
    1: ((1, 0), (0.49999994, 0.5)),
    2: ((0.75, 0.249999881, -1.49011612e-08), (0.24999997, 0.75, -7.4505806e-09)),
    3: (
        (0.5, 0.50000006, -2.75671482e-07, -1.49011612e-08),
        (0.12499997, 0.75000006, 0.124999918, -2.48352694e-09),
    ),
    4: (
        (0.312499851, 0.624999821, 0.0624999441, -7.4505806e-08, 5.58793545e-09),
        (0.0625000522, 0.624999881, 0.312499762, -5.15331848e-08, 6.82969903e-09),
    ),
    5: (
        (0.187499881, 0.624999702, 0.187500462, 5.5010122e-07, 6.58134596e-08, -1.61429259e-09),
        (0.0312498938, 0.468749583, 0.468750238, 0.0312504731, 5.6733068e-08, -1.05549902e-09),
    ),
}
"""Measured in an ITK 6 that was built for plain x86-64; nine digits determine a float32."""

RULES = {
    5: Rules(tests_both_ends=False, keeps_constants=False, has_pocketfft=False, halving=_LINPACK),
    6: Rules(tests_both_ends=True, keeps_constants=True, has_pocketfft=True, halving=_EIGEN),
}
"""The rules of ITK 5 and of ITK 6."""


def find_halving_weights(version: int, order: int) -> npt.NDArray[np.float32]:
    """The weights of the knot halving: even and odd fine control points, shape (2, order + 1)."""
    return np.array(RULES[version].halving[order], np.float32)
