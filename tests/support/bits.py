"""Arrays compared by their bits: NaN is equal to the same NaN, and -0 differs from 0."""

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from n4ax.result import N4Result
from tests.support.itk import ItkResult


def to_array(image: Any) -> npt.NDArray[Any]:
    """The voxels of an array, or of an image of SimpleITK with the last axis x."""
    return sitk.GetArrayFromImage(image) if isinstance(image, sitk.Image) else np.asarray(image)


def count_differences(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> int:
    """Count the values whose bits differ; the arrays must have the same type and shape."""
    return int(np.count_nonzero(_find_differences(found, expected)))


def check_bits(found: npt.NDArray[Any], expected: npt.NDArray[Any], what: str) -> None:
    """Assert that all bits are the same, and say where the first difference is."""
    differs = _find_differences(found, expected)
    if not differs.any():
        return
    first = tuple(int(n) for n in np.argwhere(differs)[0])
    gap = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    raise AssertionError(
        f"{what}: {np.count_nonzero(differs)} of {differs.size} values differ, by up to "
        f"{np.nanmax(gap):.3g}; the first at {first}: {found[first]!r} for {expected[first]!r}"
    )


def check_run(found: N4Result[Any], expected: ItkResult) -> None:
    """Assert that a run is SimpleITK's: every convergence value, the field and the image."""
    check_convergence(found, expected.convergence)
    check_bits(to_array(found.log_bias), expected.log_bias, "log field")
    check_bits(to_array(found.corrected), expected.corrected, "corrected image")


def check_convergence(found: N4Result[Any], expected: list[list[float]]) -> None:
    """Assert that every level has the same iterations, and they the same values."""
    assert found.iterations == [len(level) for level in expected]
    for number, (ours, theirs) in enumerate(zip(found.convergence, expected, strict=True)):
        what = f"convergence of level {number}"
        check_bits(np.array(ours, np.float64), np.array(theirs, np.float64), what)


def _find_differences(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    assert found.dtype == expected.dtype, f"{found.dtype} for {expected.dtype}"
    assert found.shape == expected.shape, f"{found.shape} for {expected.shape}"
    word = np.dtype(f"i{found.dtype.itemsize}")
    return np.ascontiguousarray(found).view(word) != np.ascontiguousarray(expected).view(word)
