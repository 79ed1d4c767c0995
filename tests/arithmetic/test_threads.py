"""ITK's threads decide the bits, and the threads that compute them do not."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from benchmarks.exactness import divide_as_itk
from n4ax.engines.cpu.threads import FEW_VOXELS
from n4ax.result import N4Result
from tests.support import itk
from tests.support.bits import check_bits, check_convergence, check_run, count_differences

WORK_UNITS = (1, 5, 64)

SERIES: dict[str, Any] = {"series": "4d", "voxel_order": "F"}
IMAGES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "2-D": ((463, 452), {}),
    "3-D": ((58, 61, 62), {}),
    "4-D": ((23, 24, 21, 19), SERIES),
}
"""Shapes with so many voxels that several threads share the work."""

FEW: dict[str, Any] = {"iters": (3, 2), "conv_threshold": 0.0}


def make_image(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.4, radius < 0.7, radius < 0.95], [300.0, 210.0, 120.0], 25.0)
    noise = np.random.default_rng(11).normal(0, 4, shape)
    return (tissue * np.exp(0.3 * at[0] - 0.2 * at[-1]) + noise).astype(np.float32)


@cache
def fit(name: str, work_units: int, num_threads: int | None) -> N4Result[Any]:
    shape, keywords = IMAGES[name]
    return n4ax.fit(
        make_image(shape),
        "all",
        arithmetic="itk",
        itk_work_units=work_units,
        num_threads=num_threads,
        **keywords,
        **FEW,
    )


@pytest.mark.parametrize("work_units", WORK_UNITS)
@pytest.mark.parametrize("name", IMAGES)
def test_computing_threads_change_no_bit(name: str, work_units: int) -> None:
    assert np.prod(IMAGES[name][0]) > FEW_VOXELS
    one = fit(name, work_units, 1)
    for number in (2, 3, None):
        other = fit(name, work_units, number)
        assert other.convergence == one.convergence
        for what in ("log_bias", "corrected"):
            check_bits(getattr(other, what), getattr(one, what), f"{what}, {number} threads")
        points = [np.asarray(result.field.control_points) for result in (other, one)]
        check_bits(points[0], points[1], f"control points, {number} threads")


@pytest.mark.parametrize("name", IMAGES)
def test_work_units_change_the_bits(name: str) -> None:
    fields = [fit(name, work_units, None).log_bias for work_units in WORK_UNITS]
    assert count_differences(fields[0], fields[1]) > fields[0].size // 10
    assert count_differences(fields[0], fields[2]) > fields[0].size // 10
    assert count_differences(fields[1], fields[2]) > fields[0].size // 10


@pytest.mark.parametrize(
    ("keywords", "threads"),
    [
        ({}, 1),
        ({"itk_work_units": 128}, 128),
        ({"itk_threads": 7}, 7),
        ({"itk_threads": 1, "itk_tool": "ants"}, 1),
        ({"itk_threads": 2, "itk_tool": "ants"}, 8),
        ({"itk_threads": 64, "itk_tool": "ants"}, 128),
    ],
)
def test_threads_of_a_tool_are_work_units_of_simpleitk(
    keywords: dict[str, Any], threads: int
) -> None:
    image = make_image((23, 25, 27))
    theirs = itk.correct(image, None, threads=threads, **FEW)
    ours = n4ax.fit(image, "all", arithmetic="itk", **keywords, **FEW)
    check_convergence(ours, theirs.convergence)
    check_bits(ours.log_bias, theirs.log_bias, "log field")
    # ANTs divides by an exponential in double precision.
    if "itk_tool" in keywords:
        corrected = divide_as_itk(image, theirs.log_bias, shrunken=True)
        check_bits(ours.corrected, corrected, "corrected image")
    else:
        check_run(ours, theirs)
