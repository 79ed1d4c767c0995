"""Make the packaged demo head from the full scan: every second voxel, the face blanked.

Usage: python scripts/make_demo_volume.py t1w_head_memprage_3t_fnndsc_adi.nii.gz

src/n4ax/data/README.md names the source of the full scan.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from n4ax.images.nifti import write_image

TARGET = Path(__file__).parents[1] / "src" / "n4ax" / "data" / "head.nii.gz"


def main(path: str) -> None:
    scan = nib.load(path)
    voxels = np.asarray(scan.dataobj)[::2, ::2, ::2].copy()
    affine = scan.affine @ np.diag([2, 2, 2, 1])
    # The axes are posterior, inferior and right. The face lies in front of and below a line from
    # the brow to the neck.
    posterior, inferior, _ = np.indices(voxels.shape)
    voxels[(inferior > 52 + 0.35 * posterior) & (posterior < 58)] = 0
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"n4ax demo: every 2nd voxel, face blanked"
    write_image(image, TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB, {voxels.shape}")


if __name__ == "__main__":
    main(sys.argv[1])
