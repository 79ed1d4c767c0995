"""The mesh of the field, laid over the axes of an image: its samples, padding and control points.

A mesh takes memory, and its elements double on every axis from one level to the next. So it is
measured before it is made, and refused if it is absurd.
"""

from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any

from n4ax.errors import InputError
from n4ax.images.axes import ImageAxes
from n4ax.itk.space import Space
from n4ax.method.footprint import estimate_memory
from n4ax.method.grid import Axis, padding_for_distance, sample_axes
from n4ax.settings import N4Settings

DEFAULT_CONTROL_POINTS = 4
"""SimpleITK's default, whatever the order of the spline."""

MOST_MESH_MEMORY = 2 * 2**30
"""A mesh may take this much memory in bytes, whatever the size of the image is."""

MOST_MESH_MEMORY_PER_VOXEL = 16
"""A mesh may take this much for each voxel of the image, if that is more: four times what the
image takes in single precision."""

MOST_VOXELS = 2**24
"""An axis has at most this many voxels with its padding, and at most this many elements: beyond
it, single precision cannot tell one from the next."""

Laid = tuple[tuple[Axis, ...], tuple[int, ...]]
"""The samples of every axis, and the control points of the first level; in ITK's order."""


def lay_mesh(axes: ImageAxes, space: Space, settings: N4Settings) -> Laid:
    """Choose the samples of every axis, and the control points of the first level.

    Parameters
    ----------
    axes
        The axes of the image.
    space
        Where the image lies.
    settings
        ``control_points``, ``mesh``, ``spline_distance``, ``spline_order``, ``shrink_factor`` and
        the number of levels are used.

    Raises
    ------
    ValueError
        An axis has too few samples, or the mesh takes more memory than is allowed.
    """
    image = _Image(axes, space)
    image.check_padding(settings)
    most = max(MOST_MESH_MEMORY, MOST_MESH_MEMORY_PER_VOXEL * prod(axes.lengths))
    if not image.can_be_laid(settings):
        image.refuse(settings, most)
    laid = image.lay(settings)
    if _measure(laid, settings) > most:
        image.refuse(settings, most)
    _check_grid(laid[0], axes)
    return laid


