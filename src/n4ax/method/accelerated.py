"""The outcome of N4, with few looks at the whole image.

From one iteration to the next, the control points move along a smooth path. That saves work in
three ways:

1. Most increments are computed on a thinned image. They are corrected by the difference between
   the increments of the whole and the thinned image, ``F - f``, when the whole image was last
   looked at (a control variate). If the thinned image hardly feels a control point, nothing could
   hold back what is added to that point, so it is corrected only at the look itself.
2. By the next look that difference has changed. Half the change, for each iteration in between,
   makes up for it (the trapezoid rule).
3. Some steps stand for ``h`` iterations at once, as if the increment went on changing as it did
   last: ``h f + h (h - 1) / 2 (f - f')``. Between them there are steps of one iteration. They
   damp what changes fast, which would otherwise grow.

If every step is one iteration with a look at the whole image, this is
:func:`n4ax.method.solver.solve` at threshold 0. The convergence measure is not computed.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Generic, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from n4ax.method.solver import (
    Engine,
    F,
    M,
    Parameters,
    Progress,
    State,
    compute_increment,
    make_start_state,
)

LOOKS = (3, 12, 30)
"""The whole image is looked at when this many iterations of a level are done, or soon after, and
then about every 20 iterations. It is also looked at in the very first iteration."""

LONGEST = 4
"""A step stands for at most this many iterations: longer steps save little and are less exact."""

SAMPLES = 48
"""A thinned image has about this many samples along an axis."""

PER_ELEMENT = 6
"""It has about this many in each element of the finest mesh, if that is more."""

FEWEST = 10_000
"""A thinned image keeps at least this many samples that count, if the whole image has as many."""

MOST = 6
"""A thinned image keeps at least one sample in this many along each axis."""


Lattice = npt.NDArray[np.floating]
"""Control points, float32. NumPy's annotations lose the precision of a product."""


class CountedEngine(Engine[M, F], Protocol[M, F]):
    """An engine that tells how many voxels it works on."""

    @property
    def voxels(self) -> int:
        """Number of voxels that count."""
        ...


class Step(NamedTuple):
    """How many iterations a step stands for, and whether it looks at the whole image."""

    length: int
    look: bool


class Point(NamedTuple):
    """A point on the path of the control points within a level.

    Attributes
    ----------
    lattice
        The control points.
    increment
        Increment of the last step, per iteration; 0 before the first step.
    length
        Iterations of the last step.
    difference
        What is added to the increments of the thinned image since the last look; ``None`` before
        the first look.
    looked
        Iterations that were done before that look.
    """

    lattice: Lattice
    increment: Lattice
    length: int
    difference: Lattice | None
    looked: int


