"""Posing the problem: from an image, its mask and its weights to what the solver iterates on.

This decides which voxels count, which of them are sampled, and on which mesh the field lives.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from n4ax.errors import InputError
from n4ax.images.arrays import check_real, has_values, is_traced, load_array
from n4ax.images.axes import ImageAxes
from n4ax.images.intensities import check_finite, check_range, exclude, find_offset
from n4ax.images.masks import find_mask, is_lazy_otsu, threshold_samples
from n4ax.images.mesh import lay_mesh
from n4ax.itk.space import Space, Spaces
from n4ax.method.bspline import EMPTY_OMEGA
from n4ax.method.grid import Axis, sample_axes
from n4ax.method.problem import Problem
from n4ax.namespaces import find_namespace
from n4ax.settings import LARGEST, LEAST, N4Settings, read_numbers

MOST_WEIGHT = 1e30
"""The largest weight: the sums over the voxels of an image stay within single precision."""

Array = Any
"""A NumPy or JAX array, or a dask array that is not sampled yet. The values of a traced JAX array
and of a dask array are not known here, and are not checked."""

Spacing = float | Sequence[float] | Spaces | None
"""Voxel size in mm, for the spline distance; or where image, mask and weights lie in space, which
also decides ITK's choice between two voxels where a sample falls midway between them."""


class Pose(NamedTuple):
    """A problem, and what is kept of the whole image for the correction."""

    problem: Problem
    mask: Array
    """Voxels inside the mask, bool, of the image's shape."""
    offset: Any
    """What is added to the image before the correction (``non_positive="offset"``), else 0."""


def pose(
    image: Array,
    mask: Array | str | None,
    weights: Array | None,
    spacing: Spacing,
    settings: N4Settings,
) -> Pose:
    """Check the input and bring it into the solver's form.

    Parameters
    ----------
    image
        2, 3 or 4 axes longer than 1, any real dtype.
    mask
        An array of the image's shape, ``"otsu"`` (the same as ``None``) or ``"all"``.
    weights
        Confidence of each voxel, of the image's shape. A voxel that is not above 0 is left out.
    spacing
        Voxel size, or place in space.
    settings
        The parameters of N4.

    Raises
    ------
    ValueError
        N4 cannot work with the input. The message names the argument.
    """
    check_image(image)
    axes = ImageAxes.of(image.shape, settings.voxel_order)
    spaces = _find_spaces(spacing, axes, settings)
    grid, control_points = lay_mesh(axes, spaces.image, settings)
    samples = load_array(axes.sample(image, [axis.sampled_voxels for axis in grid]))
    if is_lazy_otsu(image, mask):
        inside, included = threshold_samples(image, samples)
    else:
        inside = find_mask(image, mask, settings.mask_label)
        included = _sample(inside, axes, grid, spaces.image, spaces.mask)
    whole = confidence = None
    if weights is not None:
        whole = _check_weights(weights, image.shape)
        confidence = _sample(whole, axes, grid, spaces.image, spaces.weights)
        included = included & (confidence > 0)
    if settings.nonfinite == "error" and samples.size < image.size:
        _check_every_voxel(image, inside, whole)
    included = exclude(samples, included, settings)
    _check_included(samples, included, inside, confidence, settings)
    offset = find_offset(samples, included) if settings.non_positive == "offset" else 0.0
    raised = samples.astype(np.float32) + offset if settings.non_positive == "offset" else samples
    return Pose(Problem(raised, included, confidence, grid, control_points), inside, offset)


def find_last_mesh(
    shape: tuple[int, ...], spacing: Spacing, settings: N4Settings
) -> tuple[tuple[Axis, ...], tuple[int, ...]]:
    """Find the axes of an image of a shape, and the control points of the last level.

    Both are in ITK's order. The errors are those of :func:`pose`.
    """
    axes = ImageAxes.of(shape, settings.voxel_order)
    grid, points = lay_mesh(axes, _find_spaces(spacing, axes, settings).image, settings)
    order, doubled = settings.spline_order, 2 ** (len(settings.iters) - 1)
    return grid, tuple((count - order) * doubled + order for count in points)


def check_image(image: Array) -> None:
    """Check that this is an image that N4 can work on.

    Raises
    ------
    ValueError
        Its numbers are not real, or it has another number of axes.
    """
    check_real("image", image.dtype)
    if any(n != n for n in image.shape):  # dask's sign for a length that is not known
        raise InputError(
            "{image} has blocks of unknown size, shape {0}: call its compute_chunk_sizes() first",
            image.shape,
        )
    ndim = sum(n != 1 for n in image.shape)
    if not 2 <= ndim <= 4 or image.size == 0:
        raise InputError(
            "{image} has shape {0}, {1} axes longer than 1; expected 2, 3 or 4", image.shape, ndim
        )


