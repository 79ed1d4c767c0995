"""Write SimpleITK's results on the phantom of benchmarks/gpu.py: benchmarks/data/phantom.npz.

Usage: python -m scripts.make_phantom_oracle    (takes 20 minutes on two cores)
"""

import numpy as np
import SimpleITK as sitk

from benchmarks.gpu import ANSWERS, EVERY, FULL, ORACLE, SMALL, phantom
from tests.support import itk


def main() -> None:
    content: dict[str, object] = {}
    for size, shape in {"small": SMALL, "full": FULL}.items():
        image, mask = phantom(shape)
        for case, settings in ORACLE.items():
            found = itk.correct(image, mask, **settings)
            content[f"{size}_{case}"] = found.log_bias[::EVERY, ::EVERY, ::EVERY].astype(np.float32)
            print(size, case, [len(level) for level in found.convergence], flush=True)
    content["made_with"] = f"SimpleITK {sitk.Version.VersionString()}, {itk.THREADS} threads"
    ANSWERS.parent.mkdir(exist_ok=True)
    np.savez_compressed(ANSWERS, **content)


if __name__ == "__main__":
    main()
