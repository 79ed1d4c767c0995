"""The data that the kernels work on."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LANES = 16
"""The control points of a voxel are padded to a multiple of this many, for vector instructions."""

TINY = 2.0**-36
"""The third power of a weight below this may leave the numbers of full precision, with which
processors take a hundred times as long."""


class Runs(NamedTuple):
    """The voxels that count, in ITK's order: runs of neighbours in the rows of the image.

    Attributes
    ----------
    start
        Run ``i`` has the voxels ``start[i] : start[i + 1]``.
    x, row
        First column of each run, and its row among all rows of the image.
    chunk
        Chunk ``c`` consists of the runs ``chunk[c] : chunk[c + 1]``.
    """

    start: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int64]


class Rows(NamedTuple):
    """A field, expanded to the rows of an image.

    Attributes
    ----------
    values
        Control points along each row, shape (rows, control points), float32.
    first
        The first control point of each column.
    weights
        The weights of it and the following ones, shape (order + 1, columns + LANES), float32.
    stop
        Where the first control point changes next, for each column.
    """

    values: npt.NDArray[np.float32]
    first: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    stop: npt.NDArray[np.int64]


class Fit(NamedTuple):
    """The weights of the fit of one level.

    The control points of a voxel are those along the first axis, times the *lanes*: those along
    all other axes, x varying fastest. A weight is the product over the axes x, y, z, ..., rounded
    to float32 after each factor.

    Attributes
    ----------
    lanes
        Number of lanes, padded to a multiple of :data:`LANES`.
    x_first, x_stop
        The first control point of each column, and where it changes next.
    x_weights
        The weights along x as float32, shape (order + 1, columns).
    x_lanes
        The same for each lane, shape (columns * lanes,).
    factors
        The weights along the axes between, for each lane, one row for each voxel of each axis,
        float64, flat. Padded lanes have weight 0.
    row_factors
        The rows of ``factors`` that belong to each row of the image, in the order y, z; shape
        (axes between, rows).
    row_offset
        The lane of the first control point of each row of the image, in the flattened lattice.
    row_outer
        The index of each row of the image along the first axis.
    outer_first, outer_weights
        The first control point along the first axis, and the weights from it on, float64.
    x_least, row_least, outer_least
        The least weight above 0 along x, along the axes between, and along the first axis.
    lane_offset
        Where the control point of each lane lies from that of the first, in the flattened lattice.
    """

    lanes: int
    x_first: npt.NDArray[np.int64]
    x_stop: npt.NDArray[np.int64]
    x_weights: npt.NDArray[np.float32]
    x_lanes: npt.NDArray[np.float32]
    factors: npt.NDArray[np.float64]
    row_factors: npt.NDArray[np.int64]
    row_offset: npt.NDArray[np.int64]
    row_outer: npt.NDArray[np.int64]
    outer_first: npt.NDArray[np.int64]
    outer_weights: npt.NDArray[np.float64]
    x_least: npt.NDArray[np.float32]
    row_least: npt.NDArray[np.float64]
    outer_least: npt.NDArray[np.float64]
    lane_offset: npt.NDArray[np.int64]


class Bins(NamedTuple):
    """Histogram bins of one ``width``, the first one centred on ``lowest`` (log intensities)."""

    lowest: np.float32
    width: np.float32
