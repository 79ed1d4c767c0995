"""Runs of ``n4ax bids`` for the tests of studies."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib

from n4ax.cli import main
from tests.conftest import ROOT

SUFFIXES = ("T1w", "T2w", "PDw", "FLAIR", "inplane", "boldref", "bold", "dwi")
QUICK = ("--shrink-factor", "2", "--iters", "10x10")
LONG = ("--iters", "40x40x40", "--conv-threshold", "0")
BROKEN = 2


def make_words(study: Path, output: Path, *arguments: str) -> list[str]:
    """The arguments of ``n4ax`` that correct a whole study."""
    return ["bids", str(study), str(output), "participant", "--suffix", *SUFFIXES, *arguments]


def make_command(study: Path, output: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "n4ax", *make_words(study, output, *arguments)]


def run(study: Path, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        make_command(study, output, *arguments), capture_output=True, text=True, check=False
    )


def read_results(output: Path) -> dict[str, bytes]:
    """All files that must be the same whatever happened in a run: not times, reports and logs."""
    files = [path for path in output.glob("sub-*/**/*") if path.is_file()]
    kept = [
        path for path in files if not (path.parent.name == "figures" and path.suffix == ".json")
    ]
    return {str(path.relative_to(output)): path.read_bytes() for path in kept}


def find_images(output: Path) -> list[Path]:
    return sorted(output.glob("sub-*/**/*_desc-n4_*.nii.gz"))


def make_empty_tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def make_small_study(folder: Path, *names: str) -> Path:
    """A dataset of one small volume under several names."""
    scan = nib.load(ROOT / "src" / "n4ax" / "data" / "head.nii.gz").slicer[30:70, 30:70, 30:60]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(scan, folder / name)
    return folder


def run_small_study(dataset: Path, output: Path, *arguments: str) -> int:
    return main(["bids", str(dataset), str(output), "participant", *QUICK, "-q", *arguments])


def read_errors(output: Path) -> dict[str, str]:
    errors = json.loads((output / "n4ax_errors.json").read_text())["Errors"]
    return {error["Source"]: error["Reason"] for error in errors}
