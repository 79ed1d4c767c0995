"""Scripts around N4 have the same voxels with SimpleITK's class and with ours in its place."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import n4ax
from n4ax import simpleitk as sitk_n4
from tests.simpleitk.test_scripts import Outcome, run_as_brainles, run_as_example, run_as_fastsurfer
from tests.support.bits import check_bits, count_differences, to_array
from tests.support.long import mark
from tests.support.simpleitk import HEAD, check_same_events, read_image

THREADS = (1, 2, 64)


class Filter(sitk_n4.N4BiasFieldCorrectionImageFilter):
    """Our filter in the arithmetic of ITK; it takes the number of threads that is set there."""

    def __init__(self) -> None:
        super().__init__()
        self.SetArithmetic("itk")


OURS: Any = SimpleNamespace(N4BiasFieldCorrectionImageFilter=Filter)
MODULES: tuple[Any, Any] = (sitk, OURS)


def run_both(
    script: Callable[..., Outcome], image: sitk.Image, threads: int, **keywords: int
) -> tuple[Outcome, Outcome]:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    theirs, ours = (script(module, image, **keywords) for module in MODULES)
    return theirs, ours


def check_outcome(theirs: Outcome, ours: Outcome) -> None:
    check_same_events(ours.events, theirs.events)
    assert ours.events.measures == theirs.events.measures
    check_bits(to_array(ours.log_field), to_array(theirs.log_field), "log field")
    check_bits(to_array(ours.corrected), to_array(theirs.corrected), "corrected image")


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(
    ("script", "keywords"),
    [(run_as_example, {"shrink": 3, "iterations": 3}), (run_as_brainles, {"iterations": 2})],
)
def test_script_has_the_bits_of_simpleitk(
    script: Callable[..., Outcome], keywords: dict[str, int], threads: int
) -> None:
    image = read_image(HEAD)[30:62, 28:60, 30:54]
    check_outcome(*run_both(script, image, threads, **keywords))


def conform(image: sitk.Image) -> sitk.Image:
    """The image as a uint8 image that uses the whole range, as FastSurfer's input is."""
    voxels = sitk.GetArrayFromImage(image).astype(np.float64)
    low, high = np.quantile(voxels, (0, 0.999))
    scaled = np.clip(np.rint((voxels - low) / (high - low) * 255), 0, 255).astype(np.uint8)
    conformed = sitk.GetImageFromArray(scaled)
    conformed.CopyInformation(image)
    return conformed


def write_uint8(outcome: Outcome) -> npt.NDArray[np.uint8]:
    """What a pipeline of 8-bit images keeps of a correction."""
    return sitk.GetArrayFromImage(sitk.Clamp(outcome.corrected, sitk.sitkUInt8, 0, 255))


def count_changed_by_threads(image: sitk.Image, tell: Callable[[str], None]) -> int:
    """Compare both at 1 and at 64 threads, and SimpleITK with itself between the two."""
    written = []
    for threads in (1, 64):
        theirs, ours = run_both(run_as_fastsurfer, image, threads)
        check_outcome(theirs, ours)
        written.append((write_uint8(theirs), write_uint8(ours)))
        check_bits(written[-1][1], written[-1][0], f"8-bit image, {threads} threads")
    changed = count_differences(written[0][0], written[1][0])
    tell(
        f"0 of {written[0][0].size:,} 8-bit voxels differ from SimpleITK; between its own results "
        f"with 1 and with 64 threads {changed:,} do"
    )
    return changed


@pytest.mark.slow
def test_fastsurfer_writes_the_same_8_bit_image_of_the_head(tell: Callable[[str], None]) -> None:
    image = sitk.Cast(conform(read_image(HEAD)), sitk.sitkFloat32)
    assert count_changed_by_threads(image, tell) > 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("t1w_head_memprage_3t_fnndsc_adi", marks=mark(slow=True, long=True)),
        pytest.param("epi_7t_layerfmri_oblique_sclslope", marks=mark(slow=True, long=True)),
    ],
)
def test_fastsurfer_writes_the_same_8_bit_image(
    shared: Path, name: str, tell: Callable[[str], None]
) -> None:
    image = conform(read_image(shared / "data" / f"{name}.nii.gz"))
    assert count_changed_by_threads(sitk.Cast(image, sitk.sitkFloat32), tell) > 0


@pytest.mark.parametrize("threads", [1, 64])
def test_fit_takes_the_8_bit_image_as_it_is(threads: int) -> None:
    image = conform(read_image(HEAD))[::2, ::2, ::2]
    mask = sitk.Cast(sitk.OtsuThreshold(image, 0, 1) > 0, sitk.sitkUInt8)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    itk = sitk.N4BiasFieldCorrectionImageFilter()
    itk.SetMaximumNumberOfIterations([8, 8])
    theirs = itk.Execute(sitk.Cast(image, sitk.sitkFloat32), mask)
    ours = n4ax.fit(image, mask, iters=(8, 8), arithmetic="itk", itk_threads=threads).corrected
    expected, found = (
        sitk.GetArrayFromImage(sitk.Clamp(one, sitk.sitkUInt8, 0, 255)) for one in (theirs, ours)
    )
    check_bits(found, expected, "8-bit image")
