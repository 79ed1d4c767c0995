"""Every parameter of N4, with its unit, its default and its check."""

from n4ax.settings.arithmetic import Arithmetic, ItkTool, ItkVersion
from n4ax.settings.checks import (
    LARGEST,
    LEAST,
    check_flag,
    check_whole_number,
    is_choice,
    is_whole_number,
    read_number,
    read_numbers,
)
from n4ax.settings.keywords import (
    Convergence,
    EngineName,
    N4Keywords,
    Nonfinite,
    NonPositive,
    Outside,
    PerAxis,
    Preset,
    Scale,
    VoxelOrder,
)
from n4ax.settings.parameters import CHOSEN, N4Settings

__all__ = [
    "CHOSEN",
    "LARGEST",
    "LEAST",
    "Arithmetic",
    "Convergence",
    "EngineName",
    "ItkTool",
    "ItkVersion",
    "N4Keywords",
    "N4Settings",
    "NonPositive",
    "Nonfinite",
    "Outside",
    "PerAxis",
    "Preset",
    "Scale",
    "VoxelOrder",
    "check_flag",
    "check_whole_number",
    "is_choice",
    "is_whole_number",
    "read_number",
    "read_numbers",
]
