"""Parameters for the tests of the transforms, and the result that n4ax gives without them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import n4ax

Array = npt.NDArray[Any]
HEAD = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
QUICK: dict[str, Any] = {"iters": (3, 2), "conv_threshold": 0.0}
AFFINE = np.array([[-2.0, 0, 0, 40], [0, 0, 1.5, -30], [0, 2.5, 0, 10], [0, 0, 0, 1]])
"""An affine that swaps y and z."""
SPACING = (2.0, 2.5, 1.5)
"""The voxel size of that affine, in mm."""


def correct(image: Any, mask: Any = None, **keywords: Any) -> Any:
    """Correct an array with x first by ``n4ax.n4``."""
    return n4ax.n4(image, mask, **{"voxel_order": "F", **QUICK, **keywords})
