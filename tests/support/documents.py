"""The files, arrays and programs that the pages of the documentation use."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import zarr

import n4ax

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
HEAD = ROOT / "src" / "n4ax" / "data" / "head.nii.gz"

NOT_EVERYWHERE = {
    "torch", "torchio", "monai",  # some GB, which is too much for the extra called test
    "docker", "apptainer", "dwibiascorrect", "fmriprep", "qsiprep",  # pip does not install them
    "datalad",  # git-annex, which it needs, is not for every system
}  # fmt: skip
"""Libraries and programs that may be missing. The blocks that need them are skipped then."""

STAND_INS = {
    "pip": (
        "an installation needs a network and takes minutes, so the extra is looked up in "
        "pyproject.toml and pip says what it would do",
        'exec {python} -m tests.support.documents "$@"',
    ),
    "make": (
        "nothing is installed again, one file of tests is collected but not run, and commands that "
        "take hours or change the checkout are only printed",
        "for word; do case $word in demo|test|test-all) ;; *) set -- -n \"$@\"; break;; "
        "esac; done\n"
        "export PYTEST_ADDOPTS='--collect-only -q {root}/tests/test_package.py'\n"
        "exec {make} -f {root}/Makefile VENV={venv} -o {venv}/.installed "
        '-o {venv}/.installed-test -o {venv}/.installed-dev "$@"',
    ),
    "n4ax": (
        "there is no cluster for the jobs, which are printed",
        'case " $* " in *" --cluster local "*) ;;\n'
        '*" --cluster "*|*" --scheduler "*) set -- "$@" --dry-run;; esac\n'
        'exec {python} -P -m n4ax "$@"',
    ),
    "git": (
        "the repository is here already",
        'case "$1 $2" in "clone "*/n4ax.git) exec ln -sfn {root} n4ax;; esac\n'
        'exec {git} "$@"',
    ),
}  # fmt: skip
"""Programs that cannot run as they are: why, and the shell script that stands in for each."""


def write_programs(folder: Path) -> None:
    """Write the stand-ins as programs."""
    folder.mkdir()
    places = {
        "python": f"env PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)}",
        "make": shutil.which("make") or "make",
        "git": shutil.which("git") or "git",
        "root": shlex.quote(str(ROOT)),
        "venv": shlex.quote(sys.prefix),
    }
    for name, (why, script) in STAND_INS.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n# {why}\n{script.format(**places)}\n")
        program.chmod(0o755)


def write_files(folder: Path) -> None:
    """Write the files that the pages name.

    They are a real head at half its resolution, masks, tissues, series, a zarr array, a field, a
    study and ratings of it.
    """
    head = nib.load(HEAD).slicer[::2, ::2, ::2]
    voxels = head.get_fdata(dtype=np.float32)
    mask = n4ax.otsu_mask(voxels).astype(np.uint8)
    series = np.stack([voxels * scale for scale in (1, 0.5, 0.98, 0.45)], axis=-1)
    images = {
        "mask": mask,
        "brain": mask,
        "white": (voxels > 300).astype(np.float32),
        "grey": ((voxels > 150) & (voxels <= 300)).astype(np.float32),
        "bold": series,
        "dwi": series,
    }
    for name in ("head", "t1w", "t1w_n4", "t2w", "flair", "epi"):
        images[name] = voxels
    for name, values in images.items():
        nib.save(nib.Nifti1Image(values, head.affine), folder / f"{name}.nii.gz")
    (folder / "dwi.bval").write_text("0 1000 5 1000\n")
    (folder / "dwi.bvec").write_text("0 1 0 0\n0 0 0 1\n0 0 0 0\n")
    whole = nib.load(HEAD).get_fdata(dtype=np.float32)
    zarr.create_array(folder / "brain.zarr", data=whole, chunks=(48, 48, 44))
    n4ax.fit(voxels, mask, iters=(2,), spacing=(4.6, 4.6, 4)).field.save(folder / "field.npz")
    t1w = nib.load(folder / "t1w.nii.gz")
    n4ax.fit(t1w, iters=(2,)).field.save(folder / "t1w_field.npz")
    (folder / "scans").mkdir()
    for name in ("first", "second"):
        shutil.copy(folder / "head.nii.gz", folder / "scans" / f"{name}.nii.gz")
        shutil.copy(folder / "mask.nii.gz", folder / "scans" / f"{name}_mask.nii.gz")
    (folder / "tissues").mkdir()
    labels = np.where(mask, 1 + (voxels > np.median(voxels[mask > 0])), 0).astype(np.uint8)
    for name in ("first", "second"):
        nib.save(nib.Nifti1Image(labels, head.affine), folder / "tissues" / f"{name}_seg.nii.gz")
    _write_study(folder, folder / "study")
    (folder / "ratings.tsv").write_text(
        "source\trating\tnote\trater\tdate\tresult\n"
        "sub-01/anat/sub-01_T1w.nii.gz\treject\tn/a\tAnn\t2026-11-27T10:00:00Z\tn/a\n"
    )


def _write_study(images: Path, study: Path) -> None:
    """Write a BIDS dataset of two participants: for each a head, a mask, echoes and two series."""
    study.mkdir()
    description = {"Name": "A study", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (study / "dataset_description.json").write_text(json.dumps(description))
    (study / "task-rest_bold.json").write_text('{"RepetitionTime": 2.0, "TaskName": "rest"}')
    for person in ("sub-01", "sub-02"):
        prepared = f"derivatives/fmriprep/{person}/anat/{person}"
        for name, target in (
            ("t1w.nii.gz", f"{person}/anat/{person}_T1w.nii.gz"),
            ("head.nii.gz", f"{person}/anat/{person}_echo-1_MEGRE.nii.gz"),
            ("t2w.nii.gz", f"{person}/anat/{person}_echo-2_MEGRE.nii.gz"),
            ("bold.nii.gz", f"{person}/func/{person}_task-rest_bold.nii.gz"),
            ("dwi.nii.gz", f"{person}/dwi/{person}_dwi.nii.gz"),
            ("dwi.bval", f"{person}/dwi/{person}_dwi.bval"),
            ("dwi.bvec", f"{person}/dwi/{person}_dwi.bvec"),
            ("mask.nii.gz", f"derivatives/masks/{person}/anat/{person}_desc-brain_mask.nii.gz"),
            ("mask.nii.gz", f"{prepared}_desc-brain_mask.nii.gz"),
            ("grey.nii.gz", f"{prepared}_label-GM_probseg.nii.gz"),
            ("white.nii.gz", f"{prepared}_label-WM_probseg.nii.gz"),
        ):
            (study / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(images / name, study / target)


def make_names(folder: Path) -> dict[str, Any]:
    """The arrays and modules that the Python blocks use, by name."""
    import jax

    scan = nib.load(folder / "head.nii.gz")
    image = scan.get_fdata(dtype=np.float32)
    mask = nib.load(folder / "mask.nii.gz").get_fdata() > 0
    arrays = ("t1", "t2", "flair", "echo1", "echo2", "echo3", "another_contrast")
    return {
        "n4ax": n4ax, "np": np, "nibabel": nib, "zarr": zarr, "jax": jax, "jnp": jax.numpy,
        "image": image, "mask": mask, "images": [image, image * 2], "masks": [mask, mask],
        "affine": scan.affine,
        **{name: image * (1 + 0.1 * number) for number, name in enumerate(arrays)},
    }  # fmt: skip


def make_simpleitk_names(folder: Path) -> dict[str, Any]:
    """The images of SimpleITK that blocks about it use under the same names."""
    import SimpleITK as sitk

    image = sitk.ReadImage(folder / "head.nii.gz", sitk.sitkFloat32)
    mask = sitk.ReadImage(folder / "mask.nii.gz", sitk.sitkUInt8)
    return {"sitk": sitk, "image": image, "mask": mask, "full_resolution_image": image}


def make_environment(folder: Path) -> dict[str, str]:
    """The environment variables of a page: the stand-ins come first, and its folder is the home."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    programs = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {
        "HOME": str(folder),
        "PATH": os.pathsep.join(programs),
        "XDG_CACHE_HOME": cache,  # matplotlib keeps its list of fonts there
        **{f"GIT_{who}_NAME": "A reader" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "reader@example.org" for who in ("AUTHOR", "COMMITTER")},
    }


def _run_pip(words: list[str]) -> int:
    """The stand-in for pip: looks up the extras of n4ax, which this checkout provides."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    wanted = []
    for word in words:
        found = re.fullmatch(r"(n4ax|\.|\S*/n4ax(?:\.git)?)(?:\[([\w,]+)\])?", word)
        unknown = {*(found[2] or "").split(",")} - {"", *extras} if found else set()
        if unknown:
            print(f"pip: n4ax has no extra {', '.join(unknown)}", file=sys.stderr)
            return 1
        if word not in ("-e", "--editable"):
            wanted.append("n4ax" if found else word)
    quiet = ["--dry-run", "--no-deps", "--no-index", "--disable-pip-version-check"]
    return subprocess.run([sys.executable, "-m", "pip", *wanted, *quiet]).returncode


if __name__ == "__main__":
    sys.exit(_run_pip(sys.argv[1:]))
