"""The commands that are run while system calls fail, on images of some hundred voxels."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

QUICK = ("--iters", "3", "--shrink-factor", "1", "--conv-threshold", "0", "--num-threads", "1")

Run = Callable[[str, list[str], Path], int]
"""Runs a program with words in a folder, and gives its status."""


@dataclass(frozen=True)
class Case:
    """A command, and what has to be there before.

    Attributes
    ----------
    command
        The command that it counts for.
    name
        What tells it from others of the command.
    program, words
        What is run, in the folder with ``in`` and ``out``.
    before
        The same program with other settings, which wrote the earlier results.
    groups
        Outputs that appear together, by the beginnings of their names. An empty text is all.
    needs
        What is run once, to make inputs.
    """

    command: str
    name: str
    program: str
    words: tuple[str, ...]
    before: tuple[str, ...]
    groups: tuple[str, ...] = ()
    needs: tuple[tuple[str, tuple[str, ...]], ...] = field(default=())

    def prepare(self, box: Path, run: Run, *, earlier: bool) -> None:
        """Make the inputs, and the results of an earlier run if there are to be any."""
        make_inputs(box / "in")
        (box / "out").mkdir()
        for program, words in self.needs:
            assert run(program, list(words), box) == 0, (self, words)
        if earlier:
            assert run(self.program, list(self.before), box) == 0, self


def make_inputs(folder: Path) -> None:
    """Write the images in several formats, and a dataset of two participants."""
    folder.mkdir(parents=True)
    for number, name in enumerate(("a.nii.gz", "b.nii", "c.mgz")):
        image = make_phantom(number)
        kind = nib.MGHImage if name.endswith(".mgz") else nib.Nifti1Image
        nib.save(kind(np.asarray(image.dataobj), image.affine), folder / name)
    inner = np.zeros((12, 10, 8), np.uint8)
    inner[2:-2, 2:-2, 1:-1] = 1
    nib.save(nib.Nifti1Image(inner, np.diag([2.0, 2, 2, 1])), folder / "mask.nii.gz")
    description = {"Name": "Phantoms", "BIDSVersion": "1.10.0"}
    for number in range(2):
        place = folder / "study" / f"sub-{number + 1}" / "anat"
        place.mkdir(parents=True)
        nib.save(make_phantom(number, scale=2), place / f"sub-{number + 1}_T1w.nii.gz")
    (folder / "study" / "dataset_description.json").write_text(json.dumps(description))
    cells = ("sub-1/anat/sub-1_T1w.nii.gz", "accept", "", "ann", "2026-01-01T00:00:00.000Z", "")
    names = ("source", "rating", "note", "rater", "date", "result")
    (folder / "ratings.tsv").write_text("\n".join("\t".join(row) for row in (names, cells)) + "\n")


def make_phantom(number: int, scale: int = 1) -> Any:
    """A bright block on a dark ground, with noise and a field."""
    shape = tuple(scale * n for n in (12, 10, 8))
    random = np.random.default_rng(number)
    voxels = random.uniform(5, 25, shape)
    voxels[scale:-scale, scale:-scale, scale:-scale] += 400
    voxels *= np.linspace(0.8, 1.3, shape[0])[:, None, None]
    return nib.Nifti1Image(voxels.astype(np.float32), np.diag([2.0, 2, 2, 1]))


def _correct(*words: str) -> tuple[str, ...]:
    return ("correct", *words, *QUICK)


_ALL_FILES = (
    "in/a.nii.gz", "-o", "out/c.nii.gz", "--bias", "out/b.nii", "--mask-output", "out/m.mgz",
    "--field", "out/f.npz", "--json", "out/r.json", "--mask", "in/mask.nii.gz",
)  # fmt: skip
_ITK_FILES = (
    "in/a.nii.gz",
    "-o",
    "out/c.nrrd",
    "--bias",
    "out/b.mha",
    "--mask-output",
    "out/m.mhd",
)
_PACKED = ("in/a.nii.gz", "-o", "out/c.nii.zst", "--bias", "out/b.img", "--figure", "out/p.png")
_FIELD = ("in/a.nii.gz", "-o", "in/x.nii.gz", "--field", "in/f.npz", "-q")
_ANTS = ("-d", "3", "-s", "1", "-c", "[3,0]", "-v", "1")
_STUDY = (
    "in/study", "out", "participant", "--iters", "3", "--shrink-factor", "1", "--conv-threshold",
    "0", "--n-procs", "1", "--omp-nthreads", "1", "--output-settings", "replace", "-q",
)  # fmt: skip
_EARLIER = ("--fwhm", "0.3", "-q")

CASES = (
    Case("correct", "one image", "n4ax", _correct(*_ALL_FILES), _correct(*_ALL_FILES, *_EARLIER),
         ("",)),
    Case("correct", "formats of ITK", "n4ax", _correct(*_ITK_FILES),
         _correct(*_ITK_FILES, *_EARLIER), ("",)),
    Case("correct", "a pair and a figure", "n4ax", _correct(*_PACKED),
         _correct(*_PACKED, *_EARLIER), ("",)),
    Case("correct", "several images", "n4ax",
         _correct("in/a.nii.gz", "in/b.nii", "in/c.mgz", "-o", "out", "--bias", "{stem}_bias.nii"),
         _correct("in/a.nii.gz", "in/b.nii", "in/c.mgz", "-o", "out", "--bias", "{stem}_bias.nii",
                  *_EARLIER), ("a_", "b_", "c_")),
    Case("ants", "NIfTI", "ants", (*_ANTS, "-i", "in/a.nii.gz", "-o", "[out/c.nii.gz,out/b.nii]"),
         (*_ANTS, "-i", "in/b.nii", "-o", "[out/c.nii.gz,out/b.nii]"), ("",)),
    Case("ants", "other formats", "ants",
         (*_ANTS, "-i", "in/a.nii.gz", "-x", "in/mask.nii.gz", "-o", "[out/c.mgz,out/b.nhdr]"),
         (*_ANTS, "-i", "in/b.nii", "-x", "in/mask.nii.gz", "-o", "[out/c.mgz,out/b.nhdr]"), ("",)),
    Case("apply", "two images", "n4ax",
         ("apply", "in/f.npz", "in/b.nii", "in/c.mgz", "-o", "out", "--overwrite"),
         ("apply", "in/f.npz", "in/b.nii", "in/c.mgz", "-o", "out", "--invert", "--overwrite"),
         needs=(("n4ax", _correct(*_FIELD)),)),
    Case("tune", "two images", "n4ax",
         ("tune", "in/a.nii.gz", "in/b.nii", "-o", "out", "--num-threads", "1"),
         ("tune", "in/c.mgz", "in/b.nii", "-o", "out", "--num-threads", "1"), ("",)),
    Case("report", "two participants", "n4ax",
         ("report", "out", "--ratings", "in/ratings.tsv"), ("report", "out"),
         needs=(("study", _STUDY),)),
    Case("bids", "two participants", "study", _STUDY, (*_STUDY, "--fwhm", "0.3")),
)  # fmt: skip
COMMANDS = tuple(dict.fromkeys(case.command for case in CASES))


def choose(only: Mapping[str, Any] | set[str] | None = None) -> tuple[Case, ...]:
    """The cases of some commands, or all."""
    return tuple(case for case in CASES if not only or case.command in only)
