"""The spline of a lattice as products with small dense matrices."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

FULL = lax.Precision.HIGHEST
"""Precision of matrix products. Otherwise an accelerator multiplies with fewer digits than float32
has."""


def evaluate_spline(lattice: Array, weights: Sequence[Array]) -> Array:
    """Evaluate a lattice's spline on a grid.

    Parameters
    ----------
    lattice
        Control points.
    weights
        Basis along each axis of the grid, shape (control points, n).

    Returns
    -------
    array, float32, shape (product of all n but the last, n of the last axis)
    """
    rows = lattice
    for axis, weight in enumerate(weights[:-1]):
        rows = apply_along(weight.T, rows, axis)
    return jnp.dot(rows.reshape(-1, lattice.shape[-1]), weights[-1], precision=FULL)


def apply_along(matrix: Array, array: Array, axis: int) -> Array:
    """Apply ``matrix`` (m, n) to one ``axis``, of length n, of ``array``."""
    product = jnp.tensordot(matrix, array, axes=(1, axis), precision=FULL)
    return jnp.moveaxis(product, 0, axis)
