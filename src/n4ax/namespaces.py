"""The functions that belong to an array."""

from typing import Any

import numpy as np


def find_namespace(array: Any) -> Any:
    """Find the module with the functions for an array or number: NumPy's, or that of JAX.

    NumPy's arrays name it themselves since version 2.
    """
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    return array.__array_namespace__()
