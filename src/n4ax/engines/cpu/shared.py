"""Several images with one bias field, as one engine: measured one by one, fitted together.

Every image keeps its own histogram; the residuals of all are fitted by one spline, each voxel of
each image with its weight. The fit of one image is ``delta / omega``, see
:mod:`n4ax.method.bspline`; of several it is the mean of the deltas over the mean of the omegas.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.engine import CpuEngine, CpuField, CpuMesh, Lattice

S = TypeVar("S")


class SharedMesh(NamedTuple):
    """The mesh of a level as each image has it, and their mean weight on its control points."""

    each: list[CpuMesh]
    omega: npt.NDArray[np.float64]


class SharedEngine:
    """The primitives of :mod:`n4ax.method.solver` for images of one shape.

    Parameters
    ----------
    engines
        One per image. The first says when a level ends.
    """

    def __init__(self, engines: list[CpuEngine]) -> None:
        self._engines = engines
        self._first = engines[0]
        self.voxels = sum(engine.voxels for engine in engines)

    def for_each_level(self, levels: int, body: Callable[[int, S], S], state: S) -> S:
        """``body(level, state)`` for levels 0, 1, ..."""
        return self._first.for_each_level(levels, body, state)

    def repeat(self, goes_on: Callable[[S], bool], step: Callable[[S], S], state: S) -> S:
        """``step(state)`` while ``goes_on(state)``."""
        return self._first.repeat(goes_on, step, state)

    def mesh(self, level: int) -> SharedMesh:
        """The mesh of a level."""
        each = [engine.mesh(level) for engine in self._engines]
        omega = sum((mesh.omega for mesh in each[1:]), each[0].omega)
        return SharedMesh(each, omega / len(each))

    def refine(self, level: int, lattice: Lattice) -> Lattice:
        """The lattice of the level before on the mesh of ``level``; as it is at level 0."""
        return self._first.refine(level, lattice)

    def no_lattice(self) -> Lattice:
        """Zeros, on the mesh of level 0."""
        return self._first.no_lattice()

    def expand(self, mesh: SharedMesh, lattice: Lattice) -> list[CpuField]:
        """The field of a lattice, for each image."""
        pairs = zip(self._engines, mesh.each, strict=True)
        return [engine.expand(own, lattice) for engine, own in pairs]

    def channels(self, mesh: SharedMesh, field: list[CpuField]) -> list[tuple[Any, Any, Any]]:
        """The images, each with its mesh and field."""
        return list(zip(self._engines, mesh.each, field, strict=True))

    def change(
        self, field: list[CpuField], before: list[CpuField], threshold: float, every_measure: bool
    ) -> float:
        """The convergence measure, on the voxels of the first image."""
        return self._first.change(field[0], before[0], threshold, every_measure)
