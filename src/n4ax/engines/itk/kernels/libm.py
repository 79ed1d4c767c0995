"""Kernels that call the logarithm and exponentials of the C library, as the packages of ITK do."""

# pyright: reportCallIssue=false, reportArgumentType=false

from numpy import float32, float64

from n4ax.engines.compiled.kernel import CFunction, compile_kernel

_logf = CFunction("logf", "float32", "float32")
_expf = CFunction("expf", "float32", "float32")
_exp = CFunction("exp", "float64", "float64")


@compile_kernel()
def take_logarithms(first, stop, values):
    """Replace the values from ``first`` to ``stop`` that are above 0 by their logarithms."""
    for i in range(first, stop):
        if values[i] > float32(0):
            values[i] = _logf(values[i])


@compile_kernel()
def exponentiate_single(values, n, out):
    """Set ``out[:n]`` to the single-precision exponentials of ``values[:n]``."""
    for i in range(n):
        out[i] = _expf(values[i])


@compile_kernel()
def exponentiate_double(values, n, out):
    """Set ``out[:n]`` to the double-precision exponentials of ``values[:n]``, as float32."""
    for i in range(n):
        out[i] = float32(_exp(float64(values[i])))
