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
from dataclasses import dataclass
from dataclasses import field as default
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from n4ax.bspline import fit_quotient, refine
from n4ax.convergence import exact_variation, itk_variation, may_decide
from n4ax.settings import N4Settings
from n4ax.sharpening import bin_width, sharpened_intensities

Lattice = npt.NDArray[np.float32]
Watch = Callable[[int, int, int, float], None]
"""Called after every iteration with level (from 0), iteration (from 1), of how many, measure."""

F = TypeVar("F")

Stop = Literal["converged", "iteration limit"]


class Engine(Protocol[F]):
    """What the solver asks of a machine; see :class:`n4ax.engines.cpu.CpuEngine`.

    ``F`` is its own form of a lattice that is ready to be evaluated.
    """

    voxels: int
    omega: npt.NDArray[np.float64]

    def set_mesh(self, control_points: tuple[int, ...]) -> None:
        """Prepare a level, ``omega`` included."""
        ...

    def expand(self, lattice: Lattice) -> F:
        """A lattice ready to be evaluated; the last two stay valid."""
        ...

    def extremes(self, field: F) -> tuple[np.float32, np.float32]:
        """Least and greatest corrected log intensity."""
        ...

    def histogram(self, field: F, lowest: np.float32, width: np.float32) -> npt.NDArray[np.float64]:
        """Corrected log intensities per bin, shape (nbins,)."""
        ...

    def residual_fit(
        self,
        field: F,
        lowest: np.float32,
        width: np.float32,
        expected: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float64]:
        """Delta of the fit to what the map leaves, shape of the lattice."""
        ...

    def variation(self, field: F, before: F) -> float:
        """About how much the field has changed."""
        ...

    def ratios(self, field: F, before: F) -> npt.NDArray[np.float32]:
        """exp(old field - new field) of the included voxels, in ITK's order."""
        ...


@dataclass
class Solution:
    """The lattice of the log bias field, and how each level went."""

    lattice: Lattice
    iterations: list[int] = default(default_factory=list)
    convergence: list[list[float]] = default(default_factory=list)
    stopped: list[Stop] = default(default_factory=list)


def solve(
    engine: Engine[F],
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
    field: F | None = None
    for level, limit in enumerate(settings.iters):
        if level > 0:
            lattice = refine(lattice, settings.spline_order)
        engine.set_mesh(lattice.shape)
        if field is None:  # later levels begin with the field as it was before the refinement
            field = engine.expand(lattice)
        measures: list[float] = []
        measure = np.inf
        while len(measures) < limit and measure > settings.conv_threshold:
            before = field
            lattice = lattice + _increment(engine, field, settings)
            field = engine.expand(lattice)
            measure = np.inf
            if listening or may_decide(
                engine.variation(field, before), settings.conv_threshold, engine.voxels
            ):
                ratios = engine.ratios(field, before)
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


def _increment(engine: Engine[F], field: F, settings: N4Settings) -> Lattice:
    """What one iteration adds to the control points."""
    lowest, highest = engine.extremes(field)
    width = bin_width(lowest, highest, settings.nbins)
    if not width > 0:  # one intensity is left: sharpening changes nothing
        return np.zeros(engine.omega.shape, np.float32)
    histogram = engine.histogram(field, lowest, width)
    expected = sharpened_intensities(histogram, lowest, width, settings)
    delta = engine.residual_fit(field, lowest, width, expected)
    return np.float32(settings.over_relax) * fit_quotient(delta, engine.omega)
