"""Datasets of any kind: trees of names, of which few have content."""

import gzip
import os
from functools import cache
from pathlib import Path
from random import Random

import nibabel as nib
import numpy as np

from reliability.fuzz.json_texts import draw_object, draw_text, draw_value, spoil, write_json

ODD_LABELS = (
    "é", "漢", "a b", "a\nb", "a\tb", "-x", "x.y", "[a]", "*", "?", "{sub}", "%s", "<b>", "=1+1",
    "'", '"', "..", "a_b", "\u202e", "\\", "$HOME", "`id`", ";ls", "x" * 120, "\udcff", "0" * 60,
    "01-02", "",
)  # fmt: skip
LABELS = ("01", "1", "02", "10", "A")
SUFFIXES = (
    *("T1w",) * 8, "T2w", "FLAIR", "inplaneT2", "bold", "sbref", "dwi", "epi", "MEGRE", "mask",
)  # fmt: skip
KINDS = (*("anat",) * 12, "func", "dwi", "fmap", "perf", "ANAT", "other", "figures")
ENTITIES = ("acq", "run", "echo", "part", "desc", "rec", "task", "space", "res", "mod", "dir", "x")
EXTENSIONS = (
    *(".nii.gz",) * 12, ".nii", ".json", ".bval", ".bvec", ".NII.GZ", ".gz", "", ".nii.zst",
)  # fmt: skip
DATA_JSON = (
    "Name", "BIDSVersion", "DatasetType", "GeneratedBy", "DatasetLinks", "SourceDatasets",
)  # fmt: skip


def draw_label(random: Random) -> str:
    """A label of an entity, which is odd now and then."""
    return random.choice(ODD_LABELS if random.random() < 0.15 else LABELS)


def draw_name(random: Random, subject: str, session: str | None) -> str:
    """The name of a file, mostly as BIDS has it."""
    parts = [f"sub-{subject}"] + ([f"ses-{session}"] if session else [])
    for entity in random.sample(ENTITIES, random.choice((0, 0, 0, 1, 1, 2, 4))):
        value = random.choice(("phase", "mag")) if entity == "part" else draw_label(random)
        parts.append(f"{entity}-{value}")
    if random.random() < 0.1:
        random.shuffle(parts)
        parts = [*parts[: random.randint(0, len(parts))], draw_label(random)]
    return "_".join([*parts, random.choice(SUFFIXES)]) + random.choice(EXTENSIONS)


def make_tree(random: Random, root: Path, most: int = 6) -> None:
    """Write a dataset, or a derivative dataset, with some files for one to three participants."""
    root.mkdir(parents=True, exist_ok=True)
    if random.random() < 0.8:
        plant_json(random, root / "dataset_description.json")
    for name in random.sample(
        (".bidsignore", "participants.tsv", "T1w.json", "dwi.bval", "README", "CHANGES", "sub-x"),
        random.randint(0, 2),
    ):
        plant(random, root / name)
    for _ in range(random.randint(1, 3)):
        subject = draw_label(random)
        session = draw_label(random) if random.random() < 0.4 else None
        folder = root / f"sub-{subject}"
        if random.random() < 0.05:
            plant(random, folder)  # a file, or a link, in the place of the folder
            continue
        folder = folder / f"ses-{session}" if session else folder
        folder = folder / random.choice(KINDS) if random.random() < 0.95 else folder
        for _ in range(random.randint(0, most)):
            plant(random, folder / draw_name(random, subject, session))


def plant_json(random: Random, path: Path) -> None:
    """Write a description of a dataset, or something else in its place."""
    if random.random() < 0.1:
        plant(random, path)
        return
    content = draw_object(random, DATA_JSON) if random.random() < 0.8 else draw_value(random)
    put(path, write_json(random, content))


def plant(random: Random, path: Path) -> None:
    """Put a file, a link, a folder or a pipe at a path, if nothing is there yet.

    Nothing is put behind a link that was made before, nor where the name is too long.
    """
    kind = random.random()
    try:
        if os.path.realpath(path.parent) != os.path.abspath(path.parent) or os.path.lexists(path):
            return
        if kind < 0.3:
            put(path, make_image(random.choice(((4, 4, 4), (4, 4, 4, 3), (5, 4, 3), (4, 4)))))
        elif kind < 0.45:
            put(path, b"")
        elif kind < 0.6:
            put(path, spoil(random, make_image((4, 4, 4))))
        elif kind < 0.7:
            text = random.choice(("0 1000 0\n", "{}", "a\tb\n", draw_text(random)))
            put(path, text.encode(errors="replace"))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _plant_other(random, path)
    except (OSError, ValueError):  # the name is too long, or something lies there already
        pass


def put(path: Path, content: bytes) -> None:
    """Write a new file in a folder that need not exist."""
    assert os.path.realpath(path.parent) == os.path.abspath(path.parent), path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)


def _plant_other(random: Random, path: Path) -> None:
    kinds = ("folder", "loop", "broken", "annex", "outside", "up", "pipe", "device", "closed")
    match random.choice(kinds):
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case "broken":
            path.symlink_to("nowhere/at/all")
        case "annex":
            path.symlink_to("../.git/annex/objects/aa/bb/MD5E-s9--00.nii.gz")
        case "outside":
            path.symlink_to(random.choice(("/proc/version", "/", "/dev/zero", "/proc")))
        case "up":
            path.symlink_to(random.choice(("..", "../..", ".")))
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/null")
        case _:
            put(path, b"x")
            path.chmod(0)


@cache
def make_image(shape: tuple[int, ...]) -> bytes:
    """The bytes of a compressed NIfTI file."""
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return gzip.compress(nib.Nifti1Image(values, np.eye(4)).to_bytes(), mtime=0)
