"""From an image and its mask to what the solver iterates on.

Decides which voxels count, which of them are sampled, and on which mesh the field lives. Inside
the solver the last axis is the one that ITK would walk fastest; ``voxel_order="F"`` reverses the
axes on the way in, and :class:`n4ax.field.BiasField` on the way out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.images.arrays import has_values, is_lazy, is_traced, load_array, namespace_of
from n4ax.images.otsu import otsu_mask, otsu_threshold
from n4ax.itk.space import Space, Spaces
from n4ax.method.grid import Axis, padding_for_distance, sample_axes
from n4ax.settings import N4Settings, per_axis

DEFAULT_CONTROL_POINTS = 4
"""SimpleITK's, whatever the order of the spline."""

Array = Any
"""A NumPy or a JAX array, or, of what is not sampled yet, a dask array. Of one that is traced or
dask's the values are not known and not checked."""


@dataclass(frozen=True)
class Problem:
    """An image in the solver's axis order, and what is estimated on.

    Attributes
    ----------
    image
        The whole image, singleton axes dropped, as it came (any real dtype).
    mask
        Where the image counts as inside, at full resolution, bool.
    offset
        What the image is raised by before it is corrected (``non_positive="offset"``), else 0.
    intensities, included, weights
        The sampled part: raw intensities, which of them count, and their confidence
        (``None``: 1 everywhere).
    axes
        How each axis is padded and sampled.
    control_points
        Control points per axis at the first level.
    """

    image: Array
    mask: Array
    intensities: Array
    included: Array
    weights: Array | None
    axes: tuple[Axis, ...]
    control_points: tuple[int, ...]
    offset: Any

    def thinned(self, every: Sequence[int]) -> "Problem":
        """The problem on every n-th sample of each axis, where they lie."""
        axes = tuple(replace(axis, every=n) for axis, n in zip(self.axes, every, strict=True))
        kept = tuple(axis.thinned_samples for axis in axes)
        return replace(
            self,
            intensities=self.intensities[kept],
            included=self.included[kept],
            weights=None if self.weights is None else self.weights[kept],
            axes=axes,
        )


def pose(
    image: Array,
    mask: Array | str | None,
    weights: Array | None,
    spacing: float | Sequence[float] | Spaces | None,
    settings: N4Settings,
) -> Problem:
    """Check the input and bring it into the solver's form.

    Parameters
    ----------
    image
        2, 3 or 4 axes after those of length 1 are dropped, any real dtype.
    mask
        Array of the image's shape, ``"otsu"`` (``None`` is the same) or ``"all"``.
    weights
        Confidence of each voxel, of the image's shape; not above 0 leaves the voxel out.
    spacing
        Voxel size in mm, for the spline distance; or where everything lies in space, for ITK's
        choice between two voxels where a sample falls midway.
    settings
        The parameters of N4.

    Raises
    ------
    ValueError
        Anything about the input that N4 cannot work with; the message names the argument.
    """
    _check_image(image)
    shape = tuple(n for n in image.shape if n != 1)
    volume = image.reshape(shape)
    spaces = _spaces(spacing, image.shape, settings)
    axes, points = _lay_mesh(image.shape, spaces.image, settings)
    samples = load_array(volume[tuple(axis.sampled_voxels for axis in axes)])

    if is_lazy(volume) and _is_otsu(mask):
        # The threshold of the samples: the image is too large to be looked at.
        threshold = otsu_threshold(samples)
        inside, included = volume > threshold, samples > threshold
    else:
        inside = _inside(image, mask, settings).reshape(shape)
        included = _sampled(inside, axes, spaces.image, spaces.mask, settings)
    confidence = _confidence(weights, image.shape)
    if confidence is not None:
        confidence = confidence.reshape(shape)
        confidence = _sampled(confidence, axes, spaces.image, spaces.weights, settings)
        included = included & (confidence > 0)
    included = _finite_only(samples, included, settings)
    if settings.non_positive == "exclude":
        included = included & (samples > 0)
    _check_included(samples, included, inside, settings)
    offset = _offset(samples, included) if settings.non_positive == "offset" else 0.0
    raised = samples if settings.non_positive != "offset" else samples.astype(np.float32) + offset

    def turned(array: Array) -> Array:
        return array.T if settings.voxel_order == "F" else array

    order = slice(None, None, -1 if settings.voxel_order == "F" else 1)
    return Problem(
        image=turned(volume),
        mask=turned(inside),
        intensities=turned(raised),
        included=turned(included),
        weights=None if confidence is None else turned(confidence),
        axes=axes[order],
        control_points=points[order],
        offset=offset,
    )


def _check_real(name: str, array: Array) -> None:
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} has dtype {array.dtype}; expected real numbers (for complex data pass the "
            "magnitude)"
        )


