"""The voxels that count of an image, in pieces for the stopping measure."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.compiled.arguments import LaidOut, lay_out
from n4ax.engines.compiled.kernel import Kernel
from n4ax.engines.cpu.kernels import changes
from n4ax.engines.cpu.recurrence import Running
from n4ax.engines.cpu.threads import Jobs
from n4ax.method.convergence import Samples

PIECE_VOXELS = 1 << 13

MANY_STEPS = 512
"""So many changes of the field are computed by all threads."""


class PieceKernels(NamedTuple):
    """The kernels of an engine for the voxels of pieces."""

    compute_steps: Kernel
    compute_ratios: Kernel
    sum_pieces: Kernel


class PieceVoxels:
    """What :class:`n4ax.engines.cpu.change.Voxels` asks for.

    Parameters
    ----------
    stretches
        Where the voxels lie, in the form of the engine.
    start
        Voxels before each stretch, and in total.
    locate
        Finds where some voxels lie.
    kernels
        The kernels of the engine.
    jobs
        Runs the kernels. Someone else has it forget the fields of a level.
    """

    def __init__(
        self,
        stretches: Any,
        start: npt.NDArray[np.int64],
        locate: Callable[[Samples], Any],
        kernels: PieceKernels,
        jobs: Jobs,
    ) -> None:
        ideal = np.searchsorted(start, np.arange(0, start[-1], PIECE_VOXELS))
        self._pieces = np.unique(np.append(ideal, len(start) - 1))
        self.number = start[self._pieces]
        self._locate = locate
        self._stretches, self._kernels, self._jobs = stretches, kernels, jobs
        self._ratios = np.empty(0, np.float32)
        self._ranges: dict[tuple[int, int], tuple[npt.NDArray[Any], npt.NDArray[np.float32]]] = {}

    def locate(self, samples: Samples) -> Any:
        """Where some voxels lie."""
        return self._locate(samples)

    def compute_steps(self, places: Any, fields: Any, steps: npt.NDArray[np.float32]) -> None:
        """Set ``steps`` to old field less new field at the voxels that were located."""
        few = len(steps) < MANY_STEPS
        self._jobs.run(len(steps), self._kernels.compute_steps, places, *fields, steps, alone=few)

    def compute_ratios(self, first: int, stop: int, fields: Any) -> npt.NDArray[np.float32]:
        """exp(old field - new field) of the voxels of some pieces, in ITK's order.

        A later call for these pieces overwrites the array.
        """
        pieces, ratios = self._choose_range(first, stop)
        kernel = self._kernels.compute_ratios
        self._jobs.run(stop - first, kernel, pieces, self._stretches, *fields, ratios)
        return ratios

    def _choose_range(
        self, first: int, stop: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """The stretches that bound some pieces, and room for the ratios of their voxels."""
        if (first, stop) not in self._ranges:
            if not len(self._ratios):
                self._ratios = np.empty(self.number[-1], np.float32)
            room = self._ratios[self.number[first] : self.number[stop]]
            self._ranges[first, stop] = self._pieces[first : stop + 1], room
        return self._ranges[first, stop]

    def sum_pieces(
        self, fields: Any, first: int, running: Running, units: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """What the pieces from ``first`` on add to sigma, each in its ``units``."""
        pieces = self._pieces[first : first + len(units) + 1]
        added = np.empty(len(units))
        self._jobs.threads.run(
            len(units), self._kernels.sum_pieces,
            pieces, self._stretches, *fields, running[1], units, added,
        )  # fmt: skip
        return added


class Places(NamedTuple):
    """Where voxels lie in a stack of planes."""

    plane: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]


def make_row_voxels(rows: LaidOut, jobs: Jobs) -> PieceVoxels:
    """Cut the voxels of packed rows into pieces. ``rows`` are laid out for the kernels."""

    def locate(samples: Samples) -> LaidOut:
        count = len(samples.voxel)
        places = Places(*(np.empty(count, np.int64) for _ in Places._fields))
        changes.locate_voxels(0, count, samples.voxel, rows, *places)
        return lay_out(places)

    kernels = PieceKernels(changes.compute_steps, changes.compute_ratios, changes.sum_pieces)
    return PieceVoxels(rows, rows.value.included, locate, kernels, jobs)