def _check_weights(weights: Array, shape: tuple[int, ...]) -> Array:
    """Check the weights and give them as float32."""
    if weights.shape != shape:
        raise InputError("{weights} have shape {0} and {image} has shape {1}", weights.shape, shape)
    check_real("weights", weights.dtype)
    with np.errstate(over="ignore", under="ignore"):
        confidence = weights.astype(np.float32)
    if not has_values(confidence):
        return confidence
    if not find_namespace(weights).isfinite(weights).all():
        raise InputError("{weights} have NaN or infinite values; expected finite numbers")
    if float(weights.max()) > MOST_WEIGHT:  # which float16 cannot hold
        raise InputError(
            "{weights} reach {0:g}; expected at most {1:g}, because N4 adds them up in single "
            "precision: divide them by a constant, such as their largest value",
            float(weights.max()),
            MOST_WEIGHT,
        )
    if not (weights > 0).any():
        raise InputError("{weights} have no positive voxel; only voxels above 0 take part")
    if not (confidence > 0).any():
        raise InputError(
            "{weights} reach {0:g}, which is 0 in the single precision that N4 computes in: "
            "multiply them by a constant, so that the largest is about 1",
            float(weights.max()),
        )
    return confidence


def _check_every_voxel(image: Array, inside: Array, weights: Array | None) -> None:
    """Check the voxels between the samples too, if their values are known."""
    if all(array is None or has_values(array) for array in (image, inside, weights)):
        check_finite(image, inside, weights)


def _check_included(
    samples: Array,
    included: Array,
    mask: Array,
    weights: Array | None,
    settings: N4Settings,
) -> None:
    """Check that the field can be estimated on what is left."""
    if any(array is not None and is_traced(array) for array in (samples, included, weights)):
        return
    if not included.any():
        raise InputError(
            "no voxel is left to estimate the field on: the mask has {0} voxels, none of them "
            "sampled with {shrink_factor:{1}}, weighted above 0, finite"
            + (" and positive" if settings.non_positive == "exclude" else ""),
            int(mask.sum()),
            settings.shrink_factor,
        )
    check_range(samples, included, settings)
    if weights is not None:
        total = float((weights * included).sum(dtype=np.float64))
        if total <= EMPTY_OMEGA:
            raise InputError(
                "{weights} add up to {0:g} in the mask, and N4 fits nothing where they add up to "
                "less than {1:.2g}: multiply them by a constant, so that the largest is about 1",
                total,
                EMPTY_OMEGA,
            )


# ---- the grid --------------------------------------------------------------------------------


def _find_spaces(spacing: Spacing, axes: ImageAxes, settings: N4Settings) -> Spaces:
    """Find where image, mask and weights lie, along the axes that are kept, x first."""
    if isinstance(spacing, Spaces):
        last = len(axes.shape) - 1
        kept = axes.kept if axes.order == "F" else [last - axis for axis in reversed(axes.kept)]
        whole = len(kept) == len(axes.shape)
        return Spaces(*(space if whole else space.select_axes(kept) for space in spacing))
    steps = axes.turn(_check_spacing(spacing, axes, settings))
    return Spaces(*(Space.from_spacing(steps[::-1]),) * 3)


def _check_spacing(
    spacing: float | Sequence[float] | None, axes: ImageAxes, settings: N4Settings
) -> tuple[float, ...]:
    """Find the voxel size in mm of each axis that is kept, in the image's own order."""
    ndim = len(axes.kept)
    if spacing is None:
        if settings.spline_distance is not None:
            raise InputError(
                "{spline_distance} is in mm and needs the voxel size: pass spacing, such as "
                "spacing={0}",
                (1.0,) * ndim,
            )
        return (1.0,) * ndim
    steps = read_numbers(spacing)
    if len(steps) == 1:
        steps = steps * ndim
    elif len(steps) == len(axes.shape):
        steps = tuple(steps[axis] for axis in axes.kept)
    if len(steps) != ndim or not all(LEAST <= step <= LARGEST for step in steps):
        raise InputError(
            "{spacing} is {0!r}; expected one voxel size above 0, in mm, or one for each axis of "
            "the shape {1}",
            spacing,
            axes.shape,
        )
    return steps


def _sample(
    array: Array, axes: ImageAxes, grid: tuple[Axis, ...], ours: Space, theirs: Space
) -> Array:
    """Take the samples of a mask or of weights that lie in space as ``theirs``."""
    if theirs == ours:
        return load_array(axes.sample(array, [axis.sampled_voxels for axis in grid]))
    laid = sample_axes(
        [axis.count for axis in reversed(grid)],
        [axis.shrink for axis in reversed(grid)],
        [(axis.lower, axis.upper) for axis in reversed(grid)],
        theirs,
    )[::-1]
    picked = load_array(axes.to_itk(array))
    for number, (axis, own) in enumerate(zip(grid, laid, strict=True)):
        voxels = own.first + own.shrink * np.array(axis.inside)
        there = (voxels >= 0) & (voxels < own.count)
        picked = picked.take(np.clip(voxels, 0, own.count - 1), axis=number)
        shape = [len(voxels) if n == number else 1 for n in range(len(grid))]
        picked = picked * there.reshape(shape).astype(picked.dtype)
    return picked
