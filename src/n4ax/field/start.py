"""A field that N4 starts from, on the mesh of the new run, and what was found added to it."""

from dataclasses import replace
from math import prod

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.field.bias_field import POINTS_AT_A_TIME, BiasField
from n4ax.field.places import (
    SPATIAL,
    describe_place,
    find_corners,
    is_one_grid,
    lie_apart,
    stretch_voxels,
)
from n4ax.method.bspline import (
    apply_along_axis,
    evaluate_points,
    evaluation_matrix,
    least_squares_matrix,
    refine_axis,
)
from n4ax.method.grid import Axis

_SITES_PER_ELEMENT = 3
"""How densely a field is sampled to express it on another mesh."""

_PADDING_WEIGHT = 1e-4
"""What a site beyond the image counts, so that the spline is known there and follows the image."""

_CLOSE = 2e-4
"""A field is expressed on a finer mesh while it is further off than this, in log intensity."""

_MOST_HALVINGS = 2
"""How often the mesh of the run may be halved for that."""


def express(field: BiasField, like: BiasField) -> BiasField:
    """Express a field on the axes of another, and on a mesh that doubles into that of the other.

    If both are stretched over the same voxels, have the same order, and the elements of one mesh
    double into those of the other, the field stays what it is, on its own mesh. Otherwise the
    spline is the one closest to the field, by least squares, at three sites in each element. The
    mesh is halved up to twice if that brings the spline closer. On the grid of its own image, the
    field is stretched over the image as in its own correction. On another grid it is taken where
    the voxels lie in space, if both images say so, and stretched if not. For a field of a head,
    found at twice the voxel size, the new spline is 4e-4 of log intensity off (rms), most of it at
    the edge of the field's image, beyond which a field keeps its value.

    Parameters
    ----------
    field
        The field, whose axes run as those of ``like``.
    like
        A field of any values, on the last mesh of the new run.

    Raises
    ------
    ValueError
        The field is for an image with other axes, or for one that lies elsewhere.
    """
    same_grid = is_one_grid(field.shape, field.affine, like.shape, like.affine)
    if same_grid and _shares_mesh(field, like):
        return replace(like, control_points=field.control_points)
    in_space = not same_grid and field.affine is not None and like.affine is not None
    _check(field, like, in_space)
    spans = tuple(count - like.order for count in like.control_points.shape)
    points, distance = _fit(field, like, spans, in_space)
    for _ in range(_MOST_HALVINGS):
        halved = tuple(
            2 * n if 2 * n <= axis.padded else n for n, axis in zip(spans, like.axes, strict=True)
        )
        if distance <= _CLOSE or halved == spans:
            break
        spans = halved
        points, distance = _fit(field, like, spans, in_space)
    return replace(like, control_points=points.astype(np.float32))


def add(start: BiasField, found: BiasField) -> BiasField:
    """Add what was found to the field that a run started from, on the finer of their meshes."""
    shapes = zip(start.control_points.shape, found.control_points.shape, strict=True)
    spans = tuple(max(pair) - found.order for pair in shapes)
    points = _refine(start, spans) + _refine(found, spans)
    return replace(found, control_points=points.astype(np.float32))


def _shares_mesh(field: BiasField, like: BiasField) -> bool:
    """Whether two fields are stretched alike, and one mesh doubles into the other."""
    if field.order != like.order or len(field.axes) != len(like.axes):
        return False
    shapes = zip(field.control_points.shape, like.control_points.shape, strict=True)
    return all(
        (own.lower, own.count, own.upper) == (other.lower, other.count, other.upper)
        for own, other in zip(field.axes, like.axes, strict=True)
    ) and all(_doubles_into(min(pair) - field.order, max(pair) - field.order) for pair in shapes)


def _doubles_into(coarse: int, fine: int) -> bool:
    """Whether a mesh of so many elements becomes the other by halving its elements."""
    while coarse < fine:
        coarse *= 2
    return coarse == fine


def _refine(field: BiasField, spans: tuple[int, ...]) -> npt.NDArray[np.floating]:
    """The control points of a field on a finer mesh, float64."""
    points: npt.NDArray[np.floating] = field.control_points.astype(np.float64)
    for axis, wanted in enumerate(spans):
        while points.shape[axis] - field.order < wanted:
            points = refine_axis(points, axis, field.order)
    return points


