"""Files that are written: read back bit by bit, the same bytes again, and as nibabel reads them."""

from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib

from n4ax.images import nifti, plain
from n4ax.images.gzip import read_file
from n4ax.images.names import find_files
from reliability.fuzz.nifti_files import draft_nifti
from reliability.fuzz.reading import describe

SHARE = 0.5
SECONDS = 20.0

SUFFIXES = (
    ".nii.gz", ".nii.gz", ".nii.gz", ".nii", ".hdr", ".nii.zst", ".mgz", ".mgh", ".nrrd", ".mha",
    ".mhd", ".nhdr",
)  # fmt: skip


def try_input(random: Random, folder: Path) -> str:
    """Read a valid file, write it in another format, twice, and read that."""
    draft = draft_nifti(random, single=True)
    source = folder / "a.nii"
    source.write_bytes(draft.join()[0])
    image = nifti.read_image(source)
    voxels = nifti.read_voxels(image, source)
    voxels = _stretch(random, voxels)
    made = nifti.replace_voxels(image, voxels.reshape(image.shape))
    suffix = random.choice(SUFFIXES)
    paths = [folder / name / f"b{suffix}" for name in ("one", "two")]
    contents = [_write(random, made, path) for path in paths]
    assert contents[0] == contents[1], f"other bytes of {suffix}"
    again = nifti.read_image(paths[0])
    read = nifti.read_voxels(again, paths[0])
    assert np.array_equal(read.ravel("F"), voxels.ravel("F")), suffix
    if suffix in (".nii.gz", ".nii"):
        _check_others(source, paths[0], image, voxels)
    return describe(read) + str(len(b"".join(contents[0])))


def _stretch(random: Random, voxels: Any) -> Any:
    """Voxels with long repetitions, as backgrounds have, now and then."""
    choice = random.random()
    if choice < 0.2:
        return np.full_like(voxels, random.choice((0.0, 1.0, 3.5)))
    if choice < 0.4:
        return np.where(voxels > np.median(voxels), voxels, 0)
    return voxels


def _write(random: Random, image: Any, path: Path) -> list[bytes]:
    """Write an image in one or several threads, with other memory in use; return the files."""
    held = [isal_zlib.compressobj(1) for _ in range(random.randrange(3))]
    path.parent.mkdir()
    nifti.write_image(image, path, random.choice((1, 2, 4)))
    held.clear()
    return [file.read_bytes() for file in find_files(path)]


def _check_others(source: Path, path: Path, image: Any, voxels: Any) -> None:
    """Compare with nibabel, and with what the program of ANTs writes for the same voxels."""
    theirs: Any = nib.load(path)
    assert np.array_equal(np.asarray(theirs.dataobj, np.float32), voxels)
    assert np.array_equal(theirs.affine, image.affine)
    found = plain.read_file(source, lambda: read_file(source))
    if found is None:
        return
    own = path.with_name("plain" + "".join(path.suffixes))
    plain.write_file(found.header, voxels, own, 1)
    assert own.read_bytes() == path.read_bytes(), "the two writers differ"
