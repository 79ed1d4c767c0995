"""The function ``N4BiasFieldCorrection`` with the signature of SimpleITK's."""

# The names are SimpleITK's.
# ruff: noqa: N802, N803

from inspect import Parameter, Signature
from numbers import Real
from typing import Any

import numpy.typing as npt
import SimpleITK as sitk

from n4ax.settings import Arithmetic, ItkVersion, PerAxis
from n4ax.simpleitk.filter import N4BiasFieldCorrectionImageFilter

_PARAMETERS = (
    "maskImage",
    "convergenceThreshold",
    "maximumNumberOfIterations",
    "biasFieldFullWidthAtHalfMaximum",
    "wienerFilterNoise",
    "numberOfHistogramBins",
    "numberOfControlPoints",
    "splineOrder",
    "useMaskLabel",
    "maskLabel",
)
"""The parameters after the image, in SimpleITK's order; all but the mask have a setter."""

_SIGNATURE = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in _PARAMETERS])


def N4BiasFieldCorrection(
    image: sitk.Image,
    *values: Any,
    weights: sitk.Image | npt.NDArray[Any] | None = None,
    shrinkFactor: PerAxis = 1,
    splineDistance: float = 0,
    arithmetic: Arithmetic | None = None,
    itkVersion: ItkVersion | None = None,
    **parameters: Any,
) -> sitk.Image:
    """Correct the bias field of an image, as ``SimpleITK.N4BiasFieldCorrection`` does.

    Call it as ``N4BiasFieldCorrection(image, convergenceThreshold, ...)`` or as
    ``N4BiasFieldCorrection(image, maskImage, convergenceThreshold, ...)``. SimpleITK takes these
    arguments by position only; here they may also be given by name. The defaults are those of
    :class:`N4BiasFieldCorrectionImageFilter`.

    Parameters
    ----------
    image : SimpleITK.Image
        The image to correct, with one real number per voxel, of any pixel type.
    maskImage : SimpleITK.Image or array, optional
        The voxels to use; all voxels by default.
    convergenceThreshold, biasFieldFullWidthAtHalfMaximum, wienerFilterNoise : float
    maximumNumberOfIterations, numberOfControlPoints : sequence of int
    numberOfHistogramBins, splineOrder, maskLabel : int
    useMaskLabel : bool
        These take the same values as the filter's setters of the same names. By position, they
        follow SimpleITK's order.
    weights : SimpleITK.Image or array, optional
        The confidence in each voxel, used when the field is fitted. This parameter and the next
        four are given by name.
    shrinkFactor : int or sequence of int
        Estimate the field on every n-th voxel.
    splineDistance : float
        The length of a mesh element at the first level, in mm.
    arithmetic : "limit" or "itk", optional
    itkVersion : 5 or 6, optional
        These take the same values as the filter's setters of the same names. By default, the
        variables ``N4AX_ARITHMETIC`` and ``N4AX_ITK_VERSION`` decide, as for the filter.

    Returns
    -------
    SimpleITK.Image
        The corrected image: float64 for a float64 image, float32 for any other.

    Raises
    ------
    TypeError, RuntimeError, ValueError
        As for :class:`N4BiasFieldCorrectionImageFilter`.

    Examples
    --------
    >>> import SimpleITK as sitk
    >>> from n4ax import simpleitk as sitk_n4
    >>> image = sitk.ReadImage("head.nii.gz", sitk.sitkFloat32)
    >>> corrected = sitk_n4.N4BiasFieldCorrection(image, shrinkFactor=4)
    """
    if values and isinstance(values[0], Real):  # the call without a mask
        values = (None, *values)
    given = _SIGNATURE.bind_partial(*values, **parameters).arguments
    mask = given.pop("maskImage", None)
    n4 = N4BiasFieldCorrectionImageFilter()
    n4.SetShrinkFactor(shrinkFactor)
    n4.SetSplineDistance(splineDistance)
    named = {"arithmetic": arithmetic, "itkVersion": itkVersion}
    given.update({name: value for name, value in named.items() if value is not None})
    for name, value in given.items():
        getattr(n4, f"Set{name[0].upper()}{name[1:]}")(value)
    return n4.Execute(image, mask, weights=weights)