def _check_image(image: Array) -> None:
    _check_real("image", image)
    if any(n != n for n in image.shape):
        raise ValueError(
            f"image has blocks of unknown size, shape {image.shape}: call its "
            "compute_chunk_sizes() first"
        )
    ndim = sum(n != 1 for n in image.shape)
    if not 2 <= ndim <= 4 or image.size == 0:
        raise ValueError(
            f"image has shape {image.shape}, {ndim} axes longer than 1; expected 2, 3 or 4"
        )


def _is_otsu(mask: Any) -> bool:
    return mask is None or (isinstance(mask, str) and mask == "otsu")


def _inside(image: Array, mask: Any, settings: N4Settings) -> Array:
    if _is_otsu(mask):
        inside = otsu_mask(image).astype(bool)
        if not is_traced(inside) and not inside.any():
            raise ValueError("image has no voxel above its Otsu threshold: pass a mask")
    elif isinstance(mask, str):
        if mask != "all":
            raise ValueError(f'mask is {mask!r}; expected an array, "otsu" or "all"')
        return namespace_of(image).ones_like(image, dtype=bool)
    else:
        if mask.shape != image.shape:
            raise ValueError(f"mask has shape {mask.shape} and image has shape {image.shape}")
        _check_real("mask", mask)
        if has_values(mask) and mask.dtype.kind == "f" and (mask != mask).any():
            raise ValueError("mask has NaN values; expected numbers, 0 where a voxel is outside")
        label = settings.mask_label
        inside = settings.inside(mask)
        if has_values(inside) and not inside.any():
            labels = ", ".join(f"{value:g}" for value in np.unique(np.asarray(mask))[:8])
            wanted = "other than 0" if label is None else f"equal to mask_label={label}"
            raise ValueError(f"mask has no voxel {wanted} (values found: {labels})")
    return inside


def _confidence(weights: Array | None, shape: tuple[int, ...]) -> Array | None:
    if weights is None:
        return None
    if weights.shape != shape:
        raise ValueError(f"weights have shape {weights.shape} and image has shape {shape}")
    _check_real("weights", weights)
    confidence = weights.astype(np.float32)
    if not has_values(confidence):
        return confidence
    if not weights.__array_namespace__().isfinite(confidence).all():
        raise ValueError("weights have NaN or infinite values; expected finite numbers")
    if not (confidence > 0).any():
        raise ValueError("weights have no positive voxel; only voxels above 0 take part")
    return confidence


def _spaces(
    spacing: float | Sequence[float] | Spaces | None, shape: tuple[int, ...], settings: N4Settings
) -> Spaces:
    """Where everything lies, axes longer than 1 alone, in ITK's order."""
    kept = [axis for axis, n in enumerate(shape) if n != 1]
    if isinstance(spacing, Spaces):
        if settings.voxel_order == "C":  # to ITK's order, as the spaces are
            kept = [len(shape) - 1 - axis for axis in reversed(kept)]
        return Spaces(
            *(space.select_axes(kept) if len(kept) < len(shape) else space for space in spacing)
        )
    steps = _spacing(spacing, shape, settings)
    return Spaces(*(Space.from_spacing(_itk_order(steps, settings)),) * 3)


