"""N4 as ANTs has it: its program, and ANTsPy's functions.

``python -m n4ax.ants`` (``n4ax ants``, ``n4ax-N4BiasFieldCorrection``) takes the options of ANTs'
``N4BiasFieldCorrection`` and writes what it writes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n4ax.ants.functions import abp_n4, n4_bias_field_correction

__all__ = ["abp_n4", "n4_bias_field_correction"]


def __getattr__(name: str) -> Any:
    """Load the functions when they are first used: the program does without them."""
    if name not in __all__:
        raise AttributeError(f"module 'n4ax.ants' has no attribute {name!r}")
    value = getattr(import_module("n4ax.ants.functions"), name)
    globals()[name] = value
    return value
