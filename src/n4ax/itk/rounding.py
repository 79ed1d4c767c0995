"""How ITK rounds: single precision where arithmetic alone would keep more digits."""

from typing import Any

import numpy as np


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
