"""A drop-in replacement for the N4 of SimpleITK.

Add ``from n4ax import simpleitk as sitk_n4`` to a script that uses SimpleITK, and take
``N4BiasFieldCorrectionImageFilter`` or ``N4BiasFieldCorrection`` from ``sitk_n4``. Nothing else
changes. This module requires SimpleITK: ``pip install 'n4ax[simpleitk]'``.
"""

from n4ax.extras import need_extra

with need_extra("simpleitk", "n4ax.simpleitk"):
    import SimpleITK as _sitk  # noqa: F401

from n4ax.simpleitk.filter import N4BiasFieldCorrectionImageFilter
from n4ax.simpleitk.function import N4BiasFieldCorrection

__all__ = ["N4BiasFieldCorrection", "N4BiasFieldCorrectionImageFilter"]