@dataclass(frozen=True)
class _Image:
    """The axes of an image, and where it lies."""

    axes: ImageAxes
    space: Space

    @property
    def sizes(self) -> list[tuple[int, float]]:
        """Voxels of each axis and their size in mm, x last."""
        lengths = self.axes.turn(self.axes.lengths)
        return list(zip(lengths, self.space.spacing[::-1], strict=True))

    def lay(self, settings: N4Settings) -> Laid:
        """Lay a mesh without a look at its size."""
        shape = self.axes.turn(self.axes.lengths)
        shrink = self.axes.per_axis("shrink_factor", settings.shrink_factor)
        if settings.spline_distance is None:
            points, padding = self._choose_points(settings), [(0, 0)] * len(shape)
        else:
            distance = settings.spline_distance
            fitted = [padding_for_distance(n, step, distance) for n, step in self.sizes]
            points = tuple(spans + settings.spline_order for spans, _, _ in fitted)
            padding = [(lower, upper) for _, lower, upper in fitted]
        return sample_axes(shape[::-1], shrink[::-1], padding[::-1], self.space)[::-1], points

    def _choose_points(self, settings: N4Settings) -> tuple[int, ...]:
        """Choose the control points of the first level where no distance is given, x last."""
        order = settings.spline_order
        if settings.control_points is not None:
            return self.axes.per_axis("control_points", settings.control_points)
        if settings.mesh is not None:
            return tuple(number + order for number in self.axes.per_axis("mesh", settings.mesh))
        return (max(DEFAULT_CONTROL_POINTS, order + 1),) * len(self.axes.kept)

    def count_elements(self, settings: N4Settings) -> list[float]:
        """Count the elements of the first level on each axis, x last; a distance may cut some."""
        if settings.spline_distance is not None:
            return [max(1, (n - 1) * step / settings.spline_distance) for n, step in self.sizes]
        return [count - settings.spline_order for count in self._choose_points(settings)]

    def can_be_laid(self, settings: N4Settings) -> bool:
        """Whether single precision can tell the elements of a mesh from each other."""
        return max(self.count_elements(settings)) <= MOST_VOXELS

    def find_memory(self, settings: N4Settings) -> float:
        """Find the memory in bytes that a mesh takes."""
        if not self.can_be_laid(settings):
            return inf
        return _measure(self.lay(settings), settings)

    def check_padding(self, settings: N4Settings) -> None:
        """Check that a spline distance does not pad the image beyond reason."""
        distance = settings.spline_distance
        for n, step in self.sizes:
            if distance is not None and n + distance / step > MOST_VOXELS:
                raise InputError(
                    "{spline_distance} is {0:g} mm, which pads an axis of {1} voxels of {2:g} mm "
                    "to more than {3:,} voxels; {4:g} mm make one element of every axis already",
                    distance,
                    n,
                    step,
                    MOST_VOXELS,
                    max(count * size for count, size in self.sizes),
                )

    def refuse(self, settings: N4Settings, most: int) -> None:
        """Refuse a mesh that takes more than ``most`` bytes, and name one that does not."""
        good = settings
        while self.find_memory(good) > most:
            good = _coarsen(good)
        name = _name_of_mesh(settings)
        value = getattr(good, name)
        advice = f"{{{name}:{{4}}}}"
        if len(good.iters) < len(settings.iters):
            advice = "{4} levels in {iters}"
            value = len(good.iters)
        elements = self.axes.turn([f"{number:.0f}" for number in self.count_elements(settings)])
        raise InputError(
            "{0} mesh elements are too many: at the last of {1} levels they would take {2} of "
            f"memory, and at most {{3}} are allowed for this image; use {advice}",
            " x ".join(elements),
            len(settings.iters),
            _write_bytes(self.find_memory(settings)),
            _write_bytes(most),
            value,
        )


def _measure(laid: Laid, settings: N4Settings) -> float:
    grid, points = laid
    return estimate_memory(grid, points, settings.spline_order, len(settings.iters))


def _name_of_mesh(settings: N4Settings) -> str:
    """Find which setting makes the mesh."""
    names = ("spline_distance", "control_points")
    return next((name for name in names if getattr(settings, name) is not None), "mesh")


def _coarsen(settings: N4Settings) -> N4Settings:
    """Halve the elements on each axis; or if there is one on each, leave out a level."""
    name = _name_of_mesh(settings)
    value: Any = getattr(settings, name)
    if name == "spline_distance":
        return replace(settings, spline_distance=2 * value)
    order = settings.spline_order if name == "control_points" else 0
    numbers = () if value is None else (value,) if isinstance(value, int) else value
    coarser = tuple(max(1, (number - order) // 2) + order for number in numbers)
    if coarser == tuple(numbers):
        return replace(settings, iters=tuple(settings.iters)[:-1])
    return replace(settings, **{name: coarser[0] if isinstance(value, int) else coarser})


def _write_bytes(count: float) -> str:
    """Write a number of bytes with three digits and a unit."""
    for unit in ("MB", "GB", "TB"):
        count /= 1000 if unit != "MB" else 1e6
        if count < 1000:
            return f"{count:.3g} {unit}"
    return "more than 1000 TB"


def _check_grid(grid: tuple[Axis, ...], axes: ImageAxes) -> None:
    for number, axis in sorted((axes.number_outside(n), axis) for n, axis in enumerate(grid)):
        if axis.samples < 2:
            shrunk = f" after shrinking by {axis.shrink}" if axis.shrink > 1 else ""
            raise InputError(
                "{image} has {0} voxel on axis {1}{2}; a field needs 2: use a smaller "
                "{shrink_factor}",
                axis.samples,
                number,
                shrunk,
            )
