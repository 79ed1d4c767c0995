"""Small BIDS datasets of real volumes, cropped, flipped and scaled."""

import gzip
import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import nibabel as nib
import numpy as np

HEAD = Path(__file__).parents[2] / "src" / "n4ax" / "data" / "head.nii.gz"
FULL = (
    ("T1w", "t1w_head_memprage_3t_fnndsc_adi"),
    ("T1w", "t1w_head_studyforrest_0p7mm"),
    ("FLAIR", "flair_head_ms_3mm"),
    ("PDw", "pelvis_pd_3t_surfacecoil_prostatex"),
    ("inplaneT2", "abdomen_mr_3mm_negative_totalseg"),
    ("T2w", "t1gd_brain_skullstripped_uint8_sclslope"),
    ("T2w", "mouse_anat_small_sammba"),
    ("FLAIR", "flair_head_tcga_thick5p5mm_oblique"),
)
EPI = "epi_7t_layerfmri_oblique_sclslope"
_FOLDERS = {"sbref": "func", "bold": "func", "dwi": "dwi"}
_LARGEST = 72  # voxels along an axis


def make_study(folder: Path, shared: Path | None, participants: int = 6) -> tuple[Path, Path]:
    """Write a dataset with 4 images for each participant. Two of the images are broken.

    Without the folder of the large volumes, all images are made of the packaged head.

    Returns
    -------
    tuple of Path
        The truncated image, and the image that is all zeros.
    """
    folder.mkdir(parents=True)
    description = {"Name": "A study", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(description))
    (folder / "README").write_text("Crops of real volumes.\n")
    (folder / "task-rest_bold.json").write_text('{"RepetitionTime": 2.0, "TaskName": "rest"}')
    (folder / "task-rest_sbref.json").write_text('{"RepetitionTime": 2.0, "TaskName": "rest"}')
    (folder / "dwi.bval").write_text("0 1000 5 1000\n")
    (folder / "dwi.bvec").write_text("0 1 0 0\n0 0 0 1\n0 0 0 0\n")
    volumes = _cycle_volumes(shared)
    made = []
    for person in range(1, participants + 1):
        for number in range(4):
            suffix, image = next(volumes)
            session = f"ses-{1 + number % 2}"
            varied = _vary(image, person, number)
            made.append(_write_image(folder, person, session, number + 1, suffix, varied))
    truncated, zeros = made[5], made[-2]
    truncated.write_bytes(truncated.read_bytes()[:3000])
    scan = nib.load(zeros)
    nib.save(nib.Nifti1Image(np.zeros(scan.shape, np.int16), scan.affine), zeros)
    return truncated, zeros


def _cycle_volumes(shared: Path | None) -> Iterator[tuple[str, nib.Nifti1Image]]:
    """Kinds of image with crops, for ever: 3-D images, a reference, a series, diffusion images."""
    if shared is None:
        heads = [(kind, HEAD) for kind, _ in FULL]
        epi = HEAD
    else:
        heads = [(kind, shared / "data" / f"{name}.nii.gz") for kind, name in FULL]
        epi = shared / "data" / f"{EPI}.nii.gz"
    crops = [(kind, _crop(nib.load(path))) for kind, path in heads]
    echo = _crop(nib.load(epi))
    series = [_make_series(echo, scales) for scales in ((1, 1.1, 0.9), (1, 0.4, 1.05, 0.5))]
    kinds = [("sbref", echo), ("bold", series[0]), ("dwi", series[1])]
    return cycle(crops + kinds)


def _crop(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """The middle of an image."""
    cuts = [slice((n - min(n, _LARGEST)) // 2, (n + min(n, _LARGEST)) // 2) for n in image.shape]
    return image.slicer[tuple(cuts)]


def _make_series(image: nib.Nifti1Image, scales: tuple[float, ...]) -> nib.Nifti1Image:
    voxels = image.get_fdata(dtype=np.float32)
    return nib.Nifti1Image(np.stack([voxels * s for s in scales], axis=-1), image.affine)


def _vary(image: nib.Nifti1Image, person: int, number: int) -> nib.Nifti1Image:
    """Flip and scale an image, differently for each person."""
    voxels = np.flip(image.get_fdata(dtype=np.float32), axis=(person + number) % 3)
    return nib.Nifti1Image(voxels * (1 + 0.1 * person), image.affine)


def _write_image(
    folder: Path, number: int, session: str, run: int, suffix: str, image: nib.Nifti1Image
) -> Path:
    person = f"sub-{number:02d}"
    kind = _FOLDERS.get(suffix, "anat")
    task = "task-rest_" if kind == "func" else ""
    path = folder / person / session / kind / f"{person}_{session}_{task}run-{run}_{suffix}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.header.set_xyzt_units("mm", "sec" if image.ndim == 4 else None)
    if image.ndim == 4:
        image.header["pixdim"][4] = 2.0
    path.write_bytes(gzip.compress(image.to_bytes(), 1, mtime=0))
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"MagneticFieldStrength": 3}')
    return path
