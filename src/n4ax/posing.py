"""Posing the problem: from an image, its mask and its weights to what the solver iterates on.

This decides which voxels count, which of them are sampled, and on which mesh the field lives.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.arrays import check_real, has_values, is_traced, load_array
from n4ax.images.axes import ImageAxes
from n4ax.images.masks import find_mask, is_lazy_otsu, threshold_samples
from n4ax.itk.space import Space, Spaces
from n4ax.method.grid import Axis, padding_for_distance, sample_axes
from n4ax.method.problem import Problem
from n4ax.settings import N4Settings

DEFAULT_CONTROL_POINTS = 4
"""SimpleITK's default, whatever the order of the spline."""

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
    _check_image(image)
    axes = ImageAxes.of(image.shape, settings.voxel_order)
    spaces = _find_spaces(spacing, axes, settings)
    grid, control_points = _lay_mesh(axes, spaces.image, settings)
    samples = load_array(axes.sample(image, [axis.sampled_voxels for axis in grid]))
    if is_lazy_otsu(image, mask):
        inside, included = threshold_samples(image, samples)
    else:
        inside = find_mask(image, mask, settings.mask_label)
        included = _sample(inside, axes, grid, spaces.image, spaces.mask)
    confidence = None
    if weights is not None:
        confidence = _check_weights(weights, image.shape)
        confidence = _sample(confidence, axes, grid, spaces.image, spaces.weights)
        included = included & (confidence > 0)
    included = _exclude(samples, included, settings)
    _check_included(samples, included, inside, settings)
    offset = _find_offset(samples, included) if settings.non_positive == "offset" else 0.0
    raised = samples.astype(np.float32) + offset if settings.non_positive == "offset" else samples
    return Pose(Problem(raised, included, confidence, grid, control_points), inside, offset)


def _check_image(image: Array) -> None:
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
    confidence = weights.astype(np.float32)
    if not has_values(confidence):
        return confidence
    if not weights.__array_namespace__().isfinite(confidence).all():
        raise InputError("{weights} have NaN or infinite values; expected finite numbers")
    if not (confidence > 0).any():
        raise InputError("{weights} have no positive voxel; only voxels above 0 take part")
    return confidence


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
    steps = np.atleast_1d(np.asarray(spacing, float))
    if len(steps) == 1:
        steps = np.repeat(steps, ndim)
    elif len(steps) == len(axes.shape):
        steps = steps[list(axes.kept)]
    if steps.shape != (ndim,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise InputError(
            "{spacing} is {0}; expected one voxel size above 0, in mm, or one for each axis of the "
            "shape {1}",
            spacing,
            axes.shape,
        )
    return tuple(float(step) for step in steps)


def _lay_mesh(
    axes: ImageAxes, space: Space, settings: N4Settings
) -> tuple[tuple[Axis, ...], tuple[int, ...]]:
    """Choose the samples of every axis, and the control points of the first level."""
    shape, order = axes.turn(axes.lengths), settings.spline_order
    shrink = axes.per_axis("shrink_factor", settings.shrink_factor)
    padding = [(0, 0)] * len(shape)
    if settings.spline_distance is not None:
        fitted = [
            padding_for_distance(n, step, settings.spline_distance)
            for n, step in zip(shape, space.spacing[::-1], strict=True)
        ]
        points = tuple(spans + order for spans, _, _ in fitted)
        padding = [(lower, upper) for _, lower, upper in fitted]
    elif settings.control_points is not None:
        points = axes.per_axis("control_points", settings.control_points)
    elif settings.mesh is not None:
        points = tuple(elements + order for elements in axes.per_axis("mesh", settings.mesh))
    else:
        points = (max(DEFAULT_CONTROL_POINTS, order + 1),) * len(shape)
    grid = sample_axes(shape[::-1], shrink[::-1], padding[::-1], space)[::-1]
    _check_grid(grid, axes)
    return grid, points


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


# ---- which samples count ---------------------------------------------------------------------


def _exclude(samples: Array, included: Array, settings: N4Settings) -> Array:
    """Leave out the samples that the policies for intensities exclude."""
    included = _exclude_nonfinite(samples, included, settings)
    return included & (samples > 0) if settings.non_positive == "exclude" else included


def _exclude_nonfinite(samples: Array, included: Array, settings: N4Settings) -> Array:
    if samples.dtype.kind != "f":
        return included
    if isinstance(samples, np.ndarray) and _is_all_finite(samples):
        return included
    finite = samples.__array_namespace__().isfinite(samples)
    if is_traced(finite) or is_traced(included):
        return included & finite if settings.nonfinite == "exclude" else included
    bad = int((included & ~finite).sum())
    if bad and settings.nonfinite == "error":
        raise InputError(
            "{image} has {0} NaN or infinite voxels in the mask; leave them out of the mask, or "
            'pass {nonfinite:"exclude"}',
            bad,
        )
    return included & finite if bad else included


def _is_all_finite(array: npt.NDArray[Any]) -> bool:
    # NaN and infinity would show as the least or the greatest value.
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _find_offset(samples: Array, included: Array) -> Any:
    """Find what raises the least included intensity to 1, if it is not above 0; float32."""
    xp = samples.__array_namespace__()
    single = samples.astype(np.float32)
    lowest = xp.where(included, single, np.float32(np.inf)).min()
    return xp.where(lowest > 0, np.float32(0), np.float32(1) - lowest)


def _check_included(samples: Array, included: Array, mask: Array, settings: N4Settings) -> None:
    if is_traced(included) or is_traced(samples):
        return
    count = int(included.sum())
    if count == 0:
        raise InputError(
            "no voxel is left to estimate the field on: the mask has {0} voxels, none of them "
            "sampled with {shrink_factor:{1}}, weighted above 0, finite"
            + (" and positive" if settings.non_positive == "exclude" else ""),
            int(mask.sum()),
            settings.shrink_factor,
        )
    least, greatest = _find_ends(samples, included)
    if least == greatest:
        raise InputError(
            "{image} is constant in the mask ({0} voxels of {1:g}): there is no histogram to "
            "sharpen",
            count,
            least,
        )


def _find_ends(samples: Array, included: Array) -> tuple[float, float]:
    """Find the least and the greatest included intensity."""
    if isinstance(samples, np.ndarray):
        values = samples[included]
        return float(values.min()), float(values.max())
    xp = samples.__array_namespace__()
    single = samples.astype(xp.float32)  # finite, or the image would have been refused
    low = xp.where(included, single, xp.inf).min()
    return float(low), float(xp.where(included, single, -xp.inf).max())
