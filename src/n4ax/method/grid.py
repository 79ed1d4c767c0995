"""How the voxels of an image map to the domain of the spline: padding, sampling, and stretching.

Padding (for a spline distance in mm) and shrinking are index arithmetic on each axis, done as ANTs
and ITK do it. No array of the size of the image is made here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
import numpy.typing as npt

from n4ax.itk.shrink import choose_samples
from n4ax.itk.space import Position, Space
from n4ax.method.bspline import AxisBasis, axis_basis, basis_at, stretch_indices


@dataclass(frozen=True)
class Axis:
    """One axis of an image, and the samples of it that the estimation uses.

    Attributes
    ----------
    count
        Number of voxels of the image.
    lower, upper
        Voxels of padding before and after the image.
    shrink
        Every ``shrink``-th voxel is sampled.
    first
        The voxel of the image at sample 0; negative within the padding.
    samples
        Number of samples on the padded axis.
    every
        Only one in ``every`` of the samples on the image is used: the middle one of each group of
        that many samples.
    position
        Where ITK places the samples, which decides the last digits in its arithmetic.
    """

    count: int
    lower: int = 0
    upper: int = 0
    shrink: int = 1
    first: int = 0
    samples: int = 0
    every: int = 1
    position: Position = field(default=Position(0.0, 1.0, 0), compare=False)

    @property
    def padded(self) -> int:
        """Number of voxels of the axis with its padding."""
        return self.lower + self.count + self.upper

    @property
    def inside(self) -> range:
        """The samples that fall on the image."""
        start = max(0, ceil(-self.first / self.shrink))
        stop = min(self.samples, (self.count - 1 - self.first) // self.shrink + 1)
        return range(start, max(start, stop))

    @property
    def sampled_voxels(self) -> slice:
        """The voxels of the image that the samples fall on."""
        inside = self.inside
        start = self.first + self.shrink * inside.start
        return slice(start, start + self.shrink * len(inside), self.shrink)

    @property
    def thinned_samples(self) -> slice:
        """The samples that are used, counted among the samples on the image."""
        return slice(self.every // 2 if self.every <= len(self.inside) else 0, None, self.every)

    def sample_basis(self, control_points: int, order: int) -> AxisBasis:
        """The basis at the samples that are used."""
        basis = axis_basis(self.samples, control_points, order)
        return basis.part(slice(self.inside.start, self.inside.stop)).part(self.thinned_samples)

    def stretched_basis(self, count: int, control_points: int, order: int) -> AxisBasis:
        """The basis on the image resampled to ``count`` voxels.

        As in ITK, the domain is stretched from the first to the last voxel of the grid on which
        the field is evaluated, although the field of a shrunken image was fitted from the first
        to the last sample.
        """
        spans = control_points - order
        if count == self.count:
            p = stretch_indices(self.padded, spans)[self.lower : self.lower + count]
        elif self.padded == self.count:
            p = stretch_indices(count, spans)
        else:
            at = self.lower + np.linspace(0.0, self.count - 1.0, count)
            p = spans * at / (self.padded - 1)
        return basis_at(p, control_points, order)

    def fitted_coordinate(
        self, voxel: npt.NDArray[np.float64], spans: int
    ) -> npt.NDArray[np.float64]:
        """Parametric coordinates at which voxel coordinates were fitted, clipped to the domain."""
        length = self.shrink * (self.samples - 1)
        return np.clip(spans * (voxel - self.first) / length, 0.0, float(spans))


def sample_axes(
    shape: Sequence[int],
    shrink: Sequence[int],
    padding: Sequence[tuple[int, int]],
    space: Space,
) -> tuple[Axis, ...]:
    """The axes of an image, with the samples that ITK's shrink filter takes.

    Parameters
    ----------
    shape, shrink, padding
        Number of voxels, shrink factor, and voxels of padding before and after the image, along
        each axis in ITK's order.
    space
        Where the image lies.
    """
    samples = choose_samples(shape, shrink, padding, space)
    return tuple(
        Axis(count, *margins, factor, chosen.first, chosen.number, position=chosen.position)
        for count, margins, factor, chosen in zip(shape, padding, shrink, samples, strict=True)
    )


def padding_for_distance(count: int, spacing: float, distance: float) -> tuple[int, int, int]:
    """The mesh and the padding of an axis for a spline distance, by ANTs' rule.

    As many whole elements are taken as cover the axis, and the axis is padded by as many voxels
    as fill them, half on either side. The arithmetic is float32, as in ANTs.

    Parameters
    ----------
    count
        Number of voxels.
    spacing, distance
        Voxel size and spline distance in mm.

    Returns
    -------
    tuple of int
        Mesh elements, voxels of padding before the axis, and voxels of padding after it.
    """
    size, step = np.float32(distance), np.float32(spacing)
    domain = np.float32(count - 1) * step
    spans = max(1, ceil(domain / size))
    extra = int((np.float32(spans) * size - domain) / step + np.float32(0.5))
    return spans, extra // 2, extra - extra // 2
