"""N4 as ANTs offers it: its command-line program, and the functions of ANTsPy.

``python -m n4ax.ants`` (also ``n4ax ants`` and ``n4ax-N4BiasFieldCorrection``) takes the options
of ANTs' ``N4BiasFieldCorrection`` and writes the same outputs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n4ax.ants.functions import abp_n4, n4_bias_field_correction

__all__ = ["abp_n4", "n4_bias_field_correction"]


def __getattr__(name: str) -> Any:
    """Load a function when it is first used, because the program does not need it."""
    if name not in __all__:
        raise AttributeError(f"module 'n4ax.ants' has no attribute {name!r}")
    value = getattr(import_module("n4ax.ants.functions"), name)
    globals()[name] = value
    return value
