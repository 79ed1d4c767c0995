"""Images with known tissues, and the folders of runs that reports are made of."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LEVELS = (100.0, 300.0, 500.0)

STUDY: dict[str, Any] = {
    "Dataset": "Ten heads",
    "Settings": {"T1w": {"ShrinkFactor": 4, "Mask": "otsu"}, "FLAIR": {"ShrinkFactor": 3}},
    "SettingsHash": {"T1w": "1a2b3c4d", "FLAIR": "99887766"},
    "Rerun": "n4ax bids study out participant --mask otsu",
    "Runs": [
        {
            "Date": "2026-11-27T10:00:00+00:00", "Seconds": 12.3, "Version": "0.2.0",
            "Command": "n4ax bids study out participant --mask otsu --shrink-factor 4",
            "Machine": "scanner-7, Linux x86_64, 2 cores",
            "Counts": {"corrected": 3, "unchanged": 0, "failed": 1},
        }
    ],
}  # fmt: skip
"""The content of ``n4ax_study.json``."""


def make_phantom(shape: tuple[int, ...] = (48, 40, 32), noise: float = 15.0) -> Any:
    """An image with three known tissues in blocks, and their labels.

    The middle and the bright tissue have the most voxels.
    """
    random = np.random.default_rng(3)
    tissue = np.digitize(np.arange(shape[0]) / shape[0], (0.2, 0.6))
    labels = np.broadcast_to(tissue.reshape(-1, *[1] * (len(shape) - 1)), shape)
    image = np.asarray(LEVELS)[labels] + random.normal(0, noise, shape)
    return image.astype(np.float32), labels


def make_shading(shape: tuple[int, ...], strength: float = 0.2) -> Any:
    """A log field that rises along the last axis, along which the tissues do not change."""
    ramp = np.linspace(-strength, strength, shape[-1])
    return np.broadcast_to(ramp, shape).astype(np.float32)


def read_pixels(content: bytes, mode: str = "L") -> Any:
    """The pixels of a picture, as integers that can be subtracted."""
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened.convert(mode)).astype(int)


def make_measures(number: int, suffix: str) -> dict[str, Any]:
    """Made-up measures, which differ between scans."""
    random = np.random.default_rng([number, len(suffix)])
    bump = np.exp(-(np.linspace(-3, 3, 128) ** 2)) * 2000
    counts = random.poisson(bump).tolist()
    low, high = random.normal(0.7, 0.02), random.normal(1.4, 0.04)
    one, other = random.normal(0.1, 0.005, 2)
    return {
        "FieldRange": [low, high],
        "FieldWindow": [0.75, 1.333],
        "cjv_before": one * 6,
        "cjv_after": other * 5,
        "inu_med": 1.0,
        "inu_range": 0.4,
        "inu_p05": low + 0.1,
        "inu_p95": high - 0.1,
        "Histogram": {"Range": [0, 1000], "Before": counts, "After": counts[::-1]},
    }


def write_record(
    output: Path,
    subject: str,
    session: str | None,
    suffix: str,
    measures: dict[str, Any],
    pictures: dict[str, bytes] | None = None,
    shape: tuple[int, ...] = (96, 96, 88),
    more: dict[str, Any] | None = None,
) -> Path:
    """Write a record and its pictures as a run does; return the file of the record.

    ``more`` has entries that are added or replaced.
    """
    middle = f"_ses-{session}" if session else ""
    folder = output / f"sub-{subject}" / (f"ses-{session}" if session else "")
    stem = f"sub-{subject}{middle}_desc-n4_{suffix}"
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, content in (pictures or {}).items():
        (folder / "figures" / f"{stem}_{name}.webp").write_bytes(content)
    anat = (folder / "anat").relative_to(output)
    entries = {
        "Source": f"{anat}/sub-{subject}{middle}_{suffix}.nii.gz",
        "Output": f"{anat}/{stem}.nii.gz",
        "Subject": subject,
        "Session": session,
        "Suffix": suffix,
        "Shape": list(shape),
        "VoxelSize": [2.0] * len(shape),
        "Mask": "otsu",
        "Engine": "cpu",
        "Iterations": [3, 5],
        "Stopped": ["converged", "iteration limit"],
        "Convergence": [[0.01, 0.003, 0.0009], [0.02, None, 0.008, 0.006, 0.005]],
        "Notes": ["the mask has 12 voxels"],
        "Threshold": 0.001,
        "Seconds": {"Total": 1.2, "Read": 0.1, "N4": 0.8, "Write": 0.3, "Report": 0.1},
        "Measures": measures,
        "Version": "0.2.0",
    }
    path = folder / "figures" / f"{stem}.json"
    path.write_text(json.dumps(entries | (more or {})))
    return path


def read_data(page: Path, name: str) -> Any:
    """The data that a page has for its script, by the id of their element."""
    start = f'<script type="application/json" id="{name}">'
    [text] = page.read_text(encoding="utf-8").split(start)[1:]
    return json.loads(text.split("</script>")[0])


def read_scans(page: Path, source: str | None = None) -> list[dict[str, Any]]:
    """The scans in the data of the page of the group, or the one with this path."""
    data = read_data(page, "data")
    rows = [dict(zip(data["Columns"], cells, strict=True)) for cells in data["Rows"]]
    return [row for row in rows if source in (None, row["source"])]
