"""ANTs against itself on the cached cases: writes tests/data/ants_self_noise.json.

Usage: ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=64 python -m benchmarks.ants_noise CASE ...

ANTsPy runs each case of ../shared/oracle on 6 inputs changed by one float32 ulp; kept is its
largest difference to the cached answer, of the log field and, relative, of the corrected image,
in the mask. Minutes per case.
"""

import json
import sys
from typing import Any

import numpy as np
from tests import itk

import ants
import n4ax
from benchmarks.peers import DATA, ROOT, volume

ORACLE = DATA.parent / "oracle"
NOISE_FILE = ROOT / "tests" / "data" / "ants_self_noise.json"


def main(names: list[str]) -> None:
    for name in names:
        found = [difference(name, seed) for seed in range(6)]
        noise = json.loads(NOISE_FILE.read_text()) if NOISE_FILE.exists() else {}
        noise[name] = {key: max(one[key] for one in found) for key in ("mean", "max")}
        NOISE_FILE.write_text(json.dumps(noise, indent=1, sort_keys=True) + "\n")
        print(name, noise[name], flush=True)


def difference(name: str, seed: int) -> dict[str, float]:
    case = json.loads((ORACLE / f"{name}.json").read_text())
    answer = np.load(ORACLE / f"{name}.npz")
    image, spacing = volume(case["vol"])
    changed = itk.one_ulp_off(image, seed)
    mask = n4ax.otsu_mask(image).astype(np.float32) if case["mask"] == "otsu" else None
    weights = None
    if case.get("weights"):
        ramp = np.linspace(0.2, 1, image.shape[0], dtype=np.float32)[:, None, None]
        weights = ramp * mask
    keywords: dict[str, Any] = {
        "shrink_factor": case["s"],
        "convergence": {"iters": case["iters"], "tol": case["tol"]},
        "spline_param": case.get("spline"),
        "rescale_intensities": bool(case.get("rescale")),
    }
    scan, inside, confidence = (
        None if array is None else ants.from_numpy(np.ascontiguousarray(array), spacing=spacing)
        for array in (changed, mask, weights)
    )
    outputs = [
        ants.n4_bias_field_correction(
            scan, inside, weight_mask=confidence, return_bias_field=bias, **keywords
        ).numpy()
        for bias in ((True,) if inside is None else (True, False))
    ]
    at = tuple(answer["index"].T)
    kept = answer["in_mask"] if "in_mask" in answer else np.ones(len(answer["index"]), bool)
    gaps = [np.abs(np.log(outputs[0][at]) - answer["log_bias"])[kept]]
    if len(outputs) > 1:
        scale = np.maximum(np.abs(answer["corrected"]), 1.0)
        gaps.append((np.abs(outputs[1][at] - answer["corrected"]) / scale)[kept])
    return {"mean": max(float(g.mean()) for g in gaps), "max": max(float(g.max()) for g in gaps)}


if __name__ == "__main__":
    main(sys.argv[1:])
