"""Files of NIfTI and Analyze: valid ones against nibabel and ITK, and headers that lie."""

from pathlib import Path
from random import Random

from reliability.fuzz.damage import damage, splice
from reliability.fuzz.nifti_files import Draft, change_header, change_sizes, draft_nifti
from reliability.fuzz.others_read import check_others
from reliability.fuzz.reading import read

SHARE = 2.0
SECONDS = 20.0


def try_input(random: Random, folder: Path) -> str:
    """Read a file; a valid one is read as nibabel and ITK read it."""
    draft = draft_nifti(random)
    choice = random.random()
    if choice < 0.2:
        path = write(folder, draft, *draft.join())
        text = read(path)
        if random.random() < 0.25:
            check_others(path, text)
        return text
    if choice < 0.7:
        change_header(random, draft.header)
    elif choice < 0.8:
        change_sizes(random, draft)
    header, voxels = draft.join()
    if choice >= 0.8:
        header = damage(random, header)
    elif choice >= 0.78:
        header = splice(random, header, draft_nifti(random).join()[0])
    if voxels and random.random() < 0.1:
        voxels = damage(random, voxels)
    return read(write(folder, draft, header, voxels))


def write(folder: Path, draft: Draft, header: bytes, voxels: bytes) -> Path:
    """Write one file or a pair; return the path that names the image."""
    if draft.single:
        path = folder / "a.nii"
        path.write_bytes(header)
        return path
    path = folder / "a.hdr"
    path.write_bytes(header)
    (folder / "a.img").write_bytes(voxels)
    return path
