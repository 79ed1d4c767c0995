"""The cached answers of SimpleITK and of ITK 6 on real volumes, and SimpleITK on them, which runs.

The answers were made from arrays without a voxel size. Their ``corrected`` is NumPy's quotient of
the image and the field, so that it says nothing beyond the field: the corrected image is held
against ITK's own quotient.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from benchmarks import exactness
from n4ax.result import N4Result
from tests.support import itk
from tests.support.bits import check_bits, check_convergence, check_run, count_differences
from tests.support.long import mark

CASES = (
    "default_abdomen_negative",
    "default_brain_2d",
    "default_epi7t",
    "default_mouse",
    "default_pelvis_small",
    "fullres_t1w_adi",
    "large_studyforrest",
    "nonzero_t1gd",
    "order2_mouse",
    "points567_pelvis_pd",
    "shrink2_flair_ms",
    "shrink2_t1w_adi",
)

ONLY_AT_64_THREADS = ("fullres_t1w_adi", "large_studyforrest")
"""Of these, there are no cached answers of one thread and of ITK 6."""

LONG = (
    "default_pelvis_small",
    "default_abdomen_negative",
    "default_epi7t",
    "fullres_t1w_adi",
    "large_studyforrest",
    "nonzero_t1gd",
    "shrink2_flair_ms",
    "shrink2_t1w_adi",
)
"""SimpleITK takes 20 seconds to six minutes for these."""

SMALL = ("default_brain_2d", "order2_mouse")
"""These run with every number of threads, and others with 2 alone: what SimpleITK finds with 1 and
with 64 threads is among the cached answers of all cases."""

QUICK = {
    "sitk": {"brain_2d", "mouse", "pelvis_small", "points567_pelvis_pd"},
    "itk5_1": {"brain_2d", "order2_mouse"},
    "itk6_64": {"brain_2d", "order2_mouse"},
}

KEYWORDS: dict[str, dict[str, Any]] = {
    "sitk": {"itk_threads": 64},
    "itk5_1": {"itk_threads": 1},
    "itk6_64": {"itk_threads": 64, "itk_version": 6},
}
"""What the cached answers of each kind were made with."""


class Case(NamedTuple):
    """A cached case; arrays have nibabel's axis order, whose first axis is ITK's x."""

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8]
    keywords: dict[str, Any]
    answer: Any
    convergence: list[list[float]]

    def fit(self, **arithmetic: Any) -> N4Result[Any]:
        keywords = self.keywords | {"arithmetic": "itk", "voxel_order": "F"} | arithmetic
        return n4ax.fit(self.image, self.mask, **keywords)

    def divide(self, at: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        """The corrected voxels as SimpleITK finds them from its cached log field."""
        shrunken = "shrink_factor" in self.keywords
        return exactness.divide_as_itk(self.image[at], self.answer["log_bias"], shrunken)


def open_case(folder: Path, name: str) -> Case:
    case = json.loads((folder / "oracle" / f"{name}.json").read_text())
    image, mask, _ = exactness.open_case(case)
    levels: list[list[float]] = [[] for _ in case["iterations"]]
    for level, iteration, measure in case["convergence"]:
        levels[level].append(measure)
        assert len(levels[level]) == iteration
    assert [len(level) for level in levels] == case["iterations"]
    answer = np.load(folder / "oracle" / f"{name}.npz")
    return Case(image, mask, exactness.choose_keywords(case), answer, levels)


def list_cases() -> list[Any]:
    return [
        pytest.param(kind, name, marks=() if quick else pytest.mark.slow)
        for kind, quickly in QUICK.items()
        for name in CASES
        for quick in [name.removeprefix("default_") in quickly]
        if kind == "sitk" or name not in ONLY_AT_64_THREADS
    ]


@pytest.mark.parametrize(("kind", "name"), list_cases())
def test_real_volume_has_the_cached_bits_of_itk(shared: Path, kind: str, name: str) -> None:
    case = open_case(shared, f"{kind}_{name}")
    result = case.fit(**KEYWORDS[kind])
    check_convergence(result, case.convergence)
    at = tuple(case.answer["index"].T)
    check_bits(result.log_bias[at], case.answer["log_bias"], "log field")
    check_bits(result.corrected[at], case.divide(at), "corrected image")
    grid = case.answer["grid"]
    check_bits(result.field.evaluate(grid.shape), grid, "log field on a coarse grid")
    if "lattice" in case.answer:
        lattice = case.answer["lattice"].squeeze()
        check_bits(np.asarray(result.field.control_points), lattice, "control points")


@pytest.mark.parametrize(
    ("name", "threads"),
    [
        pytest.param(name, threads, marks=mark((name, threads) != ("order2_mouse", 2), long))
        for name in CASES
        for threads in (1, 2, 64)
        for long in [name in LONG or (threads != 2 and name not in SMALL)]
    ],
)
def test_real_volume_has_the_bits_of_simpleitk(shared: Path, name: str, threads: int) -> None:
    case = open_case(shared, f"sitk_{name}")
    points = case.keywords.get("control_points")
    turned = {} if points is None else {"control_points": points[::-1]}
    theirs = itk.correct(case.image.T, case.mask.T, threads=threads, **case.keywords | turned)
    ours = n4ax.fit(
        np.ascontiguousarray(case.image.T),
        np.ascontiguousarray(case.mask.T),
        arithmetic="itk",
        itk_threads=threads,
        **case.keywords | turned,
    )
    check_run(ours, theirs)


def test_a_cached_answer_is_that_of_simpleitk_run_here(shared: Path) -> None:
    case = open_case(shared, "sitk_order2_mouse")
    points = case.keywords["control_points"][::-1]
    theirs = itk.correct(case.image.T, case.mask.T, **case.keywords | {"control_points": points})
    at = tuple(case.answer["index"].T)
    assert theirs.convergence == case.convergence
    check_bits(theirs.log_bias.T[at], case.answer["log_bias"], "log field")
    check_bits(theirs.corrected.T[at], case.divide(at), "corrected image")


@pytest.mark.parametrize("shrink_factor", [1, 2])
def test_simpleitk_divides_as_it_is_said_to(shrink_factor: int) -> None:
    image = (np.random.default_rng(2).random((30, 30, 30)) * 900 + 10).astype(np.float32)
    few: dict[str, Any] = {"iters": (2,), "shrink_factor": shrink_factor}
    found = itk.correct(image, None, **few)
    expected = exactness.divide_as_itk(image, found.log_bias, shrink_factor > 1)
    check_bits(found.corrected, expected, "corrected image")
    other = exactness.divide_as_itk(image, found.log_bias, shrink_factor == 1)
    assert count_differences(found.corrected, other) > 0
