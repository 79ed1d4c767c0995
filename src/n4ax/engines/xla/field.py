"""A log bias field as a JAX array: evaluated on a whole grid, and divided out of an image."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from n4ax.engines.xla.spline import evaluate_spline
from n4ax.images.arrays import is_on_accelerator
from n4ax.method.bspline import AxisBasis


def evaluate(lattice: Any, bases: Sequence[AxisBasis]) -> Array:
    """Evaluate the lattice's spline on a grid.

    Parameters
    ----------
    lattice
        Control points of the log field.
    bases
        The basis on each axis of the grid.

    Returns
    -------
    array, float32, of the shape of the grid
    """
    with jax.enable_x64(True):
        return _evaluate(jnp.asarray(lattice), _make_dense(bases))


def divide(image: Array, lattice: Any, bases: Sequence[AxisBasis], *, overwrite: bool) -> Array:
    """Divide an image by exp(spline): the exponential in float32, the quotient in its own type.

    Parameters
    ----------
    image
        The image, on the grid of ``bases``.
    lattice
        Control points of the log field.
    bases
        The basis on each axis of the image.
    overwrite
        The image is a copy of an array on the host. On an accelerator, the result may take its
        memory.

    Returns
    -------
    array
        float64 for a float64 image, and float32 otherwise.
    """
    with jax.enable_x64(True):
        program = _divide_in_place if overwrite and _may_be_overwritten(image) else _divide
        return program(image, jnp.asarray(lattice), _make_dense(bases))


def _may_be_overwritten(image: Array) -> bool:
    """Whether the memory of a copy may take the result.

    On the CPU it may be the memory of the host's array itself, and the result has to fit.
    """
    return is_on_accelerator(image) and image.dtype in (jnp.float32, jnp.float64)


def _make_dense(bases: Sequence[AxisBasis]) -> tuple[Any, ...]:
    """The weights of each axis as a matrix (control points, n)."""
    return tuple(basis.dense(basis.weights) for basis in bases)


@jax.jit
def _evaluate(lattice: Array, weights: tuple[Array, ...]) -> Array:
    return evaluate_spline(lattice, weights).reshape([w.shape[1] for w in weights])


def _compute_quotient(image: Array, lattice: Array, weights: tuple[Array, ...]) -> Array:
    wide = image.dtype == jnp.float64
    given = image.astype(jnp.float64 if wide else jnp.float32)
    return given / jnp.exp(_evaluate(lattice, weights))


_divide = jax.jit(_compute_quotient)
_divide_in_place = jax.jit(_compute_quotient, donate_argnums=0)
