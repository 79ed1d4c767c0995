"""How far the rules of ITK 5 and those of ITK 6 are apart in the default arithmetic.

The volumes are the packaged head, and those of the cached answers of ITK 6 in ``../shared/oracle``
if that folder is there. Images that were made for it show what the rules are about.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import n4ax
from benchmarks.exactness import SMALL, choose_keywords, open_case
from benchmarks.volumes import (
    ORACLE,
    PACKAGED,
    TITLES,
    compare_fields,
    load_volume,
    move_by_one_ulp,
)

SEEDS = 3
PREFIX = "itk6_64_"

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[Any]


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Compare all volumes; ``rounds`` is not used, since the answers are the same every time."""
    del rounds
    head = load_volume(PACKAGED, 2 if quick else 1)
    rows = [measure_volume(TITLES[PACKAGED], head.image, head.mask, {})]
    for path in sorted(ORACLE.glob(f"{PREFIX}*.json")):
        case = json.loads(path.read_text())
        if not quick or case["masked_voxels"] <= SMALL:
            rows.append(measure_cached(case))
            print(f"  {rows[-1]['name']}: {rows[-1]['versions']}", flush=True)
    made = [measure_darkest(head.image, head.mask), measure_ramp()]
    return {"cached": ORACLE.is_dir(), "seeds": SEEDS, "volumes": rows, "made": made}


def measure_volume(
    name: str, image: Image, mask: Mask, keywords: dict[str, Any], answer: Any = None
) -> dict[str, Any]:
    """Both versions on a volume, and version 5 on the volume moved by one ulp.

    ``answer`` is a cached answer of ITK 6.
    """
    five, six = fit_both(image, mask, keywords)
    others = [fit(move_by_one_ulp(image, seed), mask, keywords) for seed in range(SEEDS)]
    moved = [compare_fields(other.log_bias, five.log_bias, mask) for other in others]
    found: dict[str, Any] = {
        "name": name,
        "voxels": int(np.count_nonzero(mask)),
        "iterations": {"5": five.iterations, "6": six.iterations},
        "versions": compare_fields(six.log_bias, five.log_bias, mask),
        "noise": {key: max(gap[key] for gap in moved) for key in ("mean", "max")},
    }
    if answer is not None:
        at = tuple(answer["index"].T)
        gap = compare_fields(six.log_bias[at], answer["log_bias"], answer["in_mask"])
        found["to_itk"] = gap
    return found


def measure_cached(case: dict[str, Any]) -> dict[str, Any]:
    """Both versions on the volume of a cached answer of ITK 6."""
    image, mask, spacing = open_case(case)
    keywords = choose_keywords(case) | {"spacing": spacing, "voxel_order": "F"}
    answer = np.load(ORACLE / f"{case['name']}.npz")
    name = case["name"].removeprefix(PREFIX)
    return measure_volume(name, image, mask, keywords, answer) | {"itk": case["against_itk5_64"]}


def measure_darkest(image: Image, mask: Mask) -> dict[str, Any]:
    """Both versions on the head, the first voxel of its mask being darker than all others."""
    image = image.copy()
    image[tuple(np.argwhere(mask)[0])] = 1
    return measure_made("the packaged head, the first voxel of its mask set to 1", image, mask)


def measure_ramp() -> dict[str, Any]:
    """Both versions on an image whose every voxel is brighter than the one before it."""
    shape = (20, 22, 24)
    image = np.linspace(100, 500, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return measure_made(f"a ramp from 100 to 500 over {image.size:,} voxels", image, image > 0)


def measure_made(name: str, image: Image, mask: Mask) -> dict[str, Any]:
    """The difference of both versions on an image, and the range of the field of each."""
    five, six = fit_both(image, mask, {})
    inside = mask != 0
    ranges = {
        version: [float(result.log_bias[inside].min()), float(result.log_bias[inside].max())]
        for version, result in (("5", five), ("6", six))
    }
    gap = compare_fields(six.log_bias, five.log_bias, mask)
    return {"name": name, "versions": gap, "ranges": ranges}


def fit_both(image: Image, mask: Mask, keywords: dict[str, Any]) -> tuple[Any, Any]:
    """The results by the rules of ITK 5 and of ITK 6."""
    return fit(image, mask, keywords), fit(image, mask, keywords | {"itk_version": 6})


def fit(image: Image, mask: Mask, keywords: dict[str, Any]) -> Any:
    return n4ax.fit(image, mask, engine="cpu", **keywords)


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draw nothing, because the tables say it all."""
    del result, folder
