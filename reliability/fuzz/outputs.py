"""Output folders of earlier runs, as those leave them, and then damaged."""

import json
import os
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from reliability.fuzz.json_texts import change_values, draw_text, draw_value, spoil, write_json

STEM = "sub-01_desc-n4_T1w"
RECORD: dict[str, Any] = {
    "Source": "sub-01/anat/sub-01_T1w.nii.gz", "Output": f"sub-01/anat/{STEM}.nii.gz",
    "Subject": "01", "Session": None, "Suffix": "T1w", "Shape": [48, 40, 32],
    "VoxelSize": [2.0, 2.0, 2.0], "Directions": True, "Mask": "otsu", "Engine": "cpu",
    "Settings": {"shrink_factor": 4, "iters": [50, 50]}, "SettingsHash": "0123456789ab",
    "Exception": False, "Result": "ba9876543210", "Date": "2026-11-27T10:00:00+00:00",
    "Iterations": [3, 5], "Stopped": ["converged", "iteration limit"],
    "Convergence": [[0.01, 0.003, 0.0009], [0.02, None, 0.008]], "Notes": ["a note"],
    "Messages": [{"Code": "small-mask", "Serious": True, "Text": "The mask is small: --mask"}],
    "Threshold": 0.001, "SharedFieldWith": ["sub-01/anat/sub-01_T2w.nii.gz"], "Version": "0.2.0",
    "Measures": {
        "FieldRange": [0.7, 1.4], "FieldWindow": [0.75, 1.33],
        "Planes": ["sagittal", "coronal", "axial"],
        "cjv_before": 0.6, "cjv_after": 0.5, "inu_med": 1.0, "inu_range": 0.4, "inu_p05": 0.8,
        "inu_p95": 1.2, "Histogram": {"Range": [0, 1000], "Before": [1, 5, 3], "After": [2, 4, 1]},
        "Profile": {"Axis": "left to right", "Unit": "mm", "Positions": [1.0, 2.0, 3.0],
                    "Before": [0.9, 1.0, None], "After": [1.0, 1.0, 1.0]},
    },
    "Seconds": {"Total": 1.2, "Read": 0.1, "N4": 0.8},
}  # fmt: skip
STUDY: dict[str, Any] = {
    "Dataset": "Ten heads", "Settings": {"T1w": {"shrink_factor": 4, "Mask": "otsu"}},
    "SettingsHash": {"T1w": "1a2b3c4d"}, "Rerun": "n4ax bids study out participant --mask otsu",
    "Runs": [{
        "Date": "2026-11-27T10:00:00+00:00", "Seconds": 12.3, "Version": "0.2.0",
        "Command": "n4ax bids study out participant", "Machine": "one, Linux, 2 cores",
        "Counts": {"corrected": 3, "failed": 1},
    }],
}  # fmt: skip
FAILURE = {"Source": "sub-02/anat/sub-02_T1w.nii.gz", "Subject": "02", "Reason": "it is truncated"}
SIDECAR: dict[str, Any] = {
    "Sources": ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"], "SkullStripped": False,
    "N4": {"SettingsHash": "0123456789ab", "Stamp": "sha256:00", "Exception": True,
           "SoftwareVersions": {"n4ax": "0.2.0"}, "Files": {f"sub-01/anat/{STEM}.nii.gz": 3}},
}  # fmt: skip
DESCRIPTION: dict[str, Any] = {
    "Name": "A study (n4ax)", "BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": "n4ax"}],
    "SourceDatasets": [{"URL": "../study"}], "DatasetLinks": {"raw": "../study"},
}  # fmt: skip
FILES: dict[str, Any] = {
    f"sub-01/figures/{STEM}.json": RECORD, "n4ax_study.json": STUDY,
    "n4ax_errors.json": {"Errors": [FAILURE]}, f"sub-01/anat/{STEM}.json": SIDECAR,
    "dataset_description.json": DESCRIPTION,
    ".n4ax/failed/sub-02/anat/sub-02_T1w.nii.gz.json": FAILURE, ".n4ax/failed/old.json": FAILURE,
}  # fmt: skip
"""The JSON that a run leaves, by path."""
OTHERS = (
    ".n4ax/study.lock", ".n4ax/errors.lock", ".n4ax/locks/x.lock", "logs/sub-01.log",
    "ratings.tsv", "group_T1w.tsv", "group_T1w.json", "group.html", "sub-01.html", "sub-02",
    ".n4ax/unfinished/x", "README.md", ".gitignore",
    "logs/CITATION.md", ".bidsignore", f"sub-01/figures/{STEM}_before.webp", "group_x.tsv",
)  # fmt: skip
"""Other places that runs write to, or read."""


def make_output(random: Random, output: Path, files: int = 2) -> None:
    """Write an output folder of which some files are changed, spoilt, or something else."""
    damaged = random.sample(sorted(FILES), random.randint(0, files))
    for name, content in FILES.items():
        if name in damaged:
            damage(random, output / name, content)
        elif random.random() < 0.9:
            put(output / name, write_plain(name))
    for name in random.sample(OTHERS, random.choice((0, 0, 1, 1, 3))):
        if not (output / name).exists():
            damage(random, output / name, draw_text(random))
    put(output / f"sub-01/anat/{STEM}.nii.gz", b"abc")


def damage(random: Random, path: Path, content: Any) -> None:
    """Write a changed or spoilt file, or put something else in its place."""
    kind = random.random()
    if kind < 0.55:
        put(path, write_json(random, change_values(random, content)))
    elif kind < 0.65:
        put(path, write_json(random, draw_value(random)))
    elif kind < 0.8:
        put(path, spoil(random, write_json(random, content)))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(random, path)


def put(path: Path, content: bytes) -> None:
    """Write a file in a folder that need not exist, and that no link leads out of."""
    os.makedirs(path.parent, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)


@cache
def write_plain(name: str) -> bytes:
    """The bytes of one of ``FILES`` as a run leaves it."""
    return json.dumps(FILES[name]).encode()


def _replace(random: Random, path: Path) -> None:
    match random.choice(("folder", "loop", "broken", "outside", "pipe", "zero")):
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case "broken":
            path.symlink_to("../.git/annex/objects/aa/MD5E-s9--00.json")
        case "outside":  # where it can be seen whether anything was written through the link
            path.symlink_to(_find_top(path) / "kept" / "file.json")
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("/dev/zero")


def _find_top(path: Path) -> Path:
    """The folder that the output lies in."""
    return next(parent for parent in path.parents if parent.name == "out").parent


def make_kept(folder: Path) -> None:
    """Make what must not change: a file outside of the output, to which links lead."""
    put(folder / "kept" / "file.json", b'{"Errors": []}')
