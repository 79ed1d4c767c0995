"""The N4 algorithm, on one page.

The log image is v = u + b, the sum of the true log image and the log bias field. Starting from
b = 0, every iteration

1. sharpens the histogram of v - b, which gives the expected true log intensity E(v - b) of every
   voxel,
2. fits a B-spline to the residual (v - b) - E(v - b) over the voxels that count,
3. adds the control points of that spline to those of b,

until b hardly changes, or the level has used up its iterations. The next level continues with the
same spline on a mesh of half the spacing (Tustison et al. 2010).

Two roles carry out the operations that take time. The :class:`Engine` knows the mesh of each
level and evaluates the field. A :class:`Channel` is an image that the field is fitted to; several
images may share one field. Everything of the size of the lattice or of the histogram is computed
here.

The page serves the CPU engine, which runs it as it stands, and the XLA engine, for which JAX
traces it into one program. That is why loops and branches are left to the engine, and why arrays
are not changed in place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from n4ax.method.bspline import fit_quotient
from n4ax.method.sharpening import bin_width
from n4ax.namespaces import find_namespace
from n4ax.settings import LARGEST, N4Settings

Array = Any
"""A NumPy array with the CPU engine. With the XLA engine a JAX array, perhaps a traced one."""

Number = Any
"""A number of Python or NumPy with the CPU engine. With the XLA engine a JAX array without axes,
perhaps a traced one."""

Progress = Callable[[int, int, int, float], None]
"""Called after every iteration with the level (from 0), the iteration (from 1), the most
iterations of the level, and the convergence measure."""

Stop = Literal["converged", "iteration limit"]


class HasOmega(Protocol):
    """The mesh of a level, in whatever form an engine keeps it."""

    @property
    def omega(self) -> Array:
        """Weight of all voxels on each control point; see :mod:`n4ax.method.bspline`."""
        ...


S = TypeVar("S")
F = TypeVar("F")
"""The log field on the voxels, in the form that an engine or a channel has it."""
F_contra = TypeVar("F_contra", contravariant=True)
M = TypeVar("M", bound=HasOmega)
M_contra = TypeVar("M_contra", contravariant=True)
B = TypeVar("B")
"""The corrected log intensities on an axis of bins, in the form that a channel has them."""


class Channel(Protocol[M_contra, F_contra, B]):
    """An image that the field is fitted to."""

    @property
    def nbins(self) -> int:
        """Number of histogram bins."""
        ...

    @property
    def keeps_constants(self) -> bool:
        """Whether an image of a single intensity is left as it is."""
        ...

    def extremes(self, field: F_contra) -> tuple[Number, Number]:
        """Least and greatest corrected log intensity, float32."""
        ...

    def binned(self, field: F_contra, lowest: Number, width: Number) -> B:
        """The corrected log intensities on bins of ``width``, the first centred on ``lowest``."""
        ...

    def histogram(self, binned: B) -> Array:
        """Corrected log intensities per bin, shape (nbins,)."""
        ...

    def sharpen(
        self, histogram: Array, bins: tuple[Number, Number], parameters: "Parameters"
    ) -> Array:
        """The expected log intensity at each bin centre; see :mod:`n4ax.method.sharpening`.

        ``bins`` are the centre of the first bin and the width of the bins.
        """
        ...

    def residual_fit(self, mesh: M_contra, binned: B, expected: Array) -> Array:
        """Delta of the fit to corrected less ``expected`` log intensities.

        ``expected`` holds the expected log intensity at each bin centre. Delta has the shape of
        the lattice.
        """
        ...


class ChannelState(NamedTuple, Generic[M, F, B]):
    """A channel, with the mesh of the level and the field in the channel's own form."""

    channel: Channel[M, F, B]
    mesh: M
    field: F


