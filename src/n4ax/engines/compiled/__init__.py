"""Compiled kernels: loaded from a library that was made with the package, or compiled by numba."""
