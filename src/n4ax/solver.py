"""N4, on one page.

The log image is v = u + b, true image and bias field. Starting from b = 0, every iteration

1. sharpens the histogram of v - b into the expected true intensity E(v - b) of every voxel,
2. fits a B-spline to the residual (v - b) - E(v - b) over the included voxels,
3. adds its control points to those of b,

until b hardly changes or the level's iterations are used up; the next level goes on with the
same spline on a mesh of half the spacing (Tustison et al. 2010).

The engine holds the image and carries out what costs time; everything of the size of the
lattice or the histogram is here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from n4ax.bspline import fit_quotient, refine
from n4ax.convergence import exact_variation, itk_variation, may_decide
from n4ax.settings import N4Settings
from n4ax.sharpening import bin_width, sharpened_intensities

Lattice = npt.NDArray[np.float32]
Watch = Callable[[int, int, int, float], None]
"""Called after every iteration with level (from 0), iteration (from 1), of how many, measure."""

Stop = Literal["converged", "iteration limit"]


class Engine(Protocol):
    """What the solver asks of a machine; see :class:`n4ax.engines.cpu.CpuEngine`."""

    voxels: int
    omega: npt.NDArray[np.float64]

    def set_mesh(self, control_points: tuple[int, ...]) -> None: ...

    def extremes(self, lattice: Lattice) -> tuple[np.float32, np.float32]: ...

    def histogram(
        self, lattice: Lattice, lowest: np.float32, width: np.float32
    ) -> npt.NDArray[np.float64]: ...

    def residual_fit(
        self,
        lattice: Lattice,
        lowest: np.float32,
        width: np.float32,
        expected: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float64]: ...

    def variation(self, lattice: Lattice, before: Lattice) -> float: ...

    def ratios(self, lattice: Lattice, before: Lattice) -> npt.NDArray[np.float32]: ...


@dataclass
class Solution:
    """The lattice of the log bias field, and how each level went."""

    lattice: Lattice
    iterations: list[int] = field(default_factory=list)
    convergence: list[list[float]] = field(default_factory=list)
    stopped: list[Stop] = field(default_factory=list)


def solve(
    engine: Engine,
    control_points: tuple[int, ...],
    settings: N4Settings,
    watch: Watch | None = None,
    trace: bool = True,
) -> Solution:
    """Estimate the log bias field.

    Parameters
    ----------
    engine
        Holds the image.
    control_points
        Control points per axis at the first level.
    settings
        The parameters of N4.
    watch
        Called after every iteration.
    trace
        Keep the convergence measure of every iteration. Without it (and without ``watch``)
        the measure is computed only where it can decide something; the rest is NaN.
    """
    listening = trace or watch is not None
    lattice = np.zeros(control_points, np.float32)
    solution = Solution(lattice)
    for level, limit in enumerate(settings.iters):
        if level > 0:
            lattice = refine(lattice, settings.spline_order)
        engine.set_mesh(lattice.shape)
        measures: list[float] = []
        measure = np.inf
        while len(measures) < limit and measure > settings.conv_threshold:
            before = lattice
            lattice = before + _increment(engine, before, settings)
            measure = np.inf
            if listening or may_decide(
                engine.variation(lattice, before), settings.conv_threshold, engine.voxels
            ):
                ratios = engine.ratios(lattice, before)
                exact = settings.convergence == "exact"
                measure = exact_variation(ratios) if exact else itk_variation(ratios)
            measures.append(measure if measure < np.inf else np.nan)
            if watch is not None:
                watch(level, len(measures), limit, measure)
        solution.iterations.append(len(measures))
        solution.convergence.append(measures)
        ended = measures and not measure > settings.conv_threshold
        solution.stopped.append("converged" if ended else "iteration limit")
    solution.lattice = lattice
    return solution


def _increment(engine: Engine, lattice: Lattice, settings: N4Settings) -> Lattice:
    """What one iteration adds to the control points."""
    lowest, highest = engine.extremes(lattice)
    width = bin_width(lowest, highest, settings.nbins)
    if not width > 0:
        return np.zeros_like(lattice)  # one intensity is left: sharpening changes nothing
    histogram = engine.histogram(lattice, lowest, width)
    expected = sharpened_intensities(histogram, lowest, width, settings)
    delta = engine.residual_fit(lattice, lowest, width, expected)
    return np.float32(settings.over_relax) * fit_quotient(delta, engine.omega)
