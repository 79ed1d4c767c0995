"""N4's outcome with few looks at the whole image.

Iteration by iteration the control points move along a smooth path. Three things are saved:

1. Most increments are found on a thinned image, to which is added what the increment of the
   whole image was more when it was last looked at, ``F - f`` (a control variate). Where the
   thinned image hardly feels a control point, nothing is added but at the look itself, since
   nothing would hold it back.
2. By the next look that difference has changed. Half the change, for each iteration in
   between, makes up for it (the trapezoid rule).
3. Some steps stand for several iterations, ``h`` at once, as if the increment went on changing
   as it last did: ``h f + h (h - 1) / 2 (f - f')``. Steps of one iteration between them damp what
   changes fast, which would otherwise grow.

With every step a look of one iteration this is :func:`n4ax.method.solver.solve` at threshold 0. The
convergence measure is not computed.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.method.solver import Parameters, Progress, State, increment, start_state

LOOKS = (3, 12, 30)
"""Iterations of a level at or soon after which the whole image is looked at; then every 20th. And
at the very first iteration."""

LONGEST = 4
"""Most iterations that one step stands for: longer ones save little and are less exact."""

SAMPLES, PER_ELEMENT, FEWEST, MOST = 48, 6, 10_000, 6
"""A thinned image has about ``SAMPLES`` samples an axis, or ``PER_ELEMENT`` in each element of the
finest mesh if that is more; ``FEWEST`` in all, and no fewer than one in ``MOST`` along an axis."""


class Step(NamedTuple):
    """A step: how many iterations it stands for, and whether the whole image is looked at."""

    length: int
    look: bool


class Point(NamedTuple):
    """Where the path stands within a level."""

    lattice: Any
    increment: Any
    """Of the last step, per iteration; 0 before the first."""
    length: int
    """Of the last step."""
    difference: Any
    """What is added to the thinned image's increments since the last look."""
    looked: int
    """Iterations done before that look."""


def steps(iterations: int) -> Iterator[Step]:
    """The steps of a level: two of one iteration, then a longer one, and so on.

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


def thinning(included: npt.NDArray[np.bool_], finest: Sequence[int]) -> tuple[int, ...]:
    """Which samples the thinned image has, one in so many along each axis.

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
    """Whether a thinned image has about what was expected: its planes may miss a flat mask."""
    return bool(np.count_nonzero(included) >= FEWEST // 2)


def solve_accelerated(
    whole: Any, thinned: Any, parameters: Parameters, watch: Progress | None = None
) -> State:
    """Estimate the log bias field, about as all iterations would have left it.

    Parameters
    ----------
    whole, thinned
        Engines of the image and of some of its voxels, on the same spline; or twice the same, and
        only steps are saved.
    parameters
        The parameters of N4; the threshold is taken for 0.
    watch
        Called after every step with level, iterations done, of how many, and NaN.
    """
    start = start_state(whole, len(parameters.iters), max(1, int(max(parameters.iters))))
    start.history[:] = np.inf  # not computed
    lattice, difference = start.lattice, None
    for level, limit in enumerate(parameters.iters):
        lattice = whole.refine(level, lattice)
        if difference is not None:
            difference = whole.refine(level, difference)
        path = _Path(whole, thinned, level, parameters)
        point, done = path.start(lattice, difference), 0
        for step in steps(int(limit)):
            point = path.after(point, step, done)
            done += step.length
            if watch is not None:
                watch(level, done, int(limit), float("nan"))
        lattice, difference = point.lattice, point.difference
        start.done[level] = limit
    return start._replace(lattice=lattice)


class _Path:
    """The path of the control points at one level."""

    def __init__(self, whole: Any, thinned: Any, level: int, parameters: Parameters) -> None:
        self._engines = whole, thinned
        self._meshes = whole.mesh(level), thinned.mesh(level)
        self._parameters = parameters
        felt, of = self._meshes[1].omega, self._meshes[0].omega
        share = whole.voxels / thinned.voxels
        with np.errstate(all="ignore"):
            ratio = np.where(of > 0, share * felt / of, 0.0)
        self._held = np.clip(ratio, 0, 1).astype(np.float32)
        """How far the thinned image feels what is added, so that it can hold it back."""

    def start(self, lattice: Any, difference: Any) -> Point:
        """The point that the level before has left; its difference, if there was one."""
        if difference is None and self._engines[0] is self._engines[1]:
            difference = np.zeros_like(lattice)
        if difference is not None:
            difference = self._held * difference
        return Point(lattice, np.zeros_like(lattice), 1, difference, 0)

    def after(self, point: Point, step: Step, done: int) -> Point:
        """The point after a step."""
        thinned = self._increment(1, point.lattice)
        rest = np.float32(0)
        if point.difference is None or (step.look and self._engines[0] is not self._engines[1]):
            whole = self._increment(0, point.lattice)
            point = self._looked(point, self._held * (whole - thinned), done)
            rest = whole - thinned - point.difference
        found = thinned + point.difference
        moved = np.float32(step.length) * found + rest
        if step.length > 1:
            bend = np.float32(step.length * (step.length - 1) / 2 / point.length)
            moved = moved + bend * (found - point.increment)
        return Point(point.lattice + moved, found, step.length, point.difference, point.looked)

    def _looked(self, point: Point, difference: Any, done: int) -> Point:
        """The point with a new difference: the steps since the last look are made good."""
        if point.difference is None:
            return point._replace(difference=difference, looked=done)
        change = difference - point.difference
        between = np.float32(max(done - point.looked - 1, 0) / 2)
        return Point(
            point.lattice + between * change,
            point.increment + change,
            point.length,
            difference,
            done,
        )

    def _increment(self, which: int, lattice: Any) -> Any:
        engine, mesh = self._engines[which], self._meshes[which]
        return increment(engine, mesh, engine.expand(mesh, lattice), self._parameters)
