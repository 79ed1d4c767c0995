"""Compiled kernels (numba) without any liberty in floating point: every operation rounds once."""
