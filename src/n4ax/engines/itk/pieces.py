"""The voxels that count, in pieces for the stopping measure."""

import numpy as np
import numpy.typing as npt

from n4ax.engines.compiled.arguments import LaidOut, lay_out
from n4ax.engines.cpu.pieces import cut_pieces
from n4ax.engines.cpu.recurrence import Running
from n4ax.engines.cpu.threads import Threads
from n4ax.engines.itk.kernels.changes import compute_ratios, compute_steps, sum_pieces
from n4ax.engines.itk.kernels.layout import Rows, Runs
from n4ax.method.convergence import Samples

Fields = tuple[Rows, Rows]
"""The rows of the field after and before an iteration."""


class RunVoxels:
    """What :class:`n4ax.engines.cpu.change.Voxels` asks for, of runs of voxels.

    Parameters
    ----------
    runs
        Where the voxels lie.
    threads
        The threads that run the kernels.
    """

    def __init__(self, runs: Runs, threads: Threads) -> None:
        self._runs = runs
        self._threads = threads
        self._pieces = cut_pieces(runs.start)
        self.number = runs.start[self._pieces]

    def locate(self, samples: Samples) -> LaidOut:
        """Where some voxels lie: their rows and columns."""
        runs = self._runs
        run = np.searchsorted(runs.start, samples.voxel, side="right") - 1
        return lay_out((runs.row[run], runs.x[run] + samples.voxel - runs.start[run]))

    def compute_steps(
        self, places: LaidOut, fields: Fields, steps: npt.NDArray[np.float32]
    ) -> None:
        """Set ``steps`` to old field less new field at the voxels that were located."""
        compute_steps(0, len(steps), places, *fields, steps)

    def compute_ratios(self, first: int, stop: int, fields: Fields) -> npt.NDArray[np.float32]:
        """exp(old field - new field) of the voxels of some pieces, in ITK's order."""
        pieces = self._pieces[first : stop + 1]
        ratios = np.empty(self.number[stop] - self.number[first], np.float32)
        self._threads.run(stop - first, compute_ratios, pieces, self._runs, fields, ratios)
        return ratios

    def sum_pieces(
        self, fields: Fields, first: int, running: Running, units: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """What the pieces from ``first`` on add to sigma, each in its ``units``."""
        pieces = self._pieces[first : first + len(units) + 1]
        added = np.empty(len(units))
        self._threads.run(
            len(units), sum_pieces, pieces, self._runs, fields, running[1], units, added
        )
        return added
