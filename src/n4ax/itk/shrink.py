"""Which voxels ITK's shrink filter takes: no averaging, one voxel per sample."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from n4ax.itk.space import Position, Space


class AxisSamples(NamedTuple):
    """The samples along one axis."""

    first: int
    """The voxel of the image under sample 0; negative in the padding before the image."""
    number: int
    """How many samples the padded axis has."""
    position: Position
    """Where ITK places the samples."""


def choose_samples(
    shape: Sequence[int],
    factors: Sequence[int],
    padding: Sequence[tuple[int, int]],
    space: Space,
) -> tuple[AxisSamples, ...]:
    """The samples that ITK takes of an image.

    The filter aligns the physical centres of both grids and takes the voxels under the first
    output voxel. Where that voxel falls exactly halfway between two, the rounding of these sums
    and products decides, so they are formed as ITK forms them.

    Parameters
    ----------
    shape, factors, padding
        Number of voxels, shrink factor, and voxels of padding before and after the image, along
        each axis in ITK's order. ITK numbers voxels from the start of the image, so the padding
        before it has negative numbers.
    space
        Where the image lies.

    Returns
    -------
    tuple of AxisSamples
        The first voxel and the number of samples along each axis.
    """
    axes = range(len(shape))
    padded = [lower + count + upper for count, (lower, upper) in zip(shape, padding, strict=True)]
    numbers = [max(1, n // s) for n, s in zip(padded, factors, strict=True)]
    start = [ceil(-lower / s) for (lower, _), s in zip(padding, factors, strict=True)]
    centre_in = space.locate_position([(padded[k] - 1) / 2.0 - padding[k][0] for k in axes])
    coarse = space.coarsen(factors, space.origin)
    centre_out = coarse.locate_position([start[k] + (numbers[k] - 1) / 2.0 for k in axes])
    origin = [space.origin[k] + (centre_in[k] - centre_out[k]) for k in axes]
    shrunk = space.coarsen(factors, origin)
    first = space.find_voxel(shrunk.locate_voxel(start))
    return tuple(
        AxisSamples(
            max(first[k], factors[k] * start[k]),
            numbers[k],
            Position(origin[k], shrunk.spacing[k], start[k]),
        )
        for k in axes
    )
