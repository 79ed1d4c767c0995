"""Scripts give the results of SimpleITK after one name has been changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from benchmarks.volumes import move_by_one_ulp
from n4ax import simpleitk as sitk_n4
from tests.support.itk import THREADS
from tests.support.long import mark
from tests.support.simpleitk import (
    HEAD,
    Events,
    Image,
    check_same_events,
    get_array,
    get_place,
    make_image,
    read_image,
)

MEAN, LARGEST = 5e-6, 3e-5
"""Bounds on the difference of the log fields in the mask, in the mean and at most."""

NOISE_FACTOR = 4
"""A larger difference is accepted up to this multiple of SimpleITK's own sensitivity.

The sensitivity is how much its log field changes when every voxel moves by one ulp.
"""

MODULES = (sitk, sitk_n4)


@dataclass
class Outcome:
    """The results of a script."""

    corrected: Image
    log_field: Image
    inside: npt.NDArray[np.bool_]
    events: Events


def run_as_fastsurfer(module: ModuleType, image: Image) -> Outcome:
    """Shrink by 4, do all iterations, evaluate the field at full resolution, restore the mean."""
    sitk.ProcessObject.SetGlobalDefaultCoordinateTolerance(1e-4)
    sitk.ProcessObject.SetGlobalDefaultDirectionTolerance(1e-4)
    mask = sitk.Cast(sitk.OtsuThreshold(image, 0, 1) > 0, sitk.sitkUInt8)
    factors = [4] * image.GetDimension()
    n4 = module.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50] * 4)
    n4.SetConvergenceThreshold(0.0)
    events = Events(n4)
    n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    log_field = n4.GetLogBiasFieldAsImage(image)
    corrected = image / sitk.Exp(log_field)
    inside = get_array(mask) > 0
    corrected *= float(get_array(image)[inside].mean() / get_array(corrected)[inside].mean())
    return Outcome(corrected, log_field, inside, events)


def run_as_example(module: ModuleType, image: Image, shrink: int, iterations: int) -> Outcome:
    """Do as SimpleITK's example: Otsu's mask at full resolution, then shrink image and mask."""
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    factors = [shrink] * image.GetDimension()
    n4 = module.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([iterations] * 4)
    events = Events(n4)
    n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    log_field = n4.GetLogBiasFieldAsImage(image)
    return Outcome(image / sitk.Exp(log_field), log_field, get_array(mask) > 0, events)


def run_as_brainles(module: ModuleType, image: Image, iterations: int) -> Outcome:
    """Take Otsu's mask and fewer levels, do not shrink, and keep the result of the filter."""
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    n4 = module.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([iterations] * 3)
    events = Events(n4)
    corrected = n4.Execute(image, mask)
    return Outcome(corrected, n4.GetLogBiasFieldAsImage(image), get_array(mask) > 0, events)


def find_differences(one: Outcome, two: Outcome) -> tuple[float, float]:
    """The mean and the largest difference of the log fields in the mask."""
    difference = np.abs(get_array(one.log_field) - get_array(two.log_field))[two.inside]
    return float(difference.mean()), float(difference.max())


def check_against_simpleitk(script: Callable[..., Outcome], image: Image, **keywords: int) -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    theirs, ours = (script(module, image, **keywords) for module in MODULES)
    check_same_events(ours.events, theirs.events)

    mean, largest = find_differences(ours, theirs)
    bounds = np.array([MEAN, LARGEST])
    if mean > MEAN or largest > LARGEST:
        others = (make_image(move_by_one_ulp(get_array(image), seed), image) for seed in range(3))
        noise = [find_differences(script(sitk, other, **keywords), theirs) for other in others]
        bounds = np.maximum(bounds, NOISE_FACTOR * np.max(noise, axis=0))
    assert mean <= bounds[0]
    assert largest <= bounds[1]

    assert get_place(ours.corrected) == get_place(ours.log_field) == get_place(image)
    assert ours.corrected.GetPixelID() == theirs.corrected.GetPixelID()
    assert ours.log_field.GetPixelID() == sitk.sitkFloat32
    expected = get_array(theirs.corrected)[theirs.inside]
    relative = np.abs(get_array(ours.corrected)[theirs.inside] / expected - 1)
    assert relative.max() <= np.expm1(largest) + 1e-6 + mean  # the mean, for FastSurfer's factor


@pytest.mark.slow
def test_script_of_fastsurfer() -> None:
    check_against_simpleitk(run_as_fastsurfer, read_image(HEAD))


def test_example_of_simpleitk() -> None:
    check_against_simpleitk(run_as_example, read_image(HEAD), shrink=3, iterations=20)


def test_script_of_brainles() -> None:
    check_against_simpleitk(run_as_brainles, read_image(HEAD)[30:62, 28:60, 30:54], iterations=10)


@pytest.mark.parametrize(
    ("name", "script", "keywords"),
    [
        pytest.param(
            "pelvis_pd_3t_surfacecoil_prostatex",
            run_as_fastsurfer,
            {},
            marks=mark(slow=True, long=True),
        ),
        pytest.param(
            "flair_head_ms_3mm",
            run_as_example,
            {"shrink": 4, "iterations": 10},
            marks=mark(slow=True, long=True),
        ),
        pytest.param(
            "mouse_anat_small_sammba",
            run_as_brainles,
            {"iterations": 10},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_scripts_on_other_real_volumes(
    shared: Path, name: str, script: Callable[..., Outcome], keywords: dict[str, int]
) -> None:
    check_against_simpleitk(script, read_image(shared / "data" / f"{name}.nii.gz"), **keywords)
