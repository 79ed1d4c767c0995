"""The parameter sets of real pipelines, as options of ANTs, and the images that they run on."""

from pathlib import Path

import nibabel as nib
import numpy as np

import n4ax

CASES = {
    "C1 niPreps anat, initial": "-s 4 -c [50x50x50x50,1e-7] -b [200] TRUNCATED",
    "C2 niPreps anat, final": "-s 4 -c [50x50x50x50x50,1e-7] -b [200] -r -w WEIGHTS",
    "C3 BOLD reference": "-b [200] -x MASK -r",
    "C4 EPI reference": "-s 4 -c [50x50x50x50x50,1e-7] TRUNCATED",
    "C5 all defaults": "",
    "C6 antsBrainExtraction": "-s 4 -c [50x50x50x50,1e-7] -b [1x1x1,3] TRUNCATED",
    "C7 antsCorticalThickness": "-x MASK -s 4 -c [50x50x50x50,1e-7] -b [200]",
    "C7 AtroposN4": "-x MASK -s 2 -c [50x50x50x50,1e-10] -b [200] -w WEIGHTS",
    "C8 dwibiascorrect": "-w MASK -s 4 -b [100,3] -c [1000,0.0]",
    "C8 QSIPrep": "-w MASK -s 4 -b [150,3] -c [200x200,1e-6]",
    "C8 TractoFlow": "-w MASK -c [300x150x75x50,1e-6]",
    "C9 FastSurfer": "-x MASK -r 0 -c [50x50x50x50,0]",
    "C10 SimpleITK's example": "-x MASK -r 0 -s 4 -c [50x50x50x50,0.001]",
    "C11 template building": "-b [200] -s 2 -c [50x50x40x30,1e-8] -r 0",
    "C11 nipype's example": "-b [ 300 ] -s 3 -c [ 50x50x30x20, 1e-06 ]",
    "C12 CoBrALab": "-s 4 -w WEIGHTS -x MASK -b [200] -c [300x300x300x300,1e-4]",
    "C12 nf-neuro": "-c [1000x850x100,1e-6] -b [128,3] -s 4",
    "C13 Slicer": "-x MASK -r 0 -s 4 -c [50x40x30,1e-4]",
    "C13 c3d": "-x MASK -r 0 -s 4 -c [100x50x50,1e-3] -b [100]",
    "C14 Clinica": "-b [600]",
}
"""The options by the name of the pipeline. Words in capitals are images of :func:`write_images`."""


def write_images(folder: Path) -> None:
    """Write the packaged head, the head truncated as in pipelines, its Otsu mask, and weights."""
    scan = nib.load(Path(n4ax.__file__).parent / "data" / "head.nii.gz")
    image = np.asarray(scan.dataobj, np.float32)
    mask = n4ax.otsu_mask(image)
    images = {
        "IMAGE": image,
        "TRUNCATED": np.clip(image, *np.quantile(image, (0.01, 0.999))),
        "MASK": mask,
        "WEIGHTS": mask * np.clip(image / np.quantile(image, 0.99), 0, 1),
    }
    for name, voxels in images.items():
        nib.save(nib.Nifti1Image(voxels.astype(np.float32), scan.affine), folder / f"{name}.nii")


def make_words(name: str, folder: Path) -> list[str]:
    """The command line of a pipeline, without the option for the output."""
    given = CASES[name].split()
    image = "TRUNCATED" if "TRUNCATED" in given else "IMAGE"
    words = ["-d", "3", "-i", image, *(word for word in given if word != "TRUNCATED")]
    return [str(folder / f"{word}.nii") if word.isupper() else word for word in words]
