"""N4, on one page.

The log image is v = u + b, true image and bias field. Starting from b = 0, every iteration

1. sharpens the histogram of v - b into the expected true intensity E(v - b) of every voxel,
2. fits a B-spline to the residual (v - b) - E(v - b) over the included voxels,
3. adds its control points to those of b,

until b hardly changes or the level's iterations are used up; the next level goes on with the
same spline on a mesh of half the spacing (Tustison et al. 2010).

The engine holds the image and carries out what costs time; everything of the size of the
lattice or the histogram is here. The page is written once for both engines: the compiled CPU
engine runs it as it stands, and JAX traces it into one program, for which the loops and the
branches are asked of the engine and nothing is changed in place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from n4ax.method.bspline import fit_quotient
from n4ax.method.sharpening import bin_width, sharpened_intensities
from n4ax.settings import N4Settings

Lattice = npt.NDArray[np.float32]
Progress = Callable[[int, int, int, float], None]
"""Called after every iteration with level (from 0), iteration (from 1), of how many, measure."""

Stop = Literal["converged", "iteration limit"]

F = TypeVar("F")
B = TypeVar("B")
M = TypeVar("M", bound="HasOmega")
S = TypeVar("S", bound=tuple[Any, ...])


class HasOmega(Protocol):
    """A level's mesh as an engine keeps it, with the weight that each control point feels."""

    @property
    def omega(self) -> Any:
        """Of the lattice's shape; see :mod:`n4ax.method.bspline`."""
        ...


class Engine(Protocol[F, M, B]):
    """What the solver asks of a machine: :class:`n4ax.engines.cpu.engine.CpuEngine` is one.

    ``F`` is its form of the log field on the included voxels, ``M`` of a level's mesh, ``B`` of
    the corrected log intensities on an axis of bins. Arrays are NumPy's or JAX's.
    """

    nbins: int

    def for_each_level(self, levels: int, body: Callable[[Any, S], S], state: S) -> S:
        """``body(level, state)`` for levels 0, 1, ..."""
        ...

    def repeat(self, goes_on: Callable[[S], Any], step: Callable[[S], S], state: S) -> S:
        """``step(state)`` while ``goes_on(state)``."""
        ...

    def mesh(self, level: Any) -> M:
        """The mesh of a level."""
        ...

    def refine(self, level: Any, lattice: Any) -> Any:
        """The lattice of the level before on the mesh of ``level``; as it is at level 0."""
        ...

    def no_lattice(self) -> Any:
        """Zeros, on the mesh of level 0."""
        ...

    def expand(self, mesh: M, lattice: Any) -> F:
        """The field of a lattice; the last two stay valid."""
        ...

    def channels(self, mesh: M, field: F) -> "list[tuple[Engine[F, M, B], M, F]]":
        """The images that share the field, each with its mesh and field: mostly itself alone."""
        ...

    def extremes(self, field: F) -> tuple[Any, Any]:
        """Least and greatest corrected log intensity, float32."""
        ...

    def binned(self, field: F, lowest: Any, width: Any) -> B:
        """The corrected log intensities on bins of ``width``, the first centred on ``lowest``."""
        ...

    def histogram(self, binned: B) -> Any:
        """Corrected log intensities per bin, shape (nbins,), float64."""
        ...

    def residual_fit(self, mesh: M, binned: B, expected: Any) -> Any:
        """Delta of the fit to what the map leaves, shape of the lattice, float64."""
        ...

    def change(self, field: F, before: F, threshold: Any, every_measure: Any) -> Any:
        """The convergence measure, or infinity where it is surely above the threshold."""
        ...


class Parameters(NamedTuple):
    """The numbers of :class:`n4ax.settings.N4Settings` that an iteration needs, as ITK types."""

    iters: Any
    conv_threshold: Any
    over_relax: Any
    fwhm: Any
    wiener: Any
    every_measure: Any
    """Compute the convergence measure of every iteration, not only where it can end a level."""

    @classmethod
    def of(cls, settings: N4Settings, every_measure: bool) -> "Parameters":
        """The parameters of ``settings``."""
        return cls(
            iters=np.array(settings.iters, np.int32),
            conv_threshold=np.float64(settings.conv_threshold),
            over_relax=np.float32(settings.over_relax),
            fwhm=np.float32(settings.fwhm),
            wiener=np.float32(settings.wiener),
            every_measure=np.bool_(every_measure),
        )


