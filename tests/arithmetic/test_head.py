"""The packaged head at full resolution has the bits of SimpleITK, which runs here."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import n4ax
from tests.support import itk
from tests.support.bits import check_bits, check_convergence, check_run, count_differences
from tests.support.long import mark

Voxels = npt.NDArray[Any]

FEW: dict[str, Any] = {"iters": (2, 1), "conv_threshold": 0.0}
"""SimpleITK takes half a second for an iteration on the head."""

TYPES = {
    "float32": sitk.sitkFloat32,
    "float64": sitk.sitkFloat64,
    "int16": sitk.sitkInt16,
    "uint8": sitk.sitkUInt8,
}


def make_head(head: Voxels, kind: str) -> Voxels:
    """The head in a type of its own. It consists of whole numbers up to 1370.

    The float64 head has digits beyond single precision. The uint8 head is so dark that its
    corrected intensities have a place in the type.
    """
    if kind == "uint8":
        return np.rint(head / 10).astype(np.uint8)
    if kind == "float64":
        return head * (1 + 1e-9)
    return head.astype(kind)


class Answers:
    """SimpleITK's answers on the head; each is asked for once."""

    def __init__(self, head: Voxels, mask: Voxels) -> None:
        self.head, self.mask = head, mask
        self.find = cache(self._find)

    def _find(self, kind: str, threads: int) -> itk.ItkResult:
        if kind == "int16":  # SimpleITK takes it as float32
            return self.find("float32", threads)
        return itk.correct(make_head(self.head, kind), self.mask, threads=threads, **FEW)


@pytest.fixture(scope="module")
def answers(head: Voxels, head_mask: Voxels) -> Answers:
    return Answers(head, head_mask)


@pytest.mark.parametrize(
    ("kind", "threads"),
    [
        pytest.param(kind, threads, marks=() if quick else pytest.mark.slow)
        for kind in TYPES
        for threads in (1, 2, 64)
        for quick in [kind in ("float32", "int16") or threads == 64]
    ],
)
def test_head_of_every_type_has_the_bits_of_simpleitk(
    answers: Answers, kind: str, threads: int
) -> None:
    theirs = answers.find(kind, threads)
    image = make_head(answers.head, kind)
    ours = n4ax.fit(image, answers.mask, arithmetic="itk", itk_threads=threads, **FEW)
    check_run(ours, theirs)
    if kind in ("int16", "uint8"):
        expected = sitk.Cast(sitk.GetImageFromArray(theirs.corrected), TYPES[kind])
        limits = np.iinfo(kind)
        assert limits.min <= theirs.corrected.min()
        assert theirs.corrected.max() < limits.max + 1
        cast = sitk.GetArrayFromImage(expected)
        check_bits(ours.corrected.astype(kind), cast, "image cast by NumPy")
        again = sitk.Cast(sitk.GetImageFromArray(ours.corrected), TYPES[kind])
        check_bits(sitk.GetArrayFromImage(again), cast, "image cast by SimpleITK")


def test_work_units_decide_the_bits_of_the_head(answers: Answers) -> None:
    one, two, many = (answers.find("float32", threads) for threads in (1, 2, 64))
    for first, second in ((one, two), (one, many), (two, many)):
        assert count_differences(first.log_bias, second.log_bias) > one.log_bias.size // 2
        assert count_differences(first.corrected, second.corrected) > 1000


def test_images_of_simpleitk_have_its_bits_too(answers: Answers) -> None:
    theirs = answers.find("float32", 64)
    image = sitk.GetImageFromArray(answers.head)
    mask = sitk.GetImageFromArray(answers.mask)
    check_run(n4ax.fit(image, mask, arithmetic="itk", itk_threads=64, **FEW), theirs)


@pytest.mark.parametrize(
    ("name", "step", "keywords"),
    [
        ("default", 1, {}),
        ("one_level", 1, {"iters": (10,), "conv_threshold": 0.0}),
        (
            "shrunk_mesh",
            2,
            {"iters": (20, 20), "conv_threshold": 0.0, "control_points": (5, 4, 6)},
        ),
    ],
)
def test_head_has_the_cached_bits_of_simpleitk(
    head: Voxels, head_mask: Voxels, name: str, step: int, keywords: dict[str, Any]
) -> None:
    answer = np.load(Path(__file__).parents[1] / "data" / "head_sitk.npz")
    assert "2.5.7, 64 threads" in str(answer["made_with"])
    taken = (slice(None, None, step),) * 3
    ours = n4ax.fit(head[taken], head_mask[taken], arithmetic="itk", itk_threads=64, **keywords)
    check_convergence(ours, json.loads(str(answer[f"{name}_convergence"])))
    every = (slice(None, None, 4),) * 3
    check_bits(ours.log_bias[every], answer[f"{name}_log_bias"], "log field")


@pytest.mark.parametrize(
    ("step", "threads"),
    [
        pytest.param(step, threads, marks=mark(slow=True, long=step == 1 or threads != 2))
        for step in (1, 2)
        for threads in (1, 2, 64)
    ],
)
def test_head_has_the_bits_of_simpleitk_after_all_iterations(
    head: Voxels, head_mask: Voxels, step: int, threads: int
) -> None:
    image, mask = (array[(slice(None, None, step),) * 3] for array in (head, head_mask))
    theirs = itk.correct(image, mask, threads=threads)
    assert sum(theirs.iterations) > 40
    check_run(n4ax.fit(image, mask, arithmetic="itk", itk_threads=threads), theirs)
