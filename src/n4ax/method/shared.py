"""Several images with one bias field, for every engine.

Every image keeps a histogram of its own, and one spline is fitted to the residuals of all images,
each voxel of each image with its weight. The fit of one image is ``delta / omega``, see
:mod:`n4ax.method.bspline`. The fit of several images is the mean of their deltas, divided by the
mean of their omegas.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple

from n4ax.method.solver import Array, ChannelState, Engine, F, M, Number, S


class SharedMesh(NamedTuple, Generic[M]):
    """The mesh of a level for each image, and the mean of their omegas."""

    each: list[M]
    omega: Array


class SharedEngine(Generic[M, F]):
    """The engine of :mod:`n4ax.method.solver` for images of one shape; they are its channels.

    Parameters
    ----------
    engines
        One engine per image. The voxels of the first image decide when a level ends.
    voxels
        Number of voxels of all images that count; the accelerated schedule needs it.
    """

    def __init__(self, engines: Sequence[Engine[M, F]], voxels: int = 0) -> None:
        self._engines = engines
        self._first = engines[0]
        self.voxels = voxels

    def for_each_level(self, levels: int, body: Callable[[Number, S], S], state: S) -> S:
        """Apply ``body(level, state)`` for the levels 0, 1, ..."""
        return self._first.for_each_level(levels, body, state)

    def repeat(self, goes_on: Callable[[S], Any], step: Callable[[S], S], state: S) -> S:
        """Apply ``step(state)`` as long as ``goes_on(state)``."""
        return self._first.repeat(goes_on, step, state)

    def mesh(self, level: Number) -> SharedMesh[M]:
        """The mesh of a level."""
        each = [engine.mesh(level) for engine in self._engines]
        omega = sum((mesh.omega for mesh in each[1:]), each[0].omega)
        return SharedMesh(each, omega / len(each))

    def refine(self, level: Number, lattice: Array) -> Array:
        """The lattice of the previous level on the mesh of ``level``; unchanged at level 0."""
        return self._first.refine(level, lattice)

    def no_lattice(self) -> Array:
        """A lattice of zeros on the mesh of level 0."""
        return self._first.no_lattice()

    def expand(self, mesh: SharedMesh[M], lattice: Array) -> list[F]:
        """The field of a lattice, for each image."""
        pairs = zip(self._engines, mesh.each, strict=True)
        return [engine.expand(own, lattice) for engine, own in pairs]

    def channels(self, mesh: SharedMesh[M], field: list[F]) -> list[ChannelState[Any, Any, Any]]:
        """The images, each with its mesh and field."""
        return [
            channel
            for engine, own, part in zip(self._engines, mesh.each, field, strict=True)
            for channel in engine.channels(own, part)
        ]

    def change(self, field: list[F], before: list[F], threshold: Number) -> Number:
        """The convergence measure, on the voxels of the first image."""
        return self._first.change(field[0], before[0], threshold)
