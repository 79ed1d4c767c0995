"""Files of a bias field: NIfTI with a description in JSON, and files of NumPy."""

import gzip
import math
from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import numpy as np

from n4ax import cli
from n4ax.saved_field import SavedField, read_field
from reliability.fuzz.calls import call_program
from reliability.fuzz.damage import damage, splice
from reliability.fuzz.field_makers import (
    SHAPES,
    change_arrays,
    change_description,
    make_field_file,
)
from reliability.fuzz.nifti_files import draft_nifti
from reliability.fuzz.reading import bound_memory, describe, try_reading

SHARE = 1.0
SECONDS = 20.0

_MOST = 10**6
"""Voxels of a field that is evaluated here."""


def try_input(random: Random, folder: Path) -> str:
    """Read a field, and evaluate and apply it if it is one."""
    number, suffix = random.randrange(len(SHAPES)), random.choice((".npz", ".nii", ".nii.gz"))
    content = make_field_file(number, ".nii" if suffix == ".nii.gz" else suffix)
    choice = random.random()
    if choice < 0.05:
        content = splice(random, content, draft_nifti(random).join()[0])
    elif choice < 0.25:
        content = damage(random, content)
    elif choice < 0.95:
        content = (change_arrays if suffix == ".npz" else change_description)(random, content)
    if suffix == ".nii.gz":
        content = gzip.compress(content, 1)
    path = folder / f"f{suffix}"
    path.write_bytes(content)
    with bound_memory():
        found = try_reading(path, lambda: read_field(path))
        text = found if isinstance(found, str) else use(found, folder)
    if random.random() < 0.03:
        text += apply(path, folder, SHAPES[number], random.choice((["--by", "index"], [])))
    return text


def use(field: SavedField, folder: Path) -> str:
    """Evaluate a field, and check that it is the same after it was written and read again."""
    spline = field.spline
    if spline is None:
        assert field.bias is not None
        return describe(field.bias.voxels)
    if math.prod(spline.shape) > _MOST:
        return f"{spline!r}"
    values = spline.evaluate(num_threads=1)
    assert values.shape == tuple(spline.shape)
    for name in ("again.npz", "again.nii"):
        spline.save(folder / name)
        again = read_field(folder / name).spline
        assert again is not None
        assert np.array_equal(again.evaluate(num_threads=1), values, equal_nan=True), name
    return f"{spline!r} {describe(values)}"


def apply(path: Path, folder: Path, shape: tuple[int, ...], words: list[str]) -> str:
    """Divide an image by the field with the command line."""
    image: Any = nib.Nifti1Image(np.full(shape, 3, np.float32), np.diag([2.0, 1.5, 1.0, 1.0]))
    image.to_filename(folder / "image.nii")
    said = call_program(
        cli.main, ["apply", path.name, "image.nii", "-o", "out.nii", "-q", *words], folder
    )
    if said.status != 0:
        assert not (folder / "out.nii").exists()
        assert len(said.err.strip().splitlines()) == 1, said.err
        return said.err
    written: Any = nib.load(folder / "out.nii")
    assert written.shape == shape
    return describe(np.asarray(written.dataobj))
