"""What ANTs answers on the packaged head for the pipelines: writes tests/data/head_ants.npz.

Usage: python -m scripts.make_ants_oracle

Kept are the log field and the corrected image on every sixth voxel, and the largest difference
of ANTs to itself over 6 inputs changed by one float32 ulp. Half an hour.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from tests import ants, itk
from tests.pipelines import CASES, words_of, write_images

TARGET = Path(__file__).parents[1] / "tests" / "data" / "head_ants.npz"
EVERY = (slice(None, None, 6),) * 3


def main() -> None:
    kept: dict[str, Any] = {}
    noise: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder)
        for case in CASES:
            words = words_of(case, folder)
            log_bias, corrected = answer(words, folder)
            others = [answer(changed(words, folder, k), folder) for k in range(6)]
            noise[case] = max(float(np.abs(other[0] - log_bias).max()) for other in others)
            kept[f"{case} log_bias"], kept[f"{case} corrected"] = log_bias, corrected
            print(case, noise[case], flush=True)
            np.savez_compressed(TARGET, noise=json.dumps(noise), **kept)


def answer(
    words: list[str], folder: Path
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Log field and corrected image on the kept voxels."""
    corrected, bias = folder / "corrected.nii", folder / "bias.nii"
    ants.run(*words, "-o", f"[{corrected},{bias}]")
    field = np.asarray(nib.load(bias).dataobj, np.float32)[EVERY]
    return np.log(field), np.asarray(nib.load(corrected).dataobj, np.float32)[EVERY]


def changed(words: list[str], folder: Path, seed: int) -> list[str]:
    """The same on an image changed by one ulp."""
    at = words.index("-i") + 1
    scan = nib.load(words[at])
    voxels = itk.one_ulp_off(np.asarray(scan.dataobj, np.float32), seed)
    nib.save(nib.Nifti1Image(voxels, scan.affine), folder / "changed.nii")
    return [*words[:at], str(folder / "changed.nii"), *words[at + 1 :]]


if __name__ == "__main__":
    main()
