"""Sidecars of any JSON beside an image: read, judged, stamped, and written to the new sidecar."""

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import numpy as np

from n4ax.bids.companions import find_companions
from n4ax.bids.image import Clock, correct_alone
from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.bids.sidecar import Correction, Identity, describe_image
from n4ax.correction.origin import find_signs_beside
from n4ax.provenance import format_json
from n4ax.scan import read_scan
from n4ax.settings import N4Settings
from n4ax.verdict import Verdict
from n4ax.verdict.already import find_signs
from reliability.fuzz.json_texts import draw_object, draw_value, write_json

SHARE = 1.0
SECONDS = 10.0

NAMES = (
    "ImageType", "IntendedFor", "Sources", "RawSources", "SkullStripped", "EchoTime", "N4", "Name",
    "RepetitionTime", "SliceTiming", "GeneratedBy", "Manufacturer", "BIDSVersion", "Description",
    "NormalizationMethod", "PulseSequenceDetails", "AssociatedEmptyRoom", "BiasFieldCorrected",
)  # fmt: skip
"""Entries that n4ax looks at, or that others do."""

PLACES = (
    "T1w.json", "sub-01_T1w.json", "acq-x_T1w.json", "sub-01/sub-01_T1w.json", "sub-01/T1w.json",
    "sub-01/anat/sub-01_T1w.json", "sub-01/anat/sub-01_run-1_T1w.json", "sub-01/anat/T1w.json",
    "sub-01/anat/sub-01_acq_T1w.json", "sub-01/anat/sub-01_run-01_T1w.json",
)  # fmt: skip
PATH = "sub-01/anat/sub-01_run-1_T1w.nii.gz"


def try_input(random: Random, folder: Path) -> str:
    """Read the sidecars, and write them into the new one, which must be JSON of the same values."""
    (folder / "sub-01/anat").mkdir(parents=True)
    image = folder / PATH
    image.write_bytes(b"")
    for name in random.sample(PLACES, random.randint(1, 3)):
        _plant(random, folder / name)
    source = Source.of(PATH)
    companions = find_companions(Recipe(folder, folder / "out", N4Settings()), source)
    assert all("\n" not in note for note in companions.notes), companions.notes
    for note in companions.notes:
        assert "T1w.json was left out: " in note, note
    signs = find_signs(companions.metadata, False)
    correction = replace(_correct_once(), source=source, companions=companions)
    correction.__dict__["verdict"] = _judge_once()  # it would be found anew for each sidecar
    identity = Identity("1", "2", {"Metadata": companions.metadata})
    text = format_json(describe_image(correction, identity, {}))
    written = json.loads(text, parse_constant=_refuse)
    for name in ("EchoTime", "Manufacturer"):
        assert written.get(name) == companions.metadata.get(name) or "bids:" in text, name
    assert isinstance(written["SkullStripped"], bool)
    beside = find_signs_beside(image)
    return f"{sorted(companions.metadata)} {companions.notes} {signs} {beside} {identity.stamp}"


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


def _plant(random: Random, path: Path) -> None:
    """Put something where a sidecar is looked for."""
    kind = random.random()
    if kind < 0.85:
        content = draw_object(random, NAMES) if random.random() < 0.9 else draw_value(random)
        path.write_bytes(write_json(random, content))
    elif kind < 0.9:
        path.mkdir()
    else:
        target = random.choice((path.name, "nowhere", "/dev/null", "..", "/dev/zero"))
        path.symlink_to(target)


@cache
def _correct_once() -> Correction:
    """A corrected image, of which only the metadata change."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / PATH
        path.parent.mkdir(parents=True)
        voxels = np.random.default_rng(1).uniform(100, 200, (8, 8, 8)).astype(np.float32)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        settings = N4Settings(iters=(2,), shrink_factor=1)
        recipe = Recipe(Path(name), Path(name) / "out", settings, threads=1)
        source = Source.of(PATH)
        companions = find_companions(recipe, source)
        return correct_alone(recipe, source, companions, read_scan(path), Clock())


@cache
def _judge_once() -> Verdict:
    return _correct_once().verdict
