"""The programs that are compared, and one run of each."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

import n4ax
from reliability.stability.scans import Scan

ITERS = (50, 50, 50, 50)

RULES = {"threshold 0.001": 0.001, "threshold 0": 0.0}
"""When a level ends: SimpleITK's default, and that of ANTs, where all iterations are done."""

ITK_1, ITK_64, OURS, FAST = "ITK, 1 thread", "ITK, 64 threads", "n4ax", "n4ax fast"

KEYWORDS: dict[str, dict[str, Any]] = {
    ITK_1: {"arithmetic": "itk", "itk_threads": 1},
    ITK_64: {"arithmetic": "itk", "itk_threads": 64},
    OURS: {},
    FAST: {"accelerate": True},
}
"""ITK's answers are had by its arithmetic, in a fraction of the time. SimpleITK itself is run on
some of the inputs, and must have the same bits."""

THREADS = {ITK_1: 1, ITK_64: 64}


def list_programs(rule: str) -> list[str]:
    """The programs that can work with a rule: the fast one does all iterations."""
    return [name for name in KEYWORDS if name != FAST or RULES[rule] == 0]


class Outcome(NamedTuple):
    """What is kept of a run: two values of each kept voxel, and the iterations of each level."""

    log_bias: npt.NDArray[np.float32]
    corrected: npt.NDArray[np.float32]
    iterations: list[int]


def run_ours(
    scan: Scan,
    image: npt.NDArray[np.float32],
    program: str,
    rule: str,
    num_threads: int | None = None,
) -> Outcome:
    """Correct an image of the scan's shape by n4ax, with ITK's arithmetic or its own."""
    found = n4ax.fit(
        image,
        scan.mask,
        spacing=scan.spacing,
        engine="cpu",
        num_threads=num_threads,
        iters=ITERS,
        conv_threshold=RULES[rule],
        shrink_factor=scan.shrink,
        **KEYWORDS[program],
    )
    return keep(scan, found.log_bias, found.corrected, found.iterations)


def run_simpleitk(scan: Scan, image: npt.NDArray[np.float32], program: str, rule: str) -> Outcome:
    """Correct the same image by SimpleITK as its users do."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS[program])
    given, inside = sitk.GetImageFromArray(image), sitk.GetImageFromArray(scan.mask)
    for one in (given, inside):
        one.SetSpacing(scan.spacing[::-1])
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(ITERS)
    corrector.SetConvergenceThreshold(RULES[rule])
    done = [0] * len(ITERS)

    def count() -> None:
        done[corrector.GetCurrentLevel()] += 1

    corrector.AddCommand(sitk.sitkIterationEvent, count)
    if scan.shrink == 1:
        corrected = corrector.Execute(given, inside)
        field = corrector.GetLogBiasFieldAsImage(given)
    else:
        factors = [scan.shrink] * image.ndim
        corrector.Execute(sitk.Shrink(given, factors), sitk.Shrink(inside, factors))
        field = corrector.GetLogBiasFieldAsImage(given)
        corrected = given / sitk.Exp(field)
    log_bias, divided = (sitk.GetArrayFromImage(one) for one in (field, corrected))
    return keep(scan, log_bias, divided, done)


def keep(
    scan: Scan, log_bias: npt.NDArray[Any], corrected: npt.NDArray[Any], iterations: list[int]
) -> Outcome:
    """Keep what is looked at of a result."""
    field, image = (np.asarray(one).ravel()[scan.kept] for one in (log_bias, corrected))
    return Outcome(field, image, [int(number) for number in iterations])
