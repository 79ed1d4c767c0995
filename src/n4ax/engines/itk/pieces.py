"""The voxels that count, in pieces for the stopping measure."""

import numpy as np

from n4ax.engines.compiled.arguments import LaidOut, lay_out
from n4ax.engines.cpu.pieces import PieceKernels, PieceVoxels
from n4ax.engines.cpu.threads import Jobs
from n4ax.engines.itk.kernels import changes
from n4ax.engines.itk.kernels.layout import Runs
from n4ax.method.convergence import Samples


def make_run_voxels(runs: Runs, jobs: Jobs) -> PieceVoxels:
    """Cut runs of voxels into pieces."""

    def locate(samples: Samples) -> LaidOut:
        """Find the rows and columns of some voxels."""
        run = np.searchsorted(runs.start, samples.voxel, side="right") - 1
        return lay_out((runs.row[run], runs.x[run] + samples.voxel - runs.start[run]))

    kernels = PieceKernels(changes.compute_steps, changes.compute_ratios, changes.sum_pieces)
    return PieceVoxels(runs, runs.start, locate, kernels, jobs)
