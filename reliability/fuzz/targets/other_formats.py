"""Files of FreeSurfer, NRRD, MetaImage and MINC."""

from pathlib import Path
from random import Random

import numpy as np

from reliability.fuzz.other_files import SUFFIXES, spoil, write_itk, write_mgh
from reliability.fuzz.reading import is_read, read, read_whole

SHARE = 1.0
SECONDS = 20.0


def try_input(random: Random, folder: Path) -> str:
    """Read a file; a valid one has the voxels that were written."""
    suffix = random.choice(SUFFIXES)
    path = folder / f"a{suffix}"
    voxels = (write_mgh if suffix in (".mgh", ".mgz") else write_itk)(random, path)
    if random.random() < 0.15:
        text = read(path)
        assert is_read(text), text
        own = read_whole(path)[1]
        assert np.array_equal(own, voxels.astype(np.float32)), (own.shape, voxels.shape)
        return text
    spoil(random, path)
    return read(path)
