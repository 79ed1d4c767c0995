"""The recurrence of the stopping measure: its running values, and the measures of ratios."""

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu.kernels.recurrence import compute_measure, compute_variation, replay

Running = npt.NDArray[np.float64]
"""The running values of the recurrence: ITK's count, mu, and sigma, which are float32 numbers."""


def start_running() -> Running:
    """Make the running values before the first voxel."""
    return np.zeros(3)


def finish_running(running: Running) -> float:
    """Turn the running values after the last voxel into the measure, as ITK does."""
    return float(compute_measure(running))


def exact_variation(ratios: npt.NDArray[np.float32]) -> float:
    """Coefficient of variation of ``ratios`` (n,), with n - 1 degrees of freedom, in double."""
    return float(compute_variation(ratios))


def itk_variation(ratios: npt.NDArray[np.float32]) -> float:
    """The measure that ITK computes from ``ratios`` (n,) in image order, with its float32 bits."""
    running = start_running()
    replay(ratios, running)
    return finish_running(running)
