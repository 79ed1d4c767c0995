"""Numerical stability: how many bits of a result survive when the input moves by one rounding."""
