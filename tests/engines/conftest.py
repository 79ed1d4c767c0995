"""What several tests of the engines share: the packaged head, and a small part of it."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax

Array = npt.NDArray[Any]
HEAD = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
FEW: dict[str, Any] = {"iters": (3, 3), "engine": "xla", "return_bias": True}
"""Arguments for a few iterations with the XLA engine."""


@pytest.fixture(scope="module")
def head() -> Array:
    return np.asarray(nib.load(HEAD).dataobj, np.float32)


@pytest.fixture(scope="module")
def small(head: Array) -> tuple[Array, Array]:
    """Every third voxel of the head, and its mask, which fills a third of its box: it is packed."""
    taken = np.ascontiguousarray(head[::3, ::3, ::3])
    return taken, n4ax.otsu_mask(taken)