def _check(field: BiasField, like: BiasField, in_space: bool) -> None:
    """Refuse a field that has no value where the image is."""
    if not in_space:
        if len(field.axes) != len(like.axes):
            raise InputError(
                "{init} is a field of {0} axes, for an image of shape {1}, and {image} has shape "
                "{2}",
                len(field.axes),
                field.shape,
                like.shape,
            )
        return
    assert field.affine is not None
    assert like.affine is not None
    if max(len(field.axes), len(like.axes)) > SPATIAL:
        raise InputError(
            "{init} is a field for an image of shape {0}, and {image} has shape {1} in another "
            "place: a field through time fits its own grid only",
            field.shape,
            like.shape,
        )
    theirs = find_corners(field.affine, field.shape)
    ours = find_corners(like.affine, like.shape)
    if lie_apart(theirs, ours):
        raise InputError(
            "{init} is a field for {0}, and {image} lies at {1}: they do not overlap",
            describe_place(theirs),
            describe_place(ours),
        )


def _fit(
    field: BiasField, like: BiasField, spans: tuple[int, ...], in_space: bool
) -> tuple[npt.NDArray[np.floating], float]:
    """Fit a spline of so many elements by least squares, which is separable.

    Returns
    -------
    tuple
        The control points, and the largest distance from the field at a site on the image.
    """
    order, finest = like.order, max(field.control_points.shape) - field.order
    sites: list[npt.NDArray[np.float64]] = []
    points: list[npt.NDArray[np.float64]] = []
    inside: list[npt.NDArray[np.bool_]] = []
    for axis, n in zip(like.axes, spans, strict=True):
        p = np.linspace(0.0, n, _count_sites(axis, n, finest, order))
        voxels = p * (axis.padded - 1) / n - axis.lower
        points.append(p)
        sites.append(voxels)
        inside.append((voxels >= -0.5) & (voxels <= axis.count - 0.5))
    values = _evaluate_at_sites(field, like, sites, in_space)
    fitted: npt.NDArray[np.floating] = values
    for axis, (p, kept, n) in enumerate(zip(points, inside, spans, strict=True)):
        weights = np.where(kept, 1.0, _PADDING_WEIGHT)
        fitted = apply_along_axis(least_squares_matrix(p, weights, n + order, order), fitted, axis)
    there: npt.NDArray[np.floating] = fitted
    for axis, (p, n) in enumerate(zip(points, spans, strict=True)):
        there = apply_along_axis(evaluation_matrix(p, n + order, order), there, axis)
    return fitted, float(np.abs(there - values)[np.ix_(*inside)].max())


def _count_sites(axis: Axis, spans: int, finest: int, order: int) -> int:
    """How many sites an axis gets: enough for both meshes, and no more than voxels if possible."""
    least = 2 * (spans + order) + 1
    return max(least, min(axis.padded, _SITES_PER_ELEMENT * (max(spans, finest) + order) + 1))


def _evaluate_at_sites(
    field: BiasField, like: BiasField, sites: list[npt.NDArray[np.float64]], in_space: bool
) -> npt.NDArray[np.float64]:
    """Evaluate a field at positions on the axes of an image, which may lie between voxels."""
    shape = tuple(map(len, sites))
    kept = [number for number, n in enumerate(like.shape) if n != 1]
    values = np.empty(prod(shape))
    for first in range(0, len(values), POINTS_AT_A_TIME):
        part = values[first : first + POINTS_AT_A_TIME]
        index = np.unravel_index(np.arange(first, first + len(part)), shape)
        at = [positions[chosen] for positions, chosen in zip(sites, index, strict=True)]
        if in_space:
            voxels = np.zeros((len(like.shape), len(part)))
            voxels[kept] = at
            part[:] = field.evaluate_voxels(voxels[:SPATIAL], like.affine)
        else:
            part[:] = _evaluate_stretched(field, like, at)
    return values.reshape(shape)


def _evaluate_stretched(
    field: BiasField, like: BiasField, at: list[npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """Evaluate a field that is stretched over another image."""
    points = [
        stretch_voxels(axis, voxels, other.count, count - field.order)
        for axis, other, voxels, count in zip(
            field.axes, like.axes, at, field.control_points.shape, strict=True
        )
    ]
    return evaluate_points(field.control_points, points, field.order)
