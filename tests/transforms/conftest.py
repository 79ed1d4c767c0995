"""Fixtures for the tests of the transforms of TorchIO and MONAI."""

import nibabel as nib
import numpy as np
import pytest

from tests.support.tensors import HEAD, Array


@pytest.fixture(scope="session")
def head() -> Array:
    """A piece of the packaged head, x first."""
    return np.asarray(nib.load(HEAD).dataobj, np.float32)[28:68, 26:70, 26:62]  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def brain(head: Array) -> Array:
    """A ball in the head, as its mask."""
    axes = (np.linspace(-1, 1, n) for n in head.shape)
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return ((x - 0.2) ** 2 + y**2 + (z + 0.1) ** 2 < 0.6).astype(np.uint8)
