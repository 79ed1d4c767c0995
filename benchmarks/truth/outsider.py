"""Corrections that are not N4: ``python outsider.py TOOL FOLDER``, in the environment of the tool.

Every ``.npz`` file in the folder has ``image`` and ``mask`` (x, y, z) and ``affine``. The log field
is written beside it as ``.npy``; where the tool says nothing it is NaN. The script needs NumPy and
the tool, and nibabel for niimath.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def main(tool: str, folder: Path) -> None:
    correct = {"DIPY": correct_by_dipy, "niimath": correct_by_niimath}[tool]
    for path in sorted(folder.glob("*.npz")):
        given = np.load(path)
        np.save(path.with_suffix(".npy"), correct(given["image"], given["mask"], given["affine"]))


def correct_by_dipy(image: Any, mask: Any, affine: Any) -> Any:
    """DIPY's regression by B-splines, which is meant for diffusion images, with its defaults."""
    from dipy.core.gradients import gradient_table
    from dipy.denoise.bias_correction import bias_field_correction

    del affine
    unweighted = gradient_table(np.zeros(1), bvecs=np.zeros((1, 3)))
    _, field = bias_field_correction(
        image[..., None], unweighted, mask=mask, method="bspline", return_bias_field=True
    )
    return np.log(field)


def correct_by_niimath(image: Any, mask: Any, affine: Any) -> Any:
    """AFNI's 3dUnifize as niimath has it, on the image outside of whose mask all is 0."""
    import nibabel as nib

    program = Path(sys.executable).with_name("niimath")
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder, "given.nii"), Path(folder, "unifized.nii")
        nib.Nifti1Image(image * mask, affine).to_filename(given)
        words = [program, given, "-unifize", output, "-odt", "float"]
        environment = {"FSLOUTPUTTYPE": "NIFTI"}
        subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
        after = np.asarray(nib.load(output).dataobj, float)
    known = mask & (image > 0) & (after > 0)
    log_field = np.full(image.shape, np.nan)
    log_field[known] = np.log(image[known] / after[known])
    return log_field


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
