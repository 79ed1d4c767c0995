"""Where the voxels of an image lie on the spline's domain: padding, sampling, index stretch.

Nothing of the size of the image is made here. Padding (for a spline distance in mm) and
shrinking are index arithmetic per axis, done as ANTs and ITK do them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from n4ax.itk.space import Space
from n4ax.method.bspline import AxisBasis, axis_basis, basis_at, index_stretch


@dataclass(frozen=True)
class Axis:
    """One axis of an image, and the samples that the estimation takes of it.

    Attributes
    ----------
    count
        Voxels of the image.
    lower, upper
        Voxels of padding before and after.
    shrink
        Every ``shrink``-th voxel is taken.
    first
        Voxel of the image that sample 0 falls on; negative within the padding.
    samples
        Samples of the padded axis.
    every
        Of the samples on the image, one in so many is worked with, from the middle of the first.
    """

    count: int
    lower: int = 0
    upper: int = 0
    shrink: int = 1
    first: int = 0
    samples: int = 0
    every: int = 1

    @property
    def padded(self) -> int:
        """Voxels of the axis with its padding."""
        return self.lower + self.count + self.upper

    @property
    def inside(self) -> range:
        """The samples that fall on the image."""
        start = max(0, ceil(-self.first / self.shrink))
        stop = min(self.samples, (self.count - 1 - self.first) // self.shrink + 1)
        return range(start, max(start, stop))

    @property
    def taken(self) -> slice:
        """The voxels of the image that the samples fall on."""
        inside = self.inside
        start = self.first + self.shrink * inside.start
        return slice(start, start + self.shrink * len(inside), self.shrink)

    def sample_basis(self, control_points: int, order: int) -> AxisBasis:
        """The basis at those samples on the image that are worked with."""
        basis = axis_basis(self.samples, control_points, order)
        return basis.part(slice(self.inside.start, self.inside.stop)).part(self.kept)

    @property
    def kept(self) -> slice:
        """Of the samples on the image, those that are worked with."""
        return slice(self.every // 2 if self.every <= len(self.inside) else 0, None, self.every)

    def stretched_basis(self, count: int, control_points: int, order: int) -> AxisBasis:
        """The basis on the image resampled to ``count`` voxels, first to last (ITK).

        ITK spans the domain from the first to the last voxel of whatever grid it evaluates on,
        though after shrinking it was fitted from the first to the last sample.
        """
        spans = control_points - order
        if count == self.count:
            p = index_stretch(self.padded, spans)[self.lower : self.lower + count]
        elif self.padded == self.count:
            p = index_stretch(count, spans)
        else:
            at = self.lower + np.linspace(0.0, self.count - 1.0, count)
            p = spans * at / (self.padded - 1)
        return basis_at(p, control_points, order)

    def fitted_coordinate(
        self, voxel: npt.NDArray[np.float64], spans: int
    ) -> npt.NDArray[np.float64]:
        """Parametric coordinate at which a voxel coordinate was fitted, kept in the domain."""
        length = self.shrink * (self.samples - 1)
        return np.clip(spans * (voxel - self.first) / length, 0.0, float(spans))


def sampled_axes(
    shape: Sequence[int],
    shrink: Sequence[int],
    padding: Sequence[tuple[int, int]],
    space: Space,
) -> tuple[Axis, ...]:
    """The samples of an image as ITK's shrink filter takes them: no averaging.

    The filter aligns the physical centres of both grids and takes the voxels under the first
    output voxel. Where that falls on an exact half, the outcome hangs on the rounding of these
    very sums and products, so they are formed as ITK forms them.

    Parameters
    ----------
    shape, shrink, padding
        Voxels, shrink factor, and voxels of padding before and after, along each axis, in ITK's
        order. ITK counts voxels from the image on: the padding before has negative numbers.
    space
        Where the image lies.
    """
    axes = range(len(shape))
    padded = [lower + count + upper for count, (lower, upper) in zip(shape, padding, strict=True)]
    samples = [max(1, n // s) for n, s in zip(padded, shrink, strict=True)]
    start = [ceil(-lower / s) for (lower, _), s in zip(padding, shrink, strict=True)]
    centre_in = space.point_at([(padded[k] - 1) / 2.0 - padding[k][0] for k in axes])
    coarse = space.coarser(shrink, space.origin)
    centre_out = coarse.point_at([start[k] + (samples[k] - 1) / 2.0 for k in axes])
    origin = [space.origin[k] + (centre_in[k] - centre_out[k]) for k in axes]
    first = space.voxel_at(space.coarser(shrink, origin).point_of(start))
    return tuple(
        Axis(shape[k], *padding[k], shrink[k], max(first[k], shrink[k] * start[k]), samples[k])
        for k in axes
    )


def padding_for_distance(count: int, spacing: float, distance: float) -> tuple[int, int, int]:
    """Mesh elements and voxels of padding (before, after) for a spline distance in mm.

    ANTs' rule, in its float32: as many whole elements as cover the axis, which is padded by
    as many voxels as fill them, half on either side.
    """
    size, step = np.float32(distance), np.float32(spacing)
    domain = np.float32(count - 1) * step
    spans = max(1, ceil(domain / size))
    extra = int((np.float32(spans) * size - domain) / step + np.float32(0.5))
    return spans, extra // 2, extra - extra // 2