class Engine(Protocol[M, F]):
    """Knows the mesh of each level, evaluates the field, and runs the loops."""

    def for_each_level(self, levels: int, body: Callable[[Number, S], S], state: S) -> S:
        """Apply ``body(level, state)`` for the levels 0, 1, ..."""
        ...

    def repeat(self, goes_on: Callable[[S], Any], step: Callable[[S], S], state: S) -> S:
        """Apply ``step(state)`` as long as ``goes_on(state)``."""
        ...

    def mesh(self, level: Number) -> M:
        """The mesh of a level."""
        ...

    def refine(self, level: Number, lattice: Array) -> Array:
        """The lattice of the previous level on the mesh of ``level``; unchanged at level 0."""
        ...

    def no_lattice(self) -> Array:
        """A lattice of zeros on the mesh of level 0."""
        ...

    def expand(self, mesh: M, lattice: Array) -> F:
        """The field of a lattice. The two most recent fields of a mesh stay valid."""
        ...

    def channels(self, mesh: M, field: F) -> Sequence[ChannelState[Any, Any, Any]]:
        """The images that share the field. Most often it is one image."""
        ...

    def change(self, field: F, before: F, threshold: Number) -> Number:
        """The convergence measure.

        It may be infinity if the measure is certainly above ``threshold``, and minus infinity if it
        is certainly not.
        """
        ...


class Parameters(NamedTuple):
    """The parameters of :class:`n4ax.settings.N4Settings` that an iteration needs, in ITK's types.

    Attributes
    ----------
    measured_up_to
        The convergence measure is computed wherever it may be at or below this: the threshold, or
        infinity to compute it in every iteration.
    """

    iters: Array
    conv_threshold: Number
    over_relax: Number
    fwhm: Number
    wiener: Number
    measured_up_to: Number

    @classmethod
    def of(cls, settings: N4Settings, every_measure: bool) -> "Parameters":
        """The parameters of ``settings``; ``every_measure`` asks for that of every iteration."""
        threshold = settings.conv_threshold
        if settings.arithmetic == "itk":
            threshold = np.float32(min(threshold, LARGEST))
        return cls(
            iters=np.array(settings.iters, np.int32),
            conv_threshold=np.float64(threshold),
            over_relax=np.float32(settings.over_relax),
            fwhm=np.float32(settings.fwhm),
            wiener=np.float32(settings.wiener),
            measured_up_to=np.float64(np.inf if every_measure else threshold),
        )


class State(NamedTuple):
    """The state of the iteration. The last state is the answer.

    Attributes
    ----------
    lattice
        Control points of the log bias field.
    field
        The log bias field, in the engine's form.
    iteration
        Iterations done at this level.
    measure
        Convergence measure of the last iteration. It is infinite before the first iteration of a
        level, and if it was not needed.
    done
        Iterations done at each level, shape (levels,).
    history
        Measures of all iterations, shape (levels, iterations); there is room for at least the
        most iterations of any level.
    path
        The lattices after all iterations, with as much room; ``None`` if they are not kept.
    """

    lattice: Array
    field: Any
    iteration: Number
    measure: Number
    done: Array
    history: Array
    path: Array | None = None


def solve(
    engine: Engine[M, F], parameters: Parameters, start: State, progress: Progress | None = None
) -> State:
    """Estimate the log bias field.

    Parameters
    ----------
    engine
        Evaluates the field, and has the images as its channels.
    parameters
        The parameters of N4.
    start
        The state that :func:`make_start_state` makes.
    progress
        Called after every iteration.

    Returns
    -------
    State
        The state after the last iteration of the last level.
    """
    threshold = parameters.conv_threshold

    def solve_level(level: Number, state: State) -> State:
        mesh = engine.mesh(level)
        limit = parameters.iters[level]

        def goes_on(state: State) -> Number:
            # A measure that is NaN does not say that the field has come to rest.
            return (state.iteration < limit) & ~(state.measure <= threshold)

        def iterate(state: State) -> State:
            lattice = state.lattice + compute_increment(engine, mesh, state.field, parameters)
            field = engine.expand(mesh, lattice)
            measure = engine.change(field, state.field, parameters.measured_up_to)
            done = _replace_at(state.done, level, state.iteration + 1)
            at = (level, state.iteration)
            history = _replace_at(state.history, at, measure)
            path = None if state.path is None else _replace_at(state.path, at, lattice)
            if progress is not None:
                progress(level, state.iteration + 1, limit, measure)
            return State(lattice, field, state.iteration + 1, measure, done, history, path)

        # As in ITK, a level begins with the field from before the refinement.
        first = state._replace(
            lattice=engine.refine(level, state.lattice),
            iteration=start.iteration,
            measure=start.measure,
        )
        return engine.repeat(goes_on, iterate, first)

    return engine.for_each_level(len(parameters.iters), solve_level, start)


