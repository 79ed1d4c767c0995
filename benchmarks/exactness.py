"""How close to ITK, and how close ITK is to itself: writes docs/exactness.md.

Usage: python -m benchmarks.exactness [--self-noise] [CASE ...]

Compares with the cached answers of SimpleITK in ../shared/oracle. ``--self-noise`` also measures
SimpleITK against itself over 6 inputs changed by one ulp (hours for the large volumes, which are
left out unless named) and writes tests/data/self_noise.json; otherwise that file is read.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tests import itk

import n4ax
from benchmarks.peers import DATA, ROOT, old_n4ax, volume

ORACLE = DATA.parent / "oracle"
NOISE_FILE = ROOT / "tests" / "data" / "self_noise.json"
PAGE = ROOT / "docs" / "exactness.md"
SMALL = 120_000
"""Voxels in the mask up to which the self-noise is measured without being asked for by name."""

NAMES = {"iters": "iters", "thr": "conv_threshold", "bins": "nbins", "fwhm": "fwhm",
         "wiener": "wiener", "order": "spline_order", "points": "control_points",
         "shrink": "shrink_factor"}  # fmt: skip


def main(arguments: list[str]) -> None:
    measure = "--self-noise" in arguments
    chosen = [name for name in arguments if not name.startswith("--")]
    names = chosen or sorted(path.stem for path in ORACLE.glob("sitk_*.json"))
    noise = json.loads(NOISE_FILE.read_text()) if NOISE_FILE.exists() else {}
    rows = []
    for name in names:
        case = json.loads((ORACLE / f"{name}.json").read_text())
        if measure and (chosen or case["masked_voxels"] <= SMALL):
            noise[name] = self_noise(name, case)
            NOISE_FILE.write_text(json.dumps(noise, indent=1, sort_keys=True) + "\n")
        rows.append(compare(name, case) | {"noise": noise.get(name)})
        print(rows[-1], flush=True)
    if not chosen:
        PAGE.write_text(page(rows))


def keywords(case: dict[str, Any]) -> dict[str, Any]:
    return {ours: case[theirs] for theirs, ours in NAMES.items() if theirs in case}


def compare(name: str, case: dict[str, Any]) -> dict[str, Any]:
    """Ours and n4ax 0.1.1 against the cached answer."""
    answer = np.load(ORACLE / f"{name}.npz")
    image, spacing = volume(case["vol"])
    mask = n4ax.otsu_mask(image) if case["mask"] == "otsu" else (image > 0).astype(np.uint8)
    start = time.perf_counter()
    result = n4ax.fit(image, mask, spacing=spacing, voxel_order="F", **keywords(case))
    seconds = time.perf_counter() - start
    by_xla = n4ax.fit(image, mask, spacing=spacing, voxel_order="F", engine="xla", **keywords(case))
    at, inside = tuple(answer["index"].T), answer["in_mask"]
    expected = answer["log_bias"]
    measures = np.concatenate(result.convergence)
    theirs = np.array([value for _, _, value in case["convergence"]])
    same = result.iterations == case["iterations"]
    error = np.abs(measures / theirs - 1) if same else np.array([np.nan])
    return {
        "name": name,
        "voxels": case["masked_voxels"],
        "iterations": (result.iterations, by_xla.iterations, case["iterations"]),
        "measure_first": float(error[:10].max()),
        "measure_all": float(error.max()),
        "ours": differences(result.log_bias[at], expected, inside),
        "xla": differences(by_xla.log_bias[at], expected, inside),
        "old": old_differences(image, mask, case, at, expected, inside),
        "threads": case.get("thread_spread"),
        "seconds": (seconds, case["seconds"]),
    }


def differences(
    found: npt.NDArray[Any], expected: npt.NDArray[Any], inside: npt.NDArray[Any]
) -> dict[str, float]:
    gap = np.abs(found - expected)[inside]
    return {"mean": float(gap.mean()), "max": float(gap.max())}


def old_differences(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    case: dict[str, Any],
    at: tuple[Any, ...],
    expected: npt.NDArray[Any],
    inside: npt.NDArray[Any],
) -> dict[str, float] | None:
    """n4ax 0.1.1 with the iterations that ITK did, where it has the parameters."""
    if {"shrink", "points", "order"} & set(case):
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npy"
        # Its last axis is the one that runs fastest, like ours by default.
        np.savez(source, image=np.ascontiguousarray(image.T), mask=np.ascontiguousarray(mask.T))
        settings = {"iters": case["iterations"], "over_relax": 1.0, "conv_threshold": 0.0}
        request = {"input": str(source), "output": str(target), "keywords": settings}
        worker = Path(__file__).with_name("old_worker.py")
        subprocess.run(
            [sys.executable, str(worker), str(old_n4ax())],
            input=json.dumps(request) + "\n",
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return differences(np.load(target).T[at], expected, inside)


def self_noise(name: str, case: dict[str, Any]) -> dict[str, float]:
    """SimpleITK against its cached answer, over 6 inputs changed by one ulp."""
    answer = np.load(ORACLE / f"{name}.npz")
    image, _ = volume(case["vol"])
    mask = n4ax.otsu_mask(image) if case["mask"] == "otsu" else (image > 0).astype(np.uint8)
    at, inside = tuple(answer["index"].T), answer["in_mask"]
    settings = {k: v for k, v in keywords(case).items() if k != "shrink_factor"}
    if "control_points" in settings:
        settings["control_points"] = settings["control_points"][::-1]
    if "iters" in settings:
        settings["iters"] = tuple(settings["iters"])
    assert "shrink" not in case, "measure it by hand"
    found = []
    for seed in range(6):
        changed = itk.one_ulp_off(image, seed)
        log_bias = itk.correct(changed.T, mask.T, **settings).log_bias.T[at]
        found.append(differences(log_bias, answer["log_bias"], inside))
        print(f"  {name}: ITK to itself {found[-1]}", flush=True)
    return {key: max(one[key] for one in found) for key in ("mean", "max")}


def page(rows: list[dict[str, Any]]) -> str:
    def pair(value: dict[str, float] | None) -> str:
        return "" if value is None else f"{value['mean']:.1e} / {value['max']:.1e}"

    lines = [
        "# Exactness",
        "",
        "Difference of the log bias field in the mask to SimpleITK 2.5.7 at 64 threads, mean / "
        "largest, **no scale or offset removed**, on real volumes at full resolution. Written by "
        "`make exactness`.",
        "",
        "- *ITK to itself*: SimpleITK to SimpleITK, largest of 6 inputs whose voxels were moved "
        "by one float32 ulp (or of one, from the cached answers). An implementation cannot be "
        "told from ITK where its difference to ITK is of this size.",
        "- *ITK, 1 thread*: SimpleITK at 1 thread to SimpleITK at 64, from the cached answers: its "
        "float32 sums depend on the number of threads.",
        "- *n4ax 0.1.1*: with as many iterations per level as ITK did and no over-relaxation; – "
        "where it does not have the parameters.",
        "- *measure*: largest relative difference of the convergence measure, over the first 10 "
        "iterations / over all.",
        "- *by XLA*: the XLA engine, on the CPU.",
        "An empty place: not measured.",
        "",
        "| case | voxels in mask | iterations per level, ours = ITK | measure | n4ax | by XLA | "
        "ITK to itself | ITK, 1 thread | n4ax 0.1.1 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, by_xla, theirs = row["iterations"]
        same = "yes" if ours == by_xla == theirs else f"**no**, XLA {by_xla}, ITK {theirs}"
        lines.append(
            f"| {row['name'].removeprefix('sitk_')} | {row['voxels']:,} | {ours} {same} | "
            f"{row['measure_first']:.0e} / {row['measure_all']:.0e} | {pair(row['ours'])} | "
            f"{pair(row['xla'])} | "
            f"{pair(row['noise'])} | {pair(row['threads'])} | {pair(row['old']) or '–'} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
