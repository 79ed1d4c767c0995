"""A study of many scans, with all that goes wrong in studies: crops of real heads under known
fields, three broken images, one that was normalised by the scanner, and one with a wrong mask."""

import gzip
import json
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from n4ax import otsu_mask
from tests.support.studies import HEAD

HEADS = {
    "T1w": ("t1w_head_memprage_3t_fnndsc_adi", "t1w_head_studyforrest_0p7mm"),
    "FLAIR": ("flair_head_ms_3mm", "flair_head_tcga_thick5p5mm_oblique"),
}
MASKS = "derivatives/masks/{folder}/{stem}_mask.nii.gz"


class ManyScans(NamedTuple):
    """What is special in the study, by paths of its images."""

    folder: Path
    broken: tuple[str, ...]
    normalised: str
    wrong_mask: str
    images: tuple[str, ...]


def make_many_scans(folder: Path, shared: Path | None, scans: int, voxels: int) -> ManyScans:
    """Write a dataset with two sessions of a T1w and a FLAIR for each participant.

    Parameters
    ----------
    folder
        The dataset.
    shared
        The folder of the large volumes; without it, all images are of the packaged head.
    scans
        The number of images, a multiple of 4 and at least 12.
    voxels
        The images have at most this many voxels along an axis.
    """
    folder.mkdir(parents=True)
    description = {"Name": "Many scans", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(description))
    (folder / "README").write_text("Crops of real heads under known fields.\n")
    heads = {
        suffix: [_load(HEAD if shared is None else shared / "data" / f"{name}.nii.gz")
                 for name in names]
        for suffix, names in HEADS.items()
    }  # fmt: skip
    made = []
    for number in range(scans):
        suffix = ("T1w", "FLAIR")[number % 2]
        label, session = f"sub-{1 + number // 4:03d}", f"ses-{1 + number // 2 % 2}"
        name = f"{label}/{session}/anat/{label}_{session}_{suffix}.nii.gz"
        _write(folder, name, _vary(heads[suffix][number // 4 % 2], number, voxels))
        made.append(name)
    broken = made[5], made[6], made[-2]
    (folder / broken[0]).write_bytes((folder / broken[0]).read_bytes()[:3000])
    (folder / broken[1]).write_text("This is no image.")
    zeros = nib.load(folder / broken[2])
    _write(folder, broken[2], nib.Nifti1Image(np.zeros(zeros.shape, np.int16), zeros.affine))
    sidecar = (folder / made[8]).with_name(Path(made[8]).name.replace(".nii.gz", ".json"))
    sidecar.write_text('{"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]}')
    wrong = find_mask(folder, made[9])
    nib.save(nib.load(wrong).slicer[:-3], wrong)
    return ManyScans(folder, broken, made[8], made[9], tuple(made))


def find_mask(folder: Path, name: str) -> Path:
    """The mask of an image of the study."""
    mask = name.replace(".nii.gz", "_mask.nii.gz")
    return folder / "derivatives" / "masks" / mask


def _load(path: Path) -> nib.Nifti1Image:
    scan = nib.load(path)
    return nib.Nifti1Image(scan.get_fdata(dtype=np.float32), scan.affine)


def _vary(image: nib.Nifti1Image, number: int, most: int) -> nib.Nifti1Image:
    """Another crop of a head, mirrored, scaled and shaded differently for each number."""
    random = np.random.default_rng(number)
    size = [min(n, int(most * random.uniform(0.85, 1))) for n in image.shape]
    starts = [(n - s) // 2 for n, s in zip(image.shape, size, strict=True)]
    crop = image.slicer[tuple(slice(a, a + s) for a, s in zip(starts, size, strict=True))]
    voxels = np.asarray(crop.dataobj)
    if number % 3 == 0:
        voxels = voxels[::-1]
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in voxels.shape), indexing="ij")
    slopes, bend = random.normal(0, 0.12, 3), random.normal(0, 0.08)
    field = np.exp(sum(k * a for k, a in zip(slopes, axes, strict=True)) + bend * axes[0] * axes[1])
    shaded = voxels * field * random.uniform(0.5, 2)
    return nib.Nifti1Image(shaded.astype(np.float32), crop.affine)


def _write(folder: Path, name: str, image: nib.Nifti1Image) -> None:
    image.header.set_xyzt_units("mm")
    path, mask = folder / name, find_mask(folder, name)
    for place in (path, mask):
        place.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), 1, mtime=0))
    voxels = np.asarray(image.dataobj)
    if voxels.any():
        inside = otsu_mask(voxels).astype(np.uint8)
        mask.write_bytes(gzip.compress(nib.Nifti1Image(inside, image.affine).to_bytes(), 1))
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"MagneticFieldStrength": 3}')
