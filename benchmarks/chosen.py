"""What is chosen for real volumes, whose true field nobody knows.

A field that is stronger than that of the defaults would be suspicious, and so would be another
answer for the same image, mirrored, scaled or with a little noise.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

import n4ax
from benchmarks.volumes import DATA

Array = npt.NDArray[Any]

NOISE = 0.01
"""Standard deviation of the noise that is added, as a fraction of the median in the mask."""
SCALE = 3.7
FEW = 2
"""So many volumes are enough for a quick run."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Choose settings for every volume; ``rounds`` is not used, since the answers stay the same."""
    del rounds
    paths = sorted(DATA.glob("*.nii.gz"))
    volumes = [measure_volume(path) for path in (paths[:FEW] if quick else paths)]
    return {"volumes": volumes, "noise": NOISE, "scale": SCALE}


def measure_volume(path: Path) -> dict[str, Any]:
    """The fields of the defaults and of the choice in the Otsu mask, and how firm the choice is."""
    scan = nib.Nifti1Image(np.asarray(nib.load(path).dataobj, np.float32), nib.load(path).affine)
    image = np.asarray(scan.dataobj)
    mask = np.asarray(n4ax.otsu_mask(image)).astype(bool)
    defaults = n4ax.fit(scan, mask.astype(np.uint8))
    chosen = n4ax.fit(scan, mask.astype(np.uint8), preset="auto")
    field = _load(chosen.log_bias)[mask]
    noise = np.random.default_rng(0).normal(0, NOISE * np.median(image[mask]), image.shape)
    changed = {
        "mirrored": _measure_change(scan, mask, field, lambda a: np.flip(a, 0), lambda a: a),
        "scaled": _measure_change(scan, mask, field, lambda a: a, lambda a: a * SCALE),
        "noise": _measure_change(scan, mask, field, lambda a: a, lambda a: a + noise),
    }
    print(f"  {path.name}: {chosen.choice.sentence} {changed}", flush=True)
    return {
        "name": path.name.removesuffix(".nii.gz"),
        "defaults": _spread(_load(defaults.log_bias)[mask]),
        "auto": _spread(field),
        "sentence": chosen.choice.sentence,
        "notes": chosen.verdict.codes,
        "notes_defaults": defaults.verdict.codes,
        "changed": changed,
    }


def _measure_change(
    scan: nib.Nifti1Image,
    mask: Array,
    field: Array,
    turn: Callable[[Array], Array],
    change: Callable[[Array], Array],
) -> float:
    """By how much the field differs for a changed image, after it is turned back, in percent."""
    image = np.ascontiguousarray(turn(change(np.asarray(scan.dataobj)))).astype(np.float32)
    inside = np.ascontiguousarray(turn(mask)).astype(np.uint8)
    again = n4ax.fit(nib.Nifti1Image(image, scan.affine), inside, preset="auto")
    return _spread(turn(_load(again.log_bias))[mask] - field)


def _load(image: nib.Nifti1Image) -> Array:
    return np.asarray(image.dataobj, np.float64)


def _spread(values: Array) -> float:
    """The standard deviation of a log field, in percent."""
    return round(float(100 * np.std(values)), 2)


def draw(result: dict[str, Any], folder: Path) -> None:
    """There is no plot: the picture of the page is drawn by ``scripts/make_figures.py``."""
    del result, folder