class State(NamedTuple):
    """Where the iteration stands: at the end, the answer."""

    lattice: Any
    field: Any
    iteration: Any
    """Iterations done at this level."""
    measure: Any
    """Of the last iteration; infinity before the first, and where it was not needed."""
    done: Any
    """Iterations done at each level, shape (levels,)."""
    history: Any
    """Measures of all iterations, shape (levels, at least the most iterations of a level)."""


def solve(
    engine: Engine[F, M, B], parameters: Parameters, start: State, watch: Progress | None = None
) -> State:
    """Estimate the log bias field.

    Parameters
    ----------
    engine
        Holds the image.
    parameters
        The parameters of N4.
    start
        From :func:`beginning`.
    watch
        Called after every iteration.
    """
    threshold = parameters.conv_threshold

    def at_level(level: Any, state: State) -> State:
        mesh = engine.mesh(level)
        limit = parameters.iters[level]

        def goes_on(state: State) -> Any:
            return (state.iteration < limit) & (state.measure > threshold)

        def iterate(state: State) -> State:
            lattice = state.lattice + increment(engine, mesh, state.field, parameters)
            field = engine.expand(mesh, lattice)
            measure = engine.change(field, state.field, threshold, parameters.every_measure)
            done = _put(state.done, level, state.iteration + 1)
            history = _put(state.history, (level, state.iteration), measure)
            if watch is not None:
                watch(level, state.iteration + 1, limit, measure)
            return State(lattice, field, state.iteration + 1, measure, done, history)

        # A level begins with the field as it was before the refinement (ITK).
        fresh = state._replace(
            lattice=engine.refine(level, state.lattice),
            iteration=start.iteration,
            measure=start.measure,
        )
        return engine.repeat(goes_on, iterate, fresh)

    return engine.for_each_level(len(parameters.iters), at_level, start)


def start_state(engine: Engine[F, M, B], levels: int, most: int) -> State:
    """No field yet; room for ``most`` iterations at each of ``levels``."""
    lattice = engine.no_lattice()
    xp = lattice.__array_namespace__()
    return State(
        lattice=lattice,
        field=engine.expand(engine.mesh(0), lattice),
        iteration=xp.zeros((), xp.int32)[()],
        measure=xp.full((), xp.inf, xp.float64)[()],
        done=xp.zeros(levels, xp.int32),
        history=xp.full((levels, most), xp.nan, xp.float64),
    )


def increment(engine: Engine[F, M, B], mesh: M, field: F, parameters: Parameters) -> Any:
    """What one iteration adds to the control points."""
    channels = engine.channels(mesh, field)
    first, *others = (_delta(*channel, parameters) for channel in channels)
    delta = sum(others, first) / len(channels)
    return parameters.over_relax * fit_quotient(delta, mesh.omega)


def _delta(engine: Engine[F, M, B], mesh: M, field: F, parameters: Parameters) -> Any:
    """Delta of the fit to what sharpening the histogram of one image leaves."""
    lowest, highest = engine.extremes(field)
    width = bin_width(lowest, highest, engine.nbins)
    binned = engine.binned(field, lowest, width)
    histogram = engine.histogram(binned)
    with np.errstate(all="ignore"):  # where one intensity is left, which is seen to below
        expected = sharpened_intensities(
            histogram, lowest, width, parameters.fwhm, parameters.wiener
        )
    delta = engine.residual_fit(mesh, binned, expected)
    xp = delta.__array_namespace__()
    return xp.where(width > 0, delta, xp.zeros_like(delta))


def _put(array: Any, at: Any, value: Any) -> Any:
    """``array`` with ``value`` at an index."""
    if isinstance(array, np.ndarray):
        array[at] = value
        return array
    return array.at[at].set(value)


@dataclass
class Solution:
    """The lattice of the log bias field, and how each level went."""

    lattice: Any
    iterations: list[int] = default(default_factory=list)
    convergence: list[list[float]] = default(default_factory=list)
    stopped: list[Stop] = default(default_factory=list)


def summarize(state: State, settings: N4Settings) -> Solution:
    """The final state, in the terms of the user."""
    iterations = [int(count) for count in np.asarray(state.done)]
    history = np.asarray(state.history)
    measures = [history[level, :count] for level, count in enumerate(iterations)]
    return Solution(
        lattice=state.lattice,
        iterations=iterations,
        convergence=[np.where(np.isinf(m), np.nan, m).tolist() for m in measures],
        stopped=[
            "converged" if len(m) and not m[-1] > settings.conv_threshold else "iteration limit"
            for m in measures
        ],
    )
