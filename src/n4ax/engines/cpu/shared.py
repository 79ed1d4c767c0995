"""An engine for several images with one bias field.

Every image keeps a histogram of its own, and one spline is fitted to the residuals of all images,
each voxel of each image with its weight. The fit of one image is ``delta / omega``, see
:mod:`n4ax.method.bspline`. The fit of several images is the mean of their deltas, divided by the
mean of their omegas.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.engine import CpuBinned, CpuEngine, CpuMesh
from n4ax.engines.cpu.field import CpuField
from n4ax.engines.cpu.kernels.layout import Lattice
from n4ax.method.solver import ChannelState

S = TypeVar("S")


class SharedMesh(NamedTuple):
    """The mesh of a level for each image, and the mean of their omegas."""

    each: list[CpuMesh]
    omega: npt.NDArray[np.float64]


class SharedEngine:
    """The engine of :mod:`n4ax.method.solver` for images of one shape; they are its channels.

    Parameters
    ----------
    engines
        One engine per image. The voxels of the first image decide when a level ends.
    """

    def __init__(self, engines: list[CpuEngine]) -> None:
        self._engines = engines
        self._first = engines[0]
        self.voxels = sum(engine.voxels for engine in engines)

    def for_each_level(self, levels: int, body: Callable[[int, S], S], state: S) -> S:
        """Apply ``body(level, state)`` for the levels 0, 1, ..."""
        return self._first.for_each_level(levels, body, state)

    def repeat(self, goes_on: Callable[[S], bool], step: Callable[[S], S], state: S) -> S:
        """Apply ``step(state)`` as long as ``goes_on(state)``."""
        return self._first.repeat(goes_on, step, state)

    def mesh(self, level: int) -> SharedMesh:
        """The mesh of a level."""
        each = [engine.mesh(level) for engine in self._engines]
        omega = sum((mesh.omega for mesh in each[1:]), each[0].omega)
        return SharedMesh(each, omega / len(each))

    def refine(self, level: int, lattice: Lattice) -> Lattice:
        """The lattice of the previous level on the mesh of ``level``; unchanged at level 0."""
        return self._first.refine(level, lattice)

    def no_lattice(self) -> Lattice:
        """A lattice of zeros on the mesh of level 0."""
        return self._first.no_lattice()

    def expand(self, mesh: SharedMesh, lattice: Lattice) -> list[CpuField]:
        """The field of a lattice, for each image."""
        pairs = zip(self._engines, mesh.each, strict=True)
        return [engine.expand(own, lattice) for engine, own in pairs]

    def channels(
        self, mesh: SharedMesh, field: list[CpuField]
    ) -> list[ChannelState[CpuMesh, CpuField, CpuBinned]]:
        """The images, each with its mesh and field."""
        return [
            ChannelState(engine, own, part)
            for engine, own, part in zip(self._engines, mesh.each, field, strict=True)
        ]

    def change(self, field: list[CpuField], before: list[CpuField], threshold: float) -> float:
        """The convergence measure, on the voxels of the first image."""
        return self._first.change(field[0], before[0], threshold)
