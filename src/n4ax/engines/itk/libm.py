"""The logarithm and exponentials of the C library, which the packages of ITK call.

GNU's single-precision functions are not correctly rounded, so no other implementation has their
bits. The kernels call those of the C library that this process has loaded, as SimpleITK does.
"""

import ctypes
import platform
import sys
from functools import cache

import numpy as np
import numpy.typing as npt

from n4ax.engines.itk.kernels.libm import exponentiate_double, exponentiate_single, take_logarithms
from n4ax.errors import InputError


def exponentiate(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The single-precision exponentials of some values."""
    out = np.empty_like(values)
    exponentiate_single(values, len(values), out)
    return out


def exponentiate_one(value: float) -> float:
    """The double-precision exponential of one number."""
    return float(_load_library().exp(value))


def check_platform() -> None:
    """Check that the bits of ITK can be had here.

    The packages of SimpleITK and ANTsPy on PyPI are compiled for x86-64 without fused
    multiply-add, and call GNU's C library. Elsewhere ITK itself may have other bits.

    Raises
    ------
    ValueError
        This is another system, or the functions that the kernels call are not the C library's.
    """
    system = f"{sys.platform}, {platform.machine()}, {find_c_library()}"
    if system.split(", ")[:2] != ["linux", "x86_64"] or not find_c_library().startswith("glibc"):
        raise InputError(
            "{arithmetic} is 'itk', which reproduces the packages of ITK for Linux on x86-64 with "
            "the GNU C library; this is {0}, where ITK itself may have other bits: leave "
            "{arithmetic} at 'limit'",
            system,
        )
    if not _has_functions_of_library():
        raise InputError(
            "{arithmetic} is 'itk', and the compiled kernels do not call the C library's logarithm "
            "and exponential here (Intel's vector library may replace them): set "
            "NUMBA_DISABLE_INTEL_SVML=1, or leave {arithmetic} at 'limit'"
        )


def find_c_library() -> str:
    """Find the name of the C library, such as ``glibc 2.36``."""
    name, version = platform.libc_ver()
    return f"{name} {version}".strip() or "another C library"


@cache
def _load_library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    for name, kind in (
        ("logf", ctypes.c_float),
        ("expf", ctypes.c_float),
        ("exp", ctypes.c_double),
    ):
        function = getattr(library, name)
        function.argtypes, function.restype = [kind], kind
    return library


@cache
def _has_functions_of_library() -> bool:
    """Whether the kernels have the bits of the C library, tried on a few hundred numbers."""
    library = _load_library()
    given = np.linspace(0.37, 731.3, 509, dtype=np.float32)
    logarithms = given.copy()
    take_logarithms(0, len(given), logarithms)
    exponents = np.linspace(-1.3, 1.7, 509, dtype=np.float32)
    exponentials = exponentiate(exponents)
    doubles = np.empty_like(exponents)
    exponentiate_double(exponents, len(exponents), doubles)
    expected = [
        [library.logf(x) for x in given.tolist()],
        [library.expf(x) for x in exponents.tolist()],
        [library.exp(x) for x in exponents.tolist()],
    ]
    found = (logarithms, exponentials, doubles)
    return all(
        np.array_equal(ours, np.array(theirs).astype(np.float32))
        for ours, theirs in zip(found, expected, strict=True)
    )
