"""The voxels that count of an image that is packed in rows, in pieces for the stopping measure."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.compiled.arguments import LaidOut, lay_out
from n4ax.engines.cpu.change import PIECE_VOXELS
from n4ax.engines.cpu.kernels.changes import (
    compute_ratios,
    compute_steps,
    locate_voxels,
    sum_pieces,
)
from n4ax.engines.cpu.kernels.layout import Rows
from n4ax.engines.cpu.recurrence import Running
from n4ax.engines.cpu.threads import ALONE, Job, Threads
from n4ax.method.convergence import Samples

Fields = tuple[LaidOut, LaidOut]
"""The sheets after and before an iteration."""

Steps = npt.NDArray[np.float32]

MANY_STEPS = 8_192
"""So many changes of the field are computed by all threads."""

MOST_JOBS = 8
"""So many calls for ratios are remembered, with their memory."""


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
        self._rows = lay_out(rows)
        self._threads = threads
        self._jobs: dict[tuple[int, ...], tuple[Job, Steps, Fields]] = {}
        self._pieces = cut_pieces(rows.included)
        self.number = rows.included[self._pieces]

    def locate(self, samples: Samples) -> LaidOut:
        """Where some voxels lie."""
        count = len(samples.voxel)
        places = Places(*(np.empty(count, np.int64) for _ in Places._fields))
        locate_voxels(0, count, samples.voxel, self._rows, *places)
        return lay_out(places)

    def compute_steps(self, places: LaidOut, fields: Fields, steps: Steps) -> None:
        """Set ``steps`` to old field less new field at the voxels that were located."""
        threads = self._threads if len(steps) >= MANY_STEPS else ALONE
        threads.run(len(steps), compute_steps, places, *fields, steps)

    def compute_ratios(self, first: int, stop: int, fields: Fields) -> npt.NDArray[np.float32]:
        """exp(old field - new field) of the voxels of some pieces, in ITK's order.

        A later call for the same pieces overwrites the array.
        """
        key = (first, stop, *map(id, fields))
        if key not in self._jobs:
            if len(self._jobs) == MOST_JOBS:
                self._jobs.clear()
            self._jobs[key] = self._prepare_ratios(first, stop, fields)
        job, ratios, _ = self._jobs[key]
        job()
        return ratios

    def _prepare_ratios(self, first: int, stop: int, fields: Fields) -> tuple[Job, Steps, Fields]:
        pieces = self._pieces[first : stop + 1]
        ratios = np.empty(self.number[stop] - self.number[first], np.float32)
        job = self._threads.prepare(
            stop - first, compute_ratios, pieces, self._rows, fields, ratios
        )
        return job, ratios, fields

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
