"""Write the results of ANTs on the packaged head for the pipelines: tests/data/head_ants.npz.

Usage: python -m scripts.make_ants_oracle [--inputs N] [CASE ...]

The file holds the log field and the corrected image on every sixth voxel. It also holds the
largest difference between ANTs and itself over N inputs (6 by default) that are changed by one
float32 ulp. Where that was not measured it is 0, and the fixed bounds of the tests hold. All cases
take half an hour.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from benchmarks.volumes import move_by_one_ulp
from tests.support import ants
from tests.support.pipelines import CASES, make_words, write_images

TARGET = Path(__file__).parents[1] / "tests" / "data" / "head_ants.npz"
EVERY = (slice(None, None, 6),) * 3


def main(names: list[str], inputs: int) -> None:
    kept: dict[str, Any] = {}
    noise: dict[str, float] = {}
    if TARGET.exists():
        kept = dict(np.load(TARGET))
        noise = json.loads(str(kept.pop("noise")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder)
        for case in names or CASES:
            words = make_words(case, folder)
            log_bias, corrected = run_ants(words, folder)
            others = [run_ants(change_image(words, folder, k), folder) for k in range(inputs)]
            measured = [float(np.abs(other[0] - log_bias).max()) for other in others]
            noise[case] = max(measured, default=noise.get(case, 0.0))
            kept[f"{case} log_bias"], kept[f"{case} corrected"] = log_bias, corrected
            print(case, noise[case], flush=True)
            np.savez_compressed(TARGET, noise=json.dumps(noise), **kept)


def run_ants(
    words: list[str], folder: Path
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Run ANTs; return the log field and the corrected image on the kept voxels."""
    corrected, bias = folder / "corrected.nii", folder / "bias.nii"
    ants.run(*words, "-o", f"[{corrected},{bias}]")
    # The arrays are copied, because the files behind them are overwritten by the next run.
    field, image = (
        np.array(nib.load(path).get_fdata(dtype=np.float32)[EVERY]) for path in (bias, corrected)
    )
    return np.log(field), image


def change_image(words: list[str], folder: Path, seed: int) -> list[str]:
    """The words of a command on the same image, changed by one ulp."""
    at = words.index("-i") + 1
    scan = nib.load(words[at])
    voxels = move_by_one_ulp(np.asarray(scan.dataobj, np.float32), seed)
    nib.save(nib.Nifti1Image(voxels, scan.affine), folder / "changed.nii")
    return [*words[:at], str(folder / "changed.nii"), *words[at + 1 :]]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    count = 6
    if "--inputs" in arguments:
        at = arguments.index("--inputs")
        count = int(arguments[at + 1])
        del arguments[at : at + 2]
    main(arguments, count)