def plan_steps(iterations: int) -> Iterator[Step]:
    """Plan the steps of a level: two of one iteration, then a longer one, and so on.

    A field changes fastest at first, so steps get longer and looks rarer as a level goes on.
    """
    done, number = 0, 0
    looks = iter([*LOOKS, *range(LOOKS[-1] + 20, iterations, 20)])
    due = next(looks)
    while done < iterations:
        longer = number % 3 == 2 and done > LOOKS[0]
        length = min(LONGEST, 2 + done // 4) if longer else 1
        look = done >= due and (longer or done == LOOKS[0])
        if look:
            due = next(looks, iterations)
        yield Step(min(length, iterations - done), look)
        done += length
        number += 1


def choose_thinning(included: npt.NDArray[np.bool_], finest: Sequence[int]) -> tuple[int, ...]:
    """Choose the samples of the thinned image: one in so many along each axis.

    Parameters
    ----------
    included
        The samples of the whole image that count.
    finest
        Elements of the mesh of the last level along each axis.
    """
    wanted = [max(SAMPLES, PER_ELEMENT * elements) for elements in finest]
    every = [min(max(round(n / k), 1), MOST) for n, k in zip(included.shape, wanted, strict=True)]
    count = np.count_nonzero(included)
    while max(every) > 1 and count / prod(every) < FEWEST:
        every[every.index(max(every))] -= 1
    return tuple(every)


def has_enough(included: npt.NDArray[np.bool_]) -> bool:
    """Whether a thinned image kept about the samples that it was meant to keep.

    It may have lost more of a flat mask, if its planes miss the mask.
    """
    return bool(np.count_nonzero(included) >= FEWEST // 2)


def solve_accelerated(
    whole: CountedEngine[M, F],
    thinned: CountedEngine[M, F],
    parameters: Parameters,
    progress: Progress | None = None,
) -> State:
    """Estimate the log bias field, close to what all iterations would give.

    Parameters
    ----------
    whole, thinned
        Engines of the image and of some of its voxels, on the same spline. If both are the same
        engine, steps are saved but no voxels.
    parameters
        The parameters of N4. The threshold is taken to be 0.
    progress
        Called after every step with the level, the iterations done, the iterations of the level,
        and NaN.

    Returns
    -------
    State
        The state at the end; all measures in its history are infinite.
    """
    start = make_start_state(whole, len(parameters.iters), max(1, int(max(parameters.iters))))
    start.history[:] = np.inf  # which means: not computed
    lattice: Lattice = start.lattice
    difference: Lattice | None = None
    for level, limit in enumerate(parameters.iters):
        lattice = whole.refine(level, lattice)
        if difference is not None:
            difference = whole.refine(level, difference)
        path = _Path(whole, thinned, level, parameters)
        point, done = path.start(lattice, difference), 0
        for step in plan_steps(int(limit)):
            point = path.advance(point, step, done)
            done += step.length
            if progress is not None:
                progress(level, done, int(limit), float("nan"))
        lattice, difference = point.lattice, point.difference
        start.done[level] = limit
    return start._replace(lattice=lattice)


class _Image(Generic[M, F]):
    """An image, whole or thinned, at one level."""

    def __init__(self, engine: CountedEngine[M, F], level: int, parameters: Parameters) -> None:
        self.engine = engine
        self.mesh = engine.mesh(level)
        self._parameters = parameters

    def compute_increment(self, lattice: Lattice) -> Lattice:
        field = self.engine.expand(self.mesh, lattice)
        return compute_increment(self.engine, self.mesh, field, self._parameters)


class _Path(Generic[M, F]):
    """The path of the control points at one level."""

    def __init__(
        self,
        whole: CountedEngine[M, F],
        thinned: CountedEngine[M, F],
        level: int,
        parameters: Parameters,
    ) -> None:
        self._whole = _Image(whole, level, parameters)
        self._thinned = _Image(thinned, level, parameters)
        self._is_thinned = whole is not thinned
        share = whole.voxels / thinned.voxels
        all_weight, thinned_weight = self._whole.mesh.omega, self._thinned.mesh.omega
        with np.errstate(all="ignore"):
            ratio = np.where(all_weight > 0, share * thinned_weight / all_weight, 0.0)
        # How much the thinned image feels each control point, and so can hold back what is added.
        self._held: Lattice = np.clip(ratio, 0, 1).astype(np.float32)

    def start(self, lattice: Lattice, difference: Lattice | None) -> Point:
        """The point where the previous level has ended, with its difference if it had one."""
        if difference is None and not self._is_thinned:
            difference = np.zeros_like(lattice)
        if difference is not None:
            difference = self._held * difference
        return Point(lattice, np.zeros_like(lattice), 1, difference, 0)

    def advance(self, point: Point, step: Step, done: int) -> Point:
        """The point after a step, before which ``done`` iterations were done."""
        thinned = self._thinned.compute_increment(point.lattice)
        at_look = np.float32(0)
        difference = point.difference
        if difference is None or (step.look and self._is_thinned):
            whole = self._whole.compute_increment(point.lattice)
            difference = self._held * (whole - thinned)
            point = _make_good(point, difference, done)
            at_look = whole - thinned - difference
        increment = thinned + difference
        moved = np.float32(step.length) * increment + at_look
        if step.length > 1:
            factor = np.float32(step.length * (step.length - 1) / 2 / point.length)
            moved = moved + factor * (increment - point.increment)
        return Point(point.lattice + moved, increment, step.length, difference, point.looked)


def _make_good(point: Point, difference: Lattice, done: int) -> Point:
    """The point with a new difference, and with the steps since the last look made good."""
    if point.difference is None:
        return point._replace(difference=difference, looked=done)
    change = difference - point.difference
    between = np.float32(max(done - point.looked - 1, 0) / 2)
    return Point(
        lattice=point.lattice + between * change,
        increment=point.increment + change,
        length=point.length,
        difference=difference,
        looked=done,
    )
