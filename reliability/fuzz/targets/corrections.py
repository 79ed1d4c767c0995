"""Whole corrections of files: damaged images, masks, weights and fields, on the command line."""

from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import numpy as np

import n4ax
from n4ax import cli
from reliability.fuzz.calls import call_program
from reliability.fuzz.damage import damage
from reliability.fuzz.nifti_files import change_header, draft_nifti
from reliability.fuzz.reading import REFUSALS, bound_memory, check_message, describe

SHARE = 1.5
SECONDS = 40.0

_TINY = ("--iters", "2", "--shrink-factor", "1", "--threads", "1")
_WORDS = ("--mask", "--weights", "--init", "--tissues")


def try_input(random: Random, folder: Path) -> str:
    """Correct a file with another file beside it, of which one may be damaged."""
    draft = draft_nifti(random, single=True)
    draft.voxels += draft.voxels.dtype.type(1)
    other = deepcopy(draft) if random.random() < 0.7 else draft_nifti(random, single=True)
    chosen = random.choice((draft, other))
    if random.random() < 0.4:
        change_header(random, chosen.header)
    contents = [draft.join()[0], other.join()[0]]
    if random.random() < 0.2:
        at = random.randrange(2)
        contents[at] = damage(random, contents[at])
    for name, content in zip(("a.nii", "b.nii"), contents, strict=True):
        (folder / name).write_bytes(content)
    with bound_memory():
        if random.random() < 0.5:
            return correct_in_python(random, folder)
        return correct_by_command(random, folder)


def correct_in_python(random: Random, folder: Path) -> str:
    """Correct by :func:`n4ax.n4`, with a mask or weights."""
    path = folder / "a.nii"
    words: dict[str, Any] = {random.choice(("mask", "weights")): folder / "b.nii"}
    try:
        corrected: Any = n4ax.n4(path, iters=(2,), shrink_factor=1, num_threads=1, **words)
    except REFUSALS as error:
        return check_message(error, path, "b.nii", "the image", *words)
    return describe(np.asarray(corrected.dataobj), corrected.affine)


def correct_by_command(random: Random, folder: Path) -> str:
    """Correct by the command line; a failure is one line, and writes nothing."""
    words = ["correct", "a.nii", "-o", "out.nii.gz", *_TINY]
    if random.random() < 0.7:
        words += [random.choice(_WORDS), "b.nii"]
    said = call_program(cli.main, words, folder)
    if said.status != 0:
        assert len(said.err.strip().splitlines()) == 1, said.err
        assert not (folder / "out.nii.gz").exists()
        return said.err
    written: Any = nib.load(folder / "out.nii.gz")
    values = np.asarray(written.dataobj)
    # Where the field is next to 0, the quotient is too large for a number, as it is in ITK.
    assert np.isfinite(values).all() or "the field in the mask reaches" in said.err, said.err
    return describe(values, written.affine)
