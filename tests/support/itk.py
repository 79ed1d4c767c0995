"""SimpleITK's N4, whose results the tests take for the truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

THREADS = 64
"""ITK sums into one lattice for each thread, then adds the lattices, all in float32. With many
threads the result comes near the true sums."""


@dataclass(frozen=True)
class ItkResult:
    """SimpleITK's log field on the grid of the image, its corrected image, and the convergence
    measures of each level."""

    log_bias: npt.NDArray[np.float32]
    corrected: npt.NDArray[Any]
    convergence: list[list[float]]

    @property
    def iterations(self) -> list[int]:
        return [len(level) for level in self.convergence]


def correct(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any] | None,
    *,
    iters: tuple[int, ...] = (50, 50, 50, 50),
    conv_threshold: float = 0.001,
    nbins: int = 200,
    fwhm: float = 0.15,
    wiener: float = 0.01,
    control_points: tuple[int, ...] | None = None,
    spline_order: int = 3,
    mask_label: int | None = None,
    threads: int = THREADS,
) -> ItkResult:
    """Run SimpleITK on an array whose last axis is ITK's x, with the keywords of n4ax."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    given = sitk.GetImageFromArray(np.ascontiguousarray(image))
    if image.dtype not in (np.float32, np.float64):
        given = sitk.Cast(given, sitk.sitkFloat32)
    itk = sitk.N4BiasFieldCorrectionImageFilter()
    itk.SetNumberOfThreads(threads)
    itk.SetMaximumNumberOfIterations(list(iters))
    itk.SetConvergenceThreshold(conv_threshold)
    itk.SetNumberOfHistogramBins(nbins)
    itk.SetBiasFieldFullWidthAtHalfMaximum(fwhm)
    itk.SetWienerFilterNoise(wiener)
    itk.SetSplineOrder(spline_order)
    if control_points is not None:
        itk.SetNumberOfControlPoints([int(n) for n in reversed(control_points)])
    itk.SetUseMaskLabel(mask_label is not None)
    if mask_label is not None:
        itk.SetMaskLabel(mask_label)
    levels: list[list[float]] = [[] for _ in iters]
    itk.AddCommand(
        sitk.sitkIterationEvent,
        lambda: levels[itk.GetCurrentLevel()].append(itk.GetCurrentConvergenceMeasurement()),
    )
    if mask is None:
        corrected = itk.Execute(given)
    else:
        region = sitk.GetImageFromArray(np.ascontiguousarray(mask, np.uint8))
        corrected = itk.Execute(given, region)
    field = itk.GetLogBiasFieldAsImage(given)
    return ItkResult(sitk.GetArrayFromImage(field), sitk.GetArrayFromImage(corrected), levels)
