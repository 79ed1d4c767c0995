"""The data that the kernels work on: packed rows of voxels, and spline tables."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Lattice = npt.NDArray[np.float32]
"""Control points of the log bias field."""

LANES = 16
"""Packed stretches are padded to a multiple of this, so that vector loops have no remainder."""

OUTSIDE = 3e38
"""Stands for the log intensity of a voxel that does not count."""

IS_OUTSIDE = 1e30
"""A log intensity above this is that of a voxel that does not count, even after a field has been
subtracted from it."""


class Rows(NamedTuple):
    """Packed stretches of image rows; :mod:`n4ax.engines.cpu.rows` says how they are cut.

    Attributes
    ----------
    log, weights
        The packed log intensities and confidences. ``weights`` is empty if every voxel counts
        fully.
    start
        Stretch ``i`` is ``log[start[i] : start[i + 1]]``; its end is padded with ``OUTSIDE``.
    length
        Voxels of each stretch, without the padding.
    x, y, plane
        First column, row, and plane of each stretch. A plane is one combination of indices of the
        leading axes.
    included
        Number of voxels that count before each stretch, and in total.
    chunk
        Chunk ``c`` consists of the stretches ``chunk[c] : chunk[c + 1]``.
    slot, slot_plane
        Each plane of each chunk has a slot for its sums. The slots of chunk ``c`` start at
        ``slot[c]``, and ``slot_plane`` is the plane of each slot.
    """

    log: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    plane: npt.NDArray[np.int64]
    included: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int64]
    slot_plane: npt.NDArray[np.int64]


class Basis(NamedTuple):
    """A B-spline basis on a stack of planes of rows, or other weights of the same support.

    Attributes
    ----------
    plane_control, plane_weight
        The planes of the lattice that reach each plane of the image, and their weights (products
        over the leading axes), shape (planes, terms).
    y_first, y_weight
        The first control row that reaches each row, shape (height,), and the weights of this and
        the following control rows, shape (height, order + 1).
    x_weight, x_range
        The weight of each control point along a row, shape (control points, width), and the
        columns ``x_range[c, 0] : x_range[c, 1]`` where it may differ from zero.
    """

    plane_control: npt.NDArray[np.int64]
    plane_weight: npt.NDArray[np.float64]
    y_first: npt.NDArray[np.int64]
    y_weight: npt.NDArray[np.float32]
    x_weight: npt.NDArray[np.float64]
    x_range: npt.NDArray[np.int64]


class Sheets(NamedTuple):
    """A lattice expanded along the rows: one row of values per plane and control row.

    A row of the field is the sum of ``order + 1`` of these rows, weighted with ``y_weight``.
    ``values`` is flat. Each of its rows has ``stride`` places, ``LANES`` more than the image is
    wide.
    """

    values: npt.NDArray[np.float32]
    control_rows: int
    stride: int
    y_first: npt.NDArray[np.int64]
    y_weight: npt.NDArray[np.float32]


class Search(NamedTuple):
    """Which stretches a search for the extremes has to look at.

    Attributes
    ----------
    bounds
        The extremes of each stretch when all stretches were last looked at, shape (stretches, 2).
    limits
        A stretch whose ``bounds`` lie strictly between the first two is left out. If the third is
        not 0, ``bounds`` are set anew, and no stretch may be left out. The fourth is the share of
        the stretches that are not left out. Shape (4,).
    skips_rise
        Whether the strictly rising run of voxels at the start of the image is left out of the
        minimum, as in ITK 5.
    """

    bounds: npt.NDArray[np.float32]
    limits: npt.NDArray[np.float64]
    skips_rise: bool


Bins = npt.NDArray[np.float32]
"""Histogram bins of one width: the log intensity of the first centre, and the width, (2,)."""


class IntensityMap(NamedTuple):
    """The expected log intensities on bins.

    ``pairs`` holds the expected log intensity at each bin centre, and its rise to the next one,
    side by side, (2 * (nbins + 1),). The last pair is for log intensities that lie outside the
    histogram.
    """

    bins: Bins
    pairs: npt.NDArray[np.float32]