def _spacing(
    spacing: float | Sequence[float] | None, shape: tuple[int, ...], settings: N4Settings
) -> tuple[float, ...]:
    """Voxel size in mm of each axis that is longer than 1."""
    ndim = sum(n != 1 for n in shape)
    if spacing is None:
        if settings.spline_distance is not None:
            raise ValueError(
                "spline_distance is in mm and needs the voxel size: pass spacing, such as "
                f"spacing={(1.0,) * ndim}"
            )
        return (1.0,) * ndim
    steps = np.atleast_1d(np.asarray(spacing, float))
    if len(steps) == 1:
        steps = np.repeat(steps, ndim)
    elif len(steps) == len(shape):
        steps = steps[[n != 1 for n in shape]]
    if steps.shape != (ndim,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise ValueError(
            f"spacing is {spacing}; expected one voxel size above 0, in mm, or one per axis "
            f"of the shape {shape}"
        )
    return tuple(float(step) for step in steps)


def _itk_order(values: tuple[Any, ...], settings: N4Settings) -> tuple[Any, ...]:
    """Between the array's axis order and ITK's, whose first axis runs fastest."""
    return values if settings.voxel_order == "F" else values[::-1]


def _lay_mesh(
    given_shape: tuple[int, ...], space: Space, settings: N4Settings
) -> tuple[tuple[Axis, ...], tuple[int, ...]]:
    """The samples of every axis longer than 1, and the control points of the first level."""
    shape = tuple(n for n in given_shape if n != 1)
    ndim, order = len(shape), settings.spline_order
    shrink = per_axis("shrink_factor", settings.shrink_factor, given_shape)
    padding: list[tuple[int, int]] = [(0, 0)] * ndim
    if settings.spline_distance is not None:
        fitted = [
            padding_for_distance(n, step, settings.spline_distance)
            for n, step in zip(shape, _itk_order(space.spacing, settings), strict=True)
        ]
        points = tuple(spans + order for spans, _, _ in fitted)
        padding = [(lower, upper) for _, lower, upper in fitted]
    elif settings.control_points is not None:
        points = per_axis("control_points", settings.control_points, given_shape)
    elif settings.mesh is not None:
        mesh = per_axis("mesh", settings.mesh, given_shape)
        points = tuple(elements + order for elements in mesh)
    else:
        points = (max(DEFAULT_CONTROL_POINTS, order + 1),) * ndim
    counts, factors, margins = (
        _itk_order(tuple(values), settings) for values in (shape, shrink, padding)
    )
    axes = _itk_order(sample_axes(counts, factors, margins, space), settings)
    for number, axis in enumerate(axes):
        if axis.samples < 2:
            shrunk = f" after shrinking by {axis.shrink}" if axis.shrink > 1 else ""
            raise ValueError(
                f"image has {axis.samples} voxel on axis {number}{shrunk}; a field needs 2: use a "
                "smaller shrink_factor"
            )
    return axes, points


def _sampled(
    array: Array, axes: tuple[Axis, ...], ours: Space, theirs: Space, settings: N4Settings
) -> Array:
    """The samples of a mask or of weights, one for each of the image's."""
    if theirs == ours:
        return load_array(array[tuple(axis.sampled_voxels for axis in axes)])
    itk = _itk_order(axes, settings)
    laid = sample_axes(
        [axis.count for axis in itk],
        [axis.shrink for axis in itk],
        [(axis.lower, axis.upper) for axis in itk],
        theirs,
    )
    picked = load_array(array)
    for number, (axis, own) in enumerate(zip(axes, _itk_order(laid, settings), strict=True)):
        voxels = own.first + own.shrink * np.array(axis.inside)
        there = (voxels >= 0) & (voxels < own.count)
        picked = picked.take(np.clip(voxels, 0, own.count - 1), axis=number)
        shape = [len(voxels) if n == number else 1 for n in range(len(axes))]
        picked = picked * there.reshape(shape).astype(picked.dtype)
    return picked


def _finite_only(intensities: Array, included: Array, settings: N4Settings) -> Array:
    if intensities.dtype.kind != "f":
        return included
    if isinstance(intensities, np.ndarray) and _all_finite(intensities):
        return included
    finite = intensities.__array_namespace__().isfinite(intensities)
    if is_traced(finite) or is_traced(included):
        return included & finite if settings.nonfinite == "exclude" else included
    bad = int((included & ~finite).sum())
    if bad and settings.nonfinite == "error":
        raise ValueError(
            f"image has {bad} NaN or infinite voxels in the mask; leave them out of the mask, or "
            'pass nonfinite="exclude"'
        )
    return included & finite if bad else included


def _all_finite(array: npt.NDArray[Any]) -> bool:
    """Whether there is no NaN and no infinity, which least and greatest value would be."""
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _offset(samples: Array, included: Array) -> Any:
    """What raises the least included intensity to 1, where it is not above 0; float32."""
    xp = samples.__array_namespace__()
    single = samples.astype(np.float32)
    lowest = xp.where(included, single, np.float32(np.inf)).min()
    return xp.where(lowest > 0, np.float32(0), np.float32(1) - lowest)


def _check_included(
    intensities: Array, included: Array, inside: Array, settings: N4Settings
) -> None:
    if is_traced(included) or is_traced(intensities):
        return
    count = int(included.sum())
    if count == 0:
        raise ValueError(
            "no voxel is left to estimate the field on: the mask has "
            f"{int(inside.sum())} voxels, none of them sampled with "
            f"shrink_factor={settings.shrink_factor}, weighted above 0, finite"
            + (" and positive" if settings.non_positive == "exclude" else "")
        )
    ends = _ends(intensities, included)
    if ends[0] == ends[1]:
        raise ValueError(
            f"image is constant in the mask ({count} voxels of {ends[0]:g}): there is no "
            "histogram to sharpen"
        )


def _ends(intensities: Array, included: Array) -> tuple[float, float]:
    """Least and greatest included intensity."""
    if isinstance(intensities, np.ndarray):
        values = intensities[included]
        return float(values.min()), float(values.max())
    xp = intensities.__array_namespace__()
    single = intensities.astype(xp.float32)  # finite, or the whole image has been refused
    low = xp.where(included, single, xp.inf).min()
    return float(low), float(xp.where(included, single, -xp.inf).max())
