"""Write SimpleITK's results on the packaged head, for the tests: tests/data/head_sitk.npz.

Usage: python -m scripts.make_head_oracle
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from n4ax.images.otsu import otsu_mask
from tests.support import itk

ROOT = Path(__file__).parents[1]
CASES = {
    "default": {},
    "one_level": {"iters": (10,), "conv_threshold": 0.0},
    "shrunk_mesh": {"iters": (20, 20), "conv_threshold": 0.0, "control_points": (5, 4, 6)},
}


def main() -> None:
    scan = nib.load(ROOT / "src" / "n4ax" / "data" / "head.nii.gz")
    image = np.asarray(scan.dataobj, np.float32).T  # SimpleITK's x is nibabel's first axis
    content: dict[str, object] = {}
    for name, settings in CASES.items():
        step = 2 if name == "shrunk_mesh" else 1
        taken = tuple(slice(None, None, step) for _ in range(3))
        found = itk.correct(image[taken], otsu_mask(image)[taken], **settings)
        content[f"{name}_log_bias"] = found.log_bias[::4, ::4, ::4].astype(np.float32)
        content[f"{name}_convergence"] = json.dumps(found.convergence)
    content["made_with"] = f"SimpleITK {sitk.Version.VersionString()}, {itk.THREADS} threads"
    np.savez_compressed(ROOT / "tests" / "data" / "head_sitk.npz", **content)


if __name__ == "__main__":
    main()
