"""The packaged head, and the machines on which the bits of ITK can be had."""

import platform
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax


@pytest.fixture(autouse=True)
def needs_the_machine_of_the_wheels() -> None:
    """Skip where ``arithmetic="itk"`` is refused: ITK itself has other bits there."""
    here = (sys.platform, platform.machine(), platform.libc_ver()[0])
    if here != ("linux", "x86_64", "glibc"):
        pytest.skip(f"the bits are those of ITK on x86-64 Linux with the GNU C library, not {here}")


@pytest.fixture(scope="session")
def head() -> npt.NDArray[np.float32]:
    """The packaged head, whose last axis is ITK's x."""
    path = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
    return np.ascontiguousarray(np.asarray(nib.load(path).dataobj, np.float32).T)


@pytest.fixture(scope="session")
def head_mask(head: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The Otsu mask of the packaged head."""
    return n4ax.otsu_mask(head)
