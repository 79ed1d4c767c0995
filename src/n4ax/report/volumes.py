"""The volumes that the report of an image is made from, and the sample of their voxels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.images.planes import find_field_window

_SAMPLE = 100_000
"""The most voxels that are measured, which bounds the time for large images."""
_CHUNK = 1 << 16
"""Voxels that are looked at together, so that they stay in the processor's cache."""


class Sample(NamedTuple):
    """Intensities and log field of at most 100,000 voxels of the mask, evenly spaced."""

    before: npt.NDArray[np.float64]
    """The finite intensities, from dark to bright."""
    after: npt.NDArray[np.float64]
    both: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    """``before`` and ``after``, of the voxels that are finite in both."""
    log_bias: npt.NDArray[np.float64]
    """The log field, in the order of the voxels."""


class Voxels(NamedTuple):
    """The same voxels as a :class:`Sample`, in their order in the mask."""

    coordinates: tuple[npt.NDArray[np.intp], ...]
    """Their indices along each axis."""
    before: npt.NDArray[Any]
    log_bias: npt.NDArray[Any]
    after: npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Volumes:
    """An image before and after its correction, the log field and the mask.

    Attributes
    ----------
    before, log_bias, after : array
        Arrays of the same shape.
    mask : array of bool
        The mask, with the same shape.
    """

    before: npt.NDArray[Any]
    log_bias: npt.NDArray[Any]
    after: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]

    @cached_property
    def sample(self) -> Sample:
        """An evenly spaced part of the voxels in the mask."""
        _, first, log_bias, last = self.voxels
        finite = np.isfinite(first) & np.isfinite(last)
        before, after = _sort_finite(first), _sort_finite(last)
        both = before, after
        if not len(before) == len(after) == np.count_nonzero(finite):
            both = _sort_finite(first[finite]), _sort_finite(last[finite])
        return Sample(before, after, both, log_bias.astype(np.float64))

    @cached_property
    def voxels(self) -> Voxels:
        """The voxels of the sample, and where they are."""
        positions = find_positions(self._inside)
        coordinates = np.unravel_index(positions, self.mask.shape, self._order)
        volumes = self.before, self.log_bias, self.after
        return Voxels(coordinates, *(volume[coordinates] for volume in volumes))

    @cached_property
    def field_window(self) -> tuple[float, float]:
        """The centre of the log field's colours, and how far they reach on either side."""
        return find_field_window(self.sample.log_bias)

    def find_field_ends(self) -> tuple[float, float]:
        """The least and the greatest finite value of the log field in the mask.

        Without any, the first is infinite and the second is minus infinity.
        """
        low, high = np.inf, -np.inf
        log_bias = self.log_bias.reshape(-1, order=self._order)
        for chunk, inside in _iterate_chunks(self._inside):
            values = log_bias[chunk]
            if not inside.all():
                values = values[inside]
            ends = values.min(), values.max()
            if not np.isfinite(ends).all():
                values = values[np.isfinite(values)]
                ends = values.min(initial=np.inf), values.max(initial=-np.inf)
            low, high = min(low, float(ends[0])), max(high, float(ends[1]))
        return low, high

    @cached_property
    def _inside(self) -> npt.NDArray[np.bool_]:
        """The mask in a row, in the order of the memory of the field, which is larger."""
        return self.mask.reshape(-1, order=self._order)

    @property
    def _order(self) -> Literal["C", "F"]:
        return "F" if self.log_bias.flags.f_contiguous else "C"


def find_positions(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Positions of at most 100,000 voxels of a mask in a row, evenly spaced among its voxels."""
    step = -(-np.count_nonzero(mask) // _SAMPLE) or 1
    positions = [np.empty(0, np.intp)]
    seen = 0
    for chunk, inside in _iterate_chunks(mask):
        voxels = np.count_nonzero(inside)
        taken = np.arange(-seen % step, voxels, step)
        if voxels < len(inside):
            taken = np.flatnonzero(inside)[taken]
        positions.append(chunk.start + taken)
        seen += voxels
    return np.concatenate(positions)


def _iterate_chunks(mask: npt.NDArray[np.bool_]) -> Iterator[tuple[slice, npt.NDArray[np.bool_]]]:
    """The chunks of a mask that have voxels in it."""
    for start in range(0, len(mask), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        if mask[chunk].any():
            yield chunk, mask[chunk]


def _sort_finite(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The finite values in order; single precision is sorted in half of double's time."""
    ordered = np.sort(values)  # not a number comes last
    start = np.searchsorted(ordered, -np.inf, "right")
    return ordered[start : np.searchsorted(ordered, np.inf)].astype(np.float64)