def make_start_state(
    engine: Engine[M, F], levels: int, most: int, path: Array | None = None
) -> State:
    """Make a state without a field, with room for ``most`` iterations at each of ``levels``.

    ``path`` is an array with room for the lattices after all iterations, if they are to be kept.
    """
    lattice = engine.no_lattice()
    xp = find_namespace(lattice)
    return State(
        lattice=lattice,
        field=engine.expand(engine.mesh(0), lattice),
        iteration=xp.zeros((), xp.int32)[()],
        measure=xp.full((), xp.inf, xp.float64)[()],
        done=xp.zeros(levels, xp.int32),
        history=xp.full((levels, most), xp.nan, xp.float64),
        path=path,
    )


def compute_increment(engine: Engine[M, F], mesh: M, field: F, parameters: Parameters) -> Array:
    """Compute what one iteration adds to the control points.

    It is NaN where a sum over the voxels has left the range of numbers, as it does on intensities
    of absurd size.
    """
    channels = engine.channels(mesh, field)
    # If a single intensity is left, the width of a bin is 0, and NumPy would warn of it.
    with np.errstate(all="ignore"):
        first, *others = [_compute_delta(*channel, parameters) for channel in channels]
        delta: Array = sum(others, first) / len(channels) if others else first
        increment = parameters.over_relax * fit_quotient(delta, mesh.omega)
    xp = find_namespace(delta)
    return xp.where(xp.isfinite(delta), increment, np.float32(np.nan))


def _compute_delta(channel: Channel[M, F, B], mesh: M, field: F, parameters: Parameters) -> Array:
    """Compute delta of the fit to what sharpening the histogram of one image leaves."""
    lowest, highest = channel.extremes(field)
    width = bin_width(lowest, highest, channel.nbins)
    binned = channel.binned(field, lowest, width)
    histogram = channel.histogram(binned)
    expected = channel.sharpen(histogram, (lowest, width), parameters)
    delta = channel.residual_fit(mesh, binned, expected)
    xp = find_namespace(delta)
    # If a single intensity is left, the width is 0, and there is nothing to fit to.
    return xp.where(width == 0, 0.0, delta) if channel.keeps_constants else delta


def _replace_at(array: Array, index: Any, value: Number) -> Array:
    """Return ``array`` with ``value`` at ``index``; a NumPy array is changed in place."""
    if hasattr(array, "at"):  # JAX
        return array.at[index].set(value)
    array[index] = value
    return array


@dataclass(eq=False)
class Solution:
    """What the solver has found.

    Attributes
    ----------
    lattice
        Control points of the log bias field.
    iterations
        Iterations done at each level.
    convergence
        Convergence measure of every iteration, per level; NaN if it was not needed.
    stopped
        Why each level ended.
    """

    lattice: Array
    iterations: list[int]
    convergence: list[list[float]]
    stopped: list[Stop]


def summarise(state: State, settings: N4Settings) -> Solution:
    """Turn the last state into a :class:`Solution`."""
    iterations = [int(count) for count in np.asarray(state.done)]
    history = np.asarray(state.history)
    measures = [history[level, :count] for level, count in enumerate(iterations)]
    return Solution(
        lattice=state.lattice,
        iterations=iterations,
        convergence=[np.where(np.isinf(m), np.nan, m).tolist() for m in measures],
        stopped=[
            "converged" if len(m) and m[-1] <= settings.conv_threshold else "iteration limit"
            for m in measures
        ],
    )
