"""How much memory a mesh takes, which is known before anything is computed."""

from collections.abc import Sequence
from math import prod

from n4ax.method.grid import Axis
from n4ax.settings import N4Settings

_PER_POINT = 64
"""Bytes for each control point: a few lattices in single and in double precision at once."""

_LANES = 16
"""The CPU engine's rows are longer than the image's by up to this many places."""


MOST_KEPT = 1 << 26
"""The lattices after all iterations are kept if they take at most this many bytes."""


def keeps_path(settings: N4Settings, control_points: Sequence[int]) -> bool:
    """Whether the lattices after all iterations are kept, for their measures.

    If they would take too much memory, the measure of every iteration is computed on the way.
    """
    order = settings.spline_order
    points = [
        count * prod((n - order) * 2**level + order for n in control_points)
        for level, count in enumerate(settings.iters)
    ]
    return 4 * sum(points) <= MOST_KEPT


def estimate_memory(
    axes: Sequence[Axis], control_points: Sequence[int], order: int, levels: int
) -> int:
    """Estimate the memory that the mesh takes with the engine that takes more, in bytes.

    These are the lattices of the last level, the CPU engine's fields along rows and sums of
    planes, and the XLA engine's tables, which hold all levels at the size of the last.

    Parameters
    ----------
    axes
        How each axis of the image is padded and sampled, x last.
    control_points
        Control points on each axis at the first level.
    order
        Order of the spline.
    levels
        Number of levels; each has twice the elements of the previous one.
    """
    finest = [(points - order) * 2 ** (levels - 1) + order for points in control_points]
    samples = [len(axis.inside) for axis in axes]
    *_, rows, columns = finest
    planes, whole_planes = prod(samples[:-2]), prod(axis.count for axis in axes[:-2])
    fitted = 2 * 4 * planes * rows * (samples[-1] + _LANES)  # two fields at once
    applied = 4 * whole_planes * rows * (axes[-1].count + _LANES)
    sums = 8 * planes * columns * (rows + samples[-2])
    tables = sum(levels * n * (20 * m + 8 * n) for n, m in zip(finest, samples, strict=True))
    return _PER_POINT * prod(finest) + max(fitted, applied) + sums + tables
