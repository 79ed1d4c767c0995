"""What a verdict is made from: an image before its correction, its field, its mask and the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from n4ax.field import BiasField
from n4ax.images.masks import find_box, measure_box
from n4ax.settings import N4Settings
from n4ax.verdict.measures import Samples, measure_evenness, take_samples

_SPATIAL = 3


class Solved(Protocol):
    """What is needed of :class:`n4ax.N4Result`."""

    @property
    def field(self) -> BiasField:
        """The field."""
        ...

    @property
    def iterations(self) -> list[int]:
        """The number of iterations at each level."""
        ...

    @property
    def last_measures(self) -> Sequence[float | None]:
        """The convergence measure of the last iteration of each level, if it has any."""
        ...

    @property
    def stopped(self) -> Sequence[str]:
        """Why each level ended."""
        ...

    @property
    def settings(self) -> N4Settings:
        """The parameters of the estimation."""
        ...

    @property
    def choice(self) -> object:
        """What was chosen for the image; ``None`` if its settings were given."""
        ...


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a verdict is made from.

    Attributes
    ----------
    before
        The image that the field was estimated on; ``None`` if it is not known any more.
    log_bias, mask
        The log field and the mask, of the image's shape.
    solved
        The run.
    voxel_sizes
        In mm, along each axis of space of the image; ``None`` if they are not known.
    signs
        What says that the image was corrected before, in words.
    maps
        Maps of tissues in the shape of a volume, if there are any.
    """

    before: npt.NDArray[Any] | None
    log_bias: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    solved: Solved
    voxel_sizes: Sequence[float] | None = None
    signs: Sequence[str] = ()
    maps: Sequence[npt.NDArray[Any]] = ()

    @property
    def settings(self) -> N4Settings:
        """The parameters of the estimation."""
        return self.solved.settings

    @cached_property
    def volume(self) -> npt.NDArray[Any] | None:
        """:attr:`before`, or of volumes in time the one with most voxels in the mask."""
        return None if self.before is None else self._drop_time(self.before)

    @cached_property
    def inside(self) -> npt.NDArray[np.bool_]:
        """The mask of that volume."""
        return self._drop_time(self.mask)

    @cached_property
    def measures(self) -> dict[str, float | None]:
        """The numbers that describe the correction, as in :class:`n4ax.verdict.Verdict`."""
        return measure_evenness(self.samples)

    @cached_property
    def samples(self) -> Samples:
        """A coarse grid of voxels in the box around the mask."""
        log_bias = self._drop_time(self.log_bias)
        return take_samples(self.volume, log_bias, self.inside, self.sizes, self._box, self.maps)

    @property
    def sizes(self) -> tuple[float, ...]:
        """The voxel sizes in mm, or 1 for each axis if they are not known."""
        return tuple(self.voxel_sizes or ()) or (1.0,) * self.inside.ndim

    @property
    def unit(self) -> str:
        """What lengths are measured in."""
        return "voxels" if self.voxel_sizes is None else "mm"

    @cached_property
    def extents(self) -> list[float]:
        """How far the mask reaches along each axis longer than 1, in :attr:`unit`."""
        return measure_box(self._box, self.sizes, self.inside.shape)

    @cached_property
    def elements(self) -> list[float]:
        """The length of an element of the last level along each such axis, in :attr:`unit`.

        It is empty if the slices of the image have fields of their own.
        """
        field = self.solved.field
        if field.shape != self.mask.shape:
            return []
        lengths = measure_elements(field)
        lengths = self._drop_times(lengths)
        sizes = [size for size, n in zip(self.sizes, self.inside.shape, strict=True) if n > 1]
        return [length * size for length, size in zip(lengths, sizes, strict=True)]

    @property
    def coarsening(self) -> int:
        """By how much an element of the first level is longer than one of the last."""
        return 2 ** (len(self.settings.iters) - 1)

    @cached_property
    def estimated(self) -> int:
        """How many voxels of the mask the field was estimated on."""
        field = self.solved.field
        if field.shape != self.mask.shape:
            return int(np.count_nonzero(self.mask))
        kept = self.mask.reshape([n for n in self.mask.shape if n != 1])
        return int(np.count_nonzero(kept[tuple(axis.sampled_voxels for axis in field.axes)]))

    @cached_property
    def _box(self) -> tuple[slice, ...]:
        return find_box(self.inside)

    @cached_property
    def _number(self) -> int:
        """The volume with most voxels in the mask, if there is an axis beyond those of space."""
        last = self.mask.ndim - 1
        others = range(last) if self.settings.voxel_order == "F" else range(1, last + 1)
        return int(self.mask.sum(axis=tuple(others)).argmax())

    def _drop_time(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One volume, if there is an axis beyond the three of space."""
        if array.ndim <= _SPATIAL:
            return array
        return array.take(self._number, axis=-1 if self.settings.voxel_order == "F" else 0)

    def _drop_times(self, values: list[float]) -> list[float]:
        """The values of the axes of space, of values of all axes longer than 1."""
        beyond = self.mask.ndim > _SPATIAL and prod(self.mask.shape) > self.inside.size
        if not beyond:
            return values
        return values[:-1] if self.settings.voxel_order == "F" else values[1:]


def measure_elements(field: BiasField) -> list[float]:
    """The length of a mesh element along each axis of a field, in voxels."""
    return [
        (axis.padded - 1) / (points - field.order)
        for axis, points in zip(field.axes, field.control_points.shape, strict=True)
    ]


def find_voxel_sizes(field: BiasField, settings: N4Settings) -> tuple[float, ...] | None:
    """The voxel sizes in mm of the image that a field is from, if the field knows them.

    Either the field knows where its image lies, or a spline distance says how long its elements
    are.
    """
    shape = field.shape if len(field.shape) <= _SPATIAL else ()
    if field.affine is not None and shape:
        sizes = np.linalg.norm(field.affine[:3, :3], axis=0)[: len(shape)]
        sizes = sizes if field.voxel_order == "F" else sizes[::-1]
        return tuple(float(size) for size in sizes)
    if settings.spline_distance is None or not shape:
        return None
    finest = settings.spline_distance / 2 ** (len(settings.iters) - 1)
    known = iter(finest / length for length in measure_elements(field))
    return tuple(next(known) if n != 1 else finest for n in shape)
