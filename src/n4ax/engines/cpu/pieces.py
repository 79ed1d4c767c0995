"""The voxels that count of an image that is packed in rows, in pieces for the stopping measure."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.change import PIECE_VOXELS
from n4ax.engines.cpu.kernels.changes import (
    compute_ratios,
    compute_steps,
    locate_voxels,
    sum_pieces,
)
from n4ax.engines.cpu.kernels.layout import Rows, Sheets
from n4ax.engines.cpu.recurrence import Running
from n4ax.engines.cpu.threads import Threads
from n4ax.method.convergence import Samples

Fields = tuple[Sheets, Sheets]
"""The sheets after and before an iteration."""


class Places(NamedTuple):
    """Where voxels lie in a stack of planes."""

    plane: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]


def cut_pieces(number: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Cut stretches into pieces of about ``PIECE_VOXELS`` voxels.

    Parameters
    ----------
    number
        Voxels before each stretch, and in total.

    Returns
    -------
    array
        The first stretch of each piece, and the number of stretches.
    """
    ideal = np.searchsorted(number, np.arange(0, number[-1], PIECE_VOXELS))
    return np.unique(np.append(ideal, len(number) - 1))


class RowVoxels:
    """What :class:`n4ax.engines.cpu.change.Voxels` asks for, of packed rows.

    Parameters
    ----------
    rows
        The packed image.
    threads
        The threads that run the kernels.
    """

    def __init__(self, rows: Rows, threads: Threads) -> None:
        self._rows = rows
        self._threads = threads
        self._pieces = cut_pieces(rows.included)
        self.number = rows.included[self._pieces]

    def locate(self, samples: Samples) -> Places:
        """Where some voxels lie."""
        count = len(samples.voxel)
        places = Places(*(np.empty(count, np.int64) for _ in Places._fields))
        locate_voxels(0, count, samples.voxel, self._rows, *places)
        return places

    def compute_steps(self, places: Places, fields: Fields) -> npt.NDArray[np.float32]:
        """Old field less new field at the voxels that :meth:`locate` has located."""
        steps = np.empty(len(places.x), np.float32)
        compute_steps(0, len(steps), places, *fields, steps)
        return steps

    def compute_ratios(self, first: int, stop: int, fields: Fields) -> npt.NDArray[np.float32]:
        """exp(old field - new field) of the voxels of some pieces, in ITK's order."""
        pieces = self._pieces[first : stop + 1]
        ratios = np.empty(self.number[stop] - self.number[first], np.float32)
        self._threads.run(stop - first, compute_ratios, pieces, self._rows, fields, ratios)
        return ratios

    def sum_pieces(
        self, fields: Fields, first: int, running: Running, units: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """What the pieces from ``first`` on add to sigma, each in its ``units``."""
        pieces = self._pieces[first : first + len(units) + 1]
        added = np.empty(len(units))
        self._threads.run(
            len(units), sum_pieces, pieces, self._rows, fields, running[1], units, added
        )
        return added
