"""What the choice looks at: a coarse grid of the image, its mask and its tissues."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.arrays import load_array
from n4ax.images.axes import ImageAxes
from n4ax.images.masks import find_box, measure_box
from n4ax.images.otsu import otsu_threshold
from n4ax.images.tissues import Inside, find_tissues
from n4ax.method.grid import Axis
from n4ax.posing import Spacing, check_image, find_last_mesh, pose
from n4ax.settings import N4Settings, VoxelOrder

SAMPLES = 60**3
"""The grid has about as many samples; a head is sampled some 3 to 4 mm apart."""

_SPATIAL = 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """A coarse grid of an image. All arrays have its shape, and the axes have ITK's order.

    Attributes
    ----------
    image
        Intensities, any real dtype.
    inside
        The samples that a field is estimated on.
    weights
        Their confidence; ``None`` if all count fully.
    spacing
        Distance of the samples along each axis, in mm or in voxels of the image.
    shrink
        The shrink factor of each axis.
    is_mm
        Whether distances are known in mm.
    order
        The order of the axes of the image: ITK's order is ``"C"``.
    tissues
        Where each tissue is, if it is known; the two largest of them.
    """

    image: npt.NDArray[Any]
    inside: Inside
    weights: npt.NDArray[np.float32] | None
    spacing: tuple[float, ...]
    shrink: tuple[int, ...]
    is_mm: bool
    order: VoxelOrder
    tissues: tuple[Inside, ...] = ()

    @cached_property
    def used(self) -> Inside:
        """The samples in the mask that have a logarithm."""
        return self.inside & np.isfinite(self.image) & (self.image > 0)

    @cached_property
    def bright(self) -> Inside:
        """The samples in the mask that are tissue rather than air, by Otsu's threshold."""
        found = self.used & (self.image > otsu_threshold(self.image))
        return found if found.any() else self.used

    @cached_property
    def fullness(self) -> float:
        """Which share of the mask is tissue rather than air."""
        return np.count_nonzero(self.bright) / max(np.count_nonzero(self.used), 1)

    def turn(self, values: Sequence[int]) -> tuple[int, ...]:
        """Turn values of the axes from ITK's order to the image's own, or back."""
        return tuple(values) if self.order == "C" else tuple(values[::-1])

    def count_elements(self, distance: float) -> tuple[int, ...]:
        """The mesh whose elements are about as long as a distance, in ITK's order."""
        lengths = [n * step for n, step in zip(self.image.shape, self.spacing, strict=True)]
        return tuple(max(1, round(length / distance)) for length in lengths)

    @cached_property
    def reach(self) -> float:
        """How far the tissue in the mask reaches: the geometric mean over the axes, in the unit of
        spacing.
        """
        lengths = measure_box(find_box(self.bright), self.spacing, self.image.shape)
        return float(prod(lengths) ** (1 / len(lengths))) if prod(lengths) else 1.0


def round_off(value: float) -> float:
    """Nine digits of a measure: NumPy's last ones differ between processors, and choices may not.

    Parameters
    ----------
    value
        The measure.
    """
    return float(f"{value:.9g}")


def look_at(
    image: Any,
    mask: Any,
    weights: Any,
    spacing: Spacing,
    settings: N4Settings,
    maps: Sequence[Any] = (),
) -> View:
    """Look at an image on a coarse grid.

    Parameters
    ----------
    image, mask, weights, spacing
        As for :func:`n4ax.posing.pose`, with the same errors.
    settings
        The settings, without those that are to be chosen.
    maps
        Maps of tissues of the image's shape: see :func:`find_tissues`.

    Raises
    ------
    InputError
        The image has more than three axes, or the maps do not fit it.
    """
    check_image(image)
    axes = ImageAxes.of(image.shape, settings.voxel_order)
    if len(axes.kept) > _SPATIAL:
        raise InputError(
            '{preset:"auto"} is for slices and volumes, and {image} has shape {0}', image.shape
        )
    grid, _ = find_last_mesh(image.shape, spacing, settings)
    shrink = _choose_shrink(grid)
    coarse = settings.override(shrink_factor=axes.turn(shrink))
    problem = pose(image, mask, weights, spacing, coarse).problem
    places = [axis.sampled_voxels for axis in problem.axes]
    sampled = [np.asarray(load_array(axes.sample(one, places))) for one in maps]
    inside = np.asarray(problem.included)
    return View(
        np.array(problem.intensities),  # a copy: the whole image need not stay in memory
        inside,
        problem.weights,
        tuple(axis.position.step for axis in problem.axes),
        tuple(shrink),
        spacing is not None,
        settings.voxel_order,
        find_tissues(sampled, inside),
    )


def _choose_shrink(grid: tuple[Axis, ...]) -> list[int]:
    """The shrink factor of each axis: samples of about the same distance along all of them."""
    lengths = [axis.count * axis.position.step for axis in grid]
    each = SAMPLES ** (1 / _SPATIAL) if len(grid) == _SPATIAL else SAMPLES**0.5
    apart = prod(lengths) ** (1 / len(lengths)) / each
    return [max(1, min(int(apart / axis.position.step), (axis.count - 1) // 8)) for axis in grid]
