"""A tiny dataset in BIDS."""

import json
from pathlib import Path

from reliability.fuzz.folders import make_contents


def fill_study(folder: Path) -> None:
    """Make a dataset of two participants."""
    for label in ("01", "02"):
        place = folder / f"sub-{label}" / "anat"
        place.mkdir(parents=True)
        (place / f"sub-{label}_T1w.nii").write_bytes(make_contents()["i.nii"])
    description = {"Name": "tiny", "BIDSVersion": "1.10.0"}
    (folder / "dataset_description.json").write_text(json.dumps(description))
