"""A folder with tiny images and with what stands in the way of them, and what changed in it."""

import gzip
import io
import os
from functools import cache
from pathlib import Path
from random import Random

import nibabel
import numpy as np

SHAPE = (6, 5, 4)

IMAGES = ("i.nii", "i.nii.gz", "mask.nii", "weights.nii")
"""What every folder has; ``i.nii`` and ``i.nii.gz`` are the same image."""

FURTHER = (
    "flat.nii", "slice.nii", "series.nii", "other.nii", "i.mgz", "cut.nii.gz", "text.nii",
    "empty.nii", "nan.nii", "zero.nii", "oblique.nii", "i.hdr", "i.img",
)  # fmt: skip
"""What a folder may have besides."""

_BARRIERS = (
    "folder.nii", "loop.nii", "gone.nii", "zeros.nii", "pipe.nii", "link.nii", "a b.nii",
    "(1)i.nii", "-i.nii", "{stem}.nii", "a\nb.nii", "é.nii", "a,b.nii", "I.NII", "otsu", "[i.nii]",
)  # fmt: skip
OUTPUTS = (
    "o.nii", "o.nii.gz", "o.mgz", "b.nii", "b.nii.gz", "o.hdr", "o.img", "o.nii.bz2", "o.txt", "o",
    "new/o.nii", "i.nii/o.nii", "folder/o.nii", "../o.nii", "./o.nii", "o..nii", ".nii", ".nii.gz",
    "folder", "folder/", ".", "..", "o" * 300 + ".nii", "o" * 248 + ".nii", "/dev/null",
    "/dev/null.nii", "/proc/o.nii", "{stem}_c.nii", "{folder}/{stem}_c.nii", "{x}.nii", "o\n.nii",
    "\udcff.nii", "-o.nii", "[o.nii", "o.nii]", "~/o.nii", "o.npz", "o.json", "o.tsv", "o.png",
    "o.nrrd", "O.NII.GZ", "o.nii.zst", "new/deep/o.nii.gz",
)  # fmt: skip


@cache
def make_contents() -> dict[str, bytes]:
    """The bytes of the tiny images, which every process makes once."""
    generator = np.random.default_rng(3)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    image = 80 + 60 * (x**2 + y**2 < 0.8) + 15 * z + generator.uniform(0, 5, SHAPE)
    ones = np.ones(SHAPE)
    nan = np.where(generator.random(SHAPE) < 0.1, np.nan, image)
    turned = np.array([[0.8, -0.6, 0, 3], [0.6, 0.8, 0, -7], [0, 0, 2, 1], [0, 0, 0, 1]])
    arrays = {
        "i": image, "mask": (x**2 + y**2 < 0.9) * 1.0, "weights": np.clip(image / 150, 0, 1),
        "flat": ones * 7, "slice": image[..., :1], "series": np.stack([image, image + 9], axis=3),
        "other": image[1:], "nan": nan, "zero": ones * 0, "oblique": image,
    }  # fmt: skip
    made = {
        f"{name}.nii": _encode(array, turned if name == "oblique" else np.eye(4))
        for name, array in arrays.items()
    }
    made["i.nii.gz"] = gzip.compress(made["i.nii"], 1, mtime=0)
    made["cut.nii.gz"] = made["i.nii.gz"][:300]
    made["text.nii"], made["empty.nii"] = b"no image at all\n" * 40, b""
    made["i.mgz"] = _encode_mgz(image)
    pair = nibabel.Nifti1Pair(image.astype("f4"), np.eye(4))
    files = {name: nibabel.FileHolder(fileobj=io.BytesIO()) for name in ("header", "image")}
    pair.to_file_map(files)
    made["i.hdr"], made["i.img"] = (files[one].fileobj.getvalue() for one in ("header", "image"))
    return made


def _encode(array: np.ndarray, affine: np.ndarray) -> bytes:
    return nibabel.Nifti1Image(array.astype("f4"), affine).to_bytes()


def _encode_mgz(array: np.ndarray) -> bytes:
    made = nibabel.MGHImage(array.astype("f4"), np.eye(4)).to_bytes()
    return gzip.compress(made, 1, mtime=0)


def fill_folder(random: Random, folder: Path) -> Path:
    """Put images into a folder inside ``folder``, and sometimes what is none; return the inner one.

    Names such as ``../o.nii`` then still lie inside ``folder``.
    """
    place = folder / "here"
    place.mkdir()
    contents = make_contents()
    for name in (*IMAGES, *random.sample(FURTHER, random.choice((0, 1, 3)))):
        (place / name).write_bytes(contents[name])
    (place / "folder").mkdir()
    if random.random() < 0.3:
        _put_barrier(random.choice(_BARRIERS), place)
    return place


def _put_barrier(name: str, place: Path) -> None:
    path = place / name
    if name == "folder.nii":
        path.mkdir()
    elif name == "pipe.nii":
        os.mkfifo(path)
    elif name in _TARGETS:
        path.symlink_to(_TARGETS[name])
    else:
        path.write_bytes(make_contents()["i.nii"])


_TARGETS = {"loop.nii": "loop.nii", "gone.nii": "nowhere/x.nii", "zeros.nii": "/dev/zero",
            "link.nii": "i.nii"}  # fmt: skip


def draw_input_name(random: Random) -> str:
    """The name of a file that is often there."""
    if random.random() < 0.8:
        return random.choice(IMAGES)
    return random.choice((*FURTHER, *_BARRIERS, "folder", ".", "missing.nii", "", "i", "/dev/zero"))


def draw_output_name(random: Random) -> str:
    """The name of a file to write: a good one, one that cannot be written, or an input."""
    choice = random.random()
    if choice < 0.7:
        return random.choice(OUTPUTS[:4])
    return random.choice(OUTPUTS) if choice < 0.93 else draw_input_name(random)
