"""The weights of the fit of one level, laid out for the kernels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.engines.itk.bases import AxisTable
from n4ax.engines.itk.field import find_stops
from n4ax.engines.itk.kernels.layout import LANES, Fit


def lay_out_fit(tables: Sequence[AxisTable], control_points: Sequence[int]) -> Fit:
    """Lay out the weights along all axes.

    Parameters
    ----------
    tables
        The weights along each axis, x last.
    control_points
        Number of control points on each axis.
    """
    outer, *between, x = tables
    taps = outer.weights.shape[1]
    strides = [int(np.prod(control_points[axis + 1 :])) for axis in range(len(control_points))]
    taps_of_lanes = np.indices((taps,) * (len(tables) - 1)).reshape(len(tables) - 1, -1)
    grid = [len(table.first) for table in tables[:-1]]
    index = np.indices(grid).reshape(len(grid), -1)
    x_weights = x.weights.astype(np.float32)
    lanes = _pad(taps_of_lanes.shape[1])
    factors: list[npt.NDArray[Any]] = [np.empty((0, lanes))]
    row_factors: list[npt.NDArray[np.int64]] = []
    used = 0
    row_offset = np.zeros(index.shape[1], np.int64)
    row_least = np.ones(index.shape[1])
    for axis in reversed(range(1, len(tables) - 1)):
        table = tables[axis]
        factors.append(_spread_over_lanes(table.weights, taps_of_lanes[axis - 1]))
        row_factors.append(index[axis] + used)
        row_least *= _find_least(table.weights)[index[axis]]
        row_offset += table.first[index[axis]] * strides[axis]
        used += len(table.first)
    return Fit(
        lanes=lanes,
        x_first=x.first,
        x_stop=find_stops(x.first),
        x_weights=np.ascontiguousarray(x_weights.T),
        x_lanes=_spread_over_lanes(x_weights, taps_of_lanes[-1]).ravel(),
        factors=np.concatenate(factors).ravel(),
        row_factors=np.array(row_factors, np.int64).reshape(len(between), index.shape[1]),
        row_offset=row_offset,
        row_outer=np.ascontiguousarray(index[0]),
        outer_first=outer.first,
        outer_weights=np.ascontiguousarray(outer.weights, np.float64),
        x_least=_find_least(x_weights),
        row_least=row_least,
        outer_least=_find_least(outer.weights),
        lane_offset=np.array(strides[1:], np.int64) @ taps_of_lanes,
    )


def _find_least(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Find the least weight above 0 of each voxel of an axis."""
    return np.where(weights > 0, weights, weights.dtype.type(np.inf)).min(axis=1)


def _pad(lanes: int) -> int:
    return -(-lanes // LANES) * LANES


def _spread_over_lanes(
    weights: npt.NDArray[Any], tap_of_lane: npt.NDArray[np.intp]
) -> npt.NDArray[Any]:
    """Repeat the weights of an axis for each lane; the lanes in the padding have weight 0."""
    spread = np.zeros((len(weights), _pad(len(tap_of_lane))), weights.dtype)
    spread[:, : len(tap_of_lane)] = weights[:, tap_of_lane]
    return spread
