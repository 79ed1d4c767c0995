"""SimpleITK's N4, whose results the tests take for the truth."""

from collections.abc import Sequence
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
    control_points: Sequence[int] | None = None,
    **keywords: Any,
) -> ItkResult:
    """Run SimpleITK on an array whose last axis is ITK's x, with the keywords of n4ax.

    Numbers for the axes are in the order of the array; all else is as for :func:`correct_image`.
    """
    given = sitk.GetImageFromArray(np.ascontiguousarray(image))
    if image.dtype not in (np.float32, np.float64):
        given = sitk.Cast(given, sitk.sitkFloat32)
    region = None
    if mask is not None:
        region = sitk.GetImageFromArray(np.ascontiguousarray(mask, np.uint8))
    if control_points is not None:
        keywords["control_points"] = tuple(reversed(control_points))
    return correct_image(given, region, **keywords)


def correct_image(
    image: sitk.Image,
    mask: sitk.Image | None,
    *,
    iters: Sequence[int] = (50, 50, 50, 50),
    conv_threshold: float = 0.001,
    nbins: int = 200,
    fwhm: float = 0.15,
    wiener: float = 0.01,
    control_points: Sequence[int] | None = None,
    spline_order: int = 3,
    mask_label: int | None = None,
    shrink_factor: int | Sequence[int] = 1,
    threads: int = THREADS,
) -> ItkResult:
    """Run SimpleITK on an image, with the keywords of n4ax; numbers for the axes are for x, y, z.

    With a shrink factor it is run as its users do: image and mask go through ``sitk.Shrink``, the
    field is evaluated on the grid of the image, and the image is divided by ``sitk.Exp`` of it.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    itk = sitk.N4BiasFieldCorrectionImageFilter()
    itk.SetNumberOfThreads(threads)
    itk.SetMaximumNumberOfIterations([int(n) for n in iters])
    itk.SetConvergenceThreshold(conv_threshold)
    itk.SetNumberOfHistogramBins(nbins)
    itk.SetBiasFieldFullWidthAtHalfMaximum(fwhm)
    itk.SetWienerFilterNoise(wiener)
    itk.SetSplineOrder(spline_order)
    if control_points is not None:
        itk.SetNumberOfControlPoints([int(n) for n in control_points])
    itk.SetUseMaskLabel(mask_label is not None)
    if mask_label is not None:
        itk.SetMaskLabel(mask_label)
    levels: list[list[float]] = [[] for _ in iters]
    itk.AddCommand(
        sitk.sitkIterationEvent,
        lambda: levels[itk.GetCurrentLevel()].append(itk.GetCurrentConvergenceMeasurement()),
    )
    dimensions = image.GetDimension()
    factors = [int(n) for n in np.broadcast_to(shrink_factor, dimensions)]
    images = [image] if mask is None else [image, mask]
    if max(factors) == 1:
        corrected = itk.Execute(*images)
        field = itk.GetLogBiasFieldAsImage(image)
    else:
        itk.Execute(*(sitk.Shrink(one, factors) for one in images))
        field = itk.GetLogBiasFieldAsImage(image)
        corrected = sitk.Divide(image, sitk.Exp(field))
    return ItkResult(sitk.GetArrayFromImage(field), sitk.GetArrayFromImage(corrected), levels)
