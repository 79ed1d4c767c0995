"""The types of the parameters of N4, and all of them as keywords."""

from collections.abc import Sequence
from typing import Literal, TypedDict

from n4ax.settings.arithmetic import Arithmetic, ItkTool, ItkVersion

PerAxis = int | Sequence[int]
"""One integer for all axes, or one for each axis of the array, in the array's own order."""

Nonfinite = Literal["error", "exclude"]
NonPositive = Literal["itk", "exclude", "offset"]
Scale = Literal["itk", "minmax", "mean", "unit-field"]
Outside = Literal["divide", "keep", "zero"]
VoxelOrder = Literal["C", "F"]
Convergence = Literal["itk", "exact"]
EngineName = Literal["cpu", "xla"]
Preset = Literal["simpleitk", "ants", "antspy", "fast", "auto"]
"""The class method of :class:`n4ax.N4Settings` that makes a set of parameters in common use."""


class N4Keywords(TypedDict, total=False):
    """The keyword arguments that make an :class:`n4ax.N4Settings`; every one may be left out."""

    iters: Sequence[int]
    conv_threshold: float
    convergence: Convergence
    over_relax: float
    accelerate: bool
    adapt: bool
    nbins: int
    fwhm: float
    wiener: float
    tiny: float | None
    spline_order: int
    control_points: PerAxis | None
    mesh: PerAxis | None
    spline_distance: float | None
    shrink_factor: PerAxis
    mask_label: int | None
    nonfinite: Nonfinite
    non_positive: NonPositive
    scale: Scale
    outside: Outside
    voxel_order: VoxelOrder
    arithmetic: Arithmetic
    itk_version: ItkVersion
    itk_threads: int | None
    itk_tool: ItkTool
    itk_work_units: int | None


CHOICES = {
    "convergence": Convergence,
    "nonfinite": Nonfinite,
    "non_positive": NonPositive,
    "scale": Scale,
    "outside": Outside,
    "voxel_order": VoxelOrder,
    "arithmetic": Arithmetic,
    "itk_version": ItkVersion,
    "itk_tool": ItkTool,
}
"""The parameters whose values are a few words."""
