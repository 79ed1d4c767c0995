"""The peers of the benchmarks: where they come from, and how they are called."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
OLD_N4AX = "0.1.1"


def old_n4ax() -> Path:
    """A folder with n4ax 0.1.1 from the package index, apart from this environment's packages."""
    folder = ROOT / ".peers" / f"n4ax-{OLD_N4AX}"
    if not (folder / "n4ax").is_dir():
        # Its metadata asks for Python 3.12; its two files run on 3.11 as well.
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
                   "--disable-pip-version-check", "--ignore-requires-python",
                   "--target", str(folder), f"n4ax=={OLD_N4AX}"]  # fmt: skip
        subprocess.run(command, check=True)
    return folder


def volume(name: str) -> tuple[npt.NDArray[np.float32], tuple[float, ...]]:
    """A volume in nibabel's axis order, singleton axes dropped, and its voxel size in mm."""
    scan = nib.load(DATA / f"{name}.nii.gz")
    image = np.asarray(scan.dataobj, np.float32).squeeze()
    return image, tuple(float(size) for size in scan.header.get_zooms()[: image.ndim])
