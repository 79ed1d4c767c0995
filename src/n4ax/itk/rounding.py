"""How ITK rounds: single precision where arithmetic alone would keep more digits."""

from typing import Any

import numpy as np
import numpy.typing as npt

REFINEMENT_ROUNDING = {
    1: ((3e-9, -5e-9), (-5.8e-8, 0.0)),
    2: ((-4.5e-8, -2.03e-7, 2.7e-8), (-6.5e-8, -1.17e-7, 0.0)),
    3: ((0.0, 0.0, 8.6e-8, 0.0), (7.5e-8, 2.38e-7, 7.5e-8, -8e-9)),
    4: ((-8.4e-8, -5.96e-7, -4.68e-7, -1.11e-7, 0.0), (-6.5e-8, -4.04e-7, -2.0e-7, -5.5e-8, 0.0)),
    5: (
        (-3.0e-8, -5.94e-7, -1.23e-7, 1.24e-7, -1.5e-8, 0.0),
        (1.8e-8, 1.0e-8, 2.11e-7, 5.9e-8, -2.1e-8, 0.0),
    ),
}
"""The errors of ITK's knot halving for each spline order, for even and odd control points.

ITK finds the weights of the halving by a float32 singular value decomposition, which is off by up
to 6e-7. These errors were measured with SimpleITK 2.5.7: the field before a level without
iterations minus the field after it, fitted on 160 random images (standard errors 1e-9 to 3e-9).
Without them, the field is off by about 1e-7 from one level to the next.
"""


def float32_product(a: Any, b: Any) -> Any:
    """The product ``a * b`` of NumPy or JAX arrays, rounded to float32 before anything is added.

    XLA would fuse the product with a sum that follows it and round only once. It would also
    replace a float64 product that is then rounded by a float32 product, unless it is told how
    many bits to keep.
    """
    if _is_numpy(a) and _is_numpy(b):
        return np.multiply(a, b, dtype=np.float32)
    import jax.numpy as jnp
    from jax import lax

    product = lax.convert_element_type(a, jnp.float64) * lax.convert_element_type(b, jnp.float64)
    single = lax.reduce_precision(product, exponent_bits=8, mantissa_bits=23)
    return single.astype(jnp.float32)


def _is_numpy(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | float | int)


def refinement_errors(control_points: int, order: int) -> npt.NDArray[np.float64]:
    """ITK's refinement matrix minus the exact one, along one axis.

    Parameters
    ----------
    control_points
        Number of control points before the halving, n.
    order
        Order of the spline, 1 to 5.

    Returns
    -------
    array, shape (2n - order, n)
        The errors of :data:`REFINEMENT_ROUNDING`, placed where the weights are.
    """
    matrix = np.zeros((2 * control_points - order, control_points))
    for row in range(len(matrix)):
        for k, error in enumerate(REFINEMENT_ROUNDING[order][row % 2]):
            if row // 2 + k < control_points:
                matrix[row, row // 2 + k] = error
    return matrix
