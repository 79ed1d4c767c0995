"""A small image of a study, corrected into an output folder that earlier runs left damaged."""

import gzip
import json
from functools import cache
from pathlib import Path
from random import Random

import nibabel as nib
import numpy as np

from n4ax.bids.image import correct_source
from n4ax.bids.inputs import Source
from n4ax.bids.outputs import Outputs
from n4ax.bids.recipe import Recipe
from n4ax.settings import N4Settings
from reliability.fuzz.calls import list_unfinished
from reliability.fuzz.json_texts import draw_object, write_json
from reliability.fuzz.listings import check_only_inside, list_folder
from reliability.fuzz.outputs import make_kept, make_output, put
from reliability.fuzz.targets.sidecars import NAMES

SHARE = 0.4
SECONDS = 30.0

SOURCE = Source.of("sub-01/anat/sub-01_T1w.nii.gz")
SETTINGS = N4Settings(iters=(2,), shrink_factor=1)


def try_input(random: Random, folder: Path) -> str:
    """Correct the image twice: all of its files are there, or none is half-written."""
    dataset, output = folder / "study", folder / "out"
    put(dataset / SOURCE.path, _make_image())
    for name in ("T1w.json", "sub-01/anat/sub-01_T1w.json"):
        if random.random() < 0.7:
            put(dataset / name, write_json(random, draw_object(random, NAMES)))
    make_kept(folder)
    make_output(random, output, files=3)
    before = list_folder(folder)
    recipe = Recipe(
        dataset, output, SETTINGS, threads=1, engine="cpu",
        output_settings=random.choice(("error", "replace")),
    )  # fmt: skip
    first = correct_source(recipe, SOURCE)
    after = list_folder(folder)
    check_only_inside(before, after, "out")
    assert not (left := list_unfinished(folder)), left
    assert not first.log or not any("Traceback" in line for line in first.log), first.log
    assert "\n" not in first.reason, first
    if first.state == "failed":
        return f"failed: {first.reason}"
    outputs = Outputs.of(SOURCE)
    written = json.loads((output / outputs.sidecar).read_text())
    for name, size in written["N4"]["Files"].items():
        assert (output / name).stat().st_size == size, name
    again = correct_source(recipe, SOURCE)
    assert again.state == "unchanged", again
    return f"{first.state} {first.notes} {first.remarks} {after[f'out/{outputs.image}'][1][-9:]!r}"


@cache
def _make_image() -> bytes:
    voxels = np.random.default_rng(1).uniform(100, 200, (8, 8, 8)).astype(np.float32)
    return gzip.compress(nib.Nifti1Image(voxels, np.eye(4)).to_bytes(), mtime=0)
