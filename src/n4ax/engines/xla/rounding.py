"""What XLA must not round by itself: float32 values kept in float64, and powers of two."""

import jax.numpy as jnp
from jax import Array, lax


def round_to_float32(value: Array) -> Array:
    """Round float64 numbers to what float32 holds. XLA may leave out a conversion and back."""
    return lax.reduce_precision(value, exponent_bits=8, mantissa_bits=23)


def binade(value: Array) -> Array:
    """The power of two at or below each positive number, to the bit.

    The sign and the mantissa are cut off. ``exp2(floor(log2(value)))`` is not a power of two
    everywhere: on the CPU, XLA's float32 ``exp2`` is off by up to 5e-7.
    """
    bits, exponent = {
        jnp.dtype("float32"): (jnp.int32, 0x7F80_0000),
        jnp.dtype("float64"): (jnp.int64, 0x7FF0_0000_0000_0000),
    }[value.dtype]
    cut = lax.bitcast_convert_type(value, bits) & bits(exponent)
    return lax.bitcast_convert_type(cut, value.dtype)
