"""How close n4ax is to ANTs' cached answers in ``../shared/oracle``, and ANTs to itself."""

import json
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

import n4ax
from benchmarks.peers import ROOT, Worker, prepare_peer
from benchmarks.volumes import DATA, ORACLE, compare_fields, count_different_bits, move_by_one_ulp
from n4ax.ants.steps import AntsResult, Request, Volume, correct_as_ants
from n4ax.inputs import Run
from n4ax.itk.space import Space
from n4ax.settings import N4Settings

SMALL = 200_000
"""Up to this many voxels in the mask, ANTs is compared with itself in this run.

Such cases have a shrink factor of 3 or 4.
"""

AS_ANTS = {"arithmetic": "itk", "itk_tool": "ants", "itk_threads": 64}
"""What the cached answers were made with."""

Arrays = dict[str, npt.NDArray[np.float32]]


def measure_cases(quick: bool, seeds: int) -> list[dict[str, Any]]:
    """Compare all cached cases with ANTs, and ANTs with itself on ``seeds`` changed images."""
    found = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Worker(prepare_peer("ANTsPy"), threads=64) as worker,
    ):
        for path in sorted(ORACLE.glob("ants_*.json")):
            case = json.loads(path.read_text())
            if quick and case["masked_voxels"] > SMALL:
                continue
            arrays, spacing = open_case(case)
            answer = dict(np.load(ORACLE / f"{case['name']}.npz"))
            row = {
                "name": case["name"].removeprefix("ants_"),
                "volume": case["vol"],
                "options": format_options(case),
                "voxels": case["masked_voxels"],
                **compare_answer(*run_ours(case, arrays, spacing), answer),
                "itk": compare_bits(case, arrays, spacing, answer),
            }
            if quick or case["masked_voxels"] > SMALL:
                row["noise"] = read_noise(case)
            else:
                moved = [move_by_one_ulp(arrays["image"], seed) for seed in range(seeds)]
                changed = [arrays | {"image": image} for image in moved]
                row["noise"] = measure_noise(case, changed, spacing, answer, worker, Path(folder))
            print(f"  {row['name']}: {row['field']}", flush=True)
            found.append(row)
    return found


def format_options(case: dict[str, Any]) -> str:
    """The options of a case as ANTs' program takes them."""
    iters = "x".join(map(str, case["iters"]))
    words = [f"-s {case['s']} -c [{iters},{case['tol']:g}]"]
    if spline := case.get("spline"):
        words.append(f"-b [{'x'.join(map(str, spline)) if isinstance(spline, list) else spline}]")
    weights = case.get("weights")
    if case["mask"] and weights != "mask":
        words.append("-x MASK" + (" -r" if case.get("rescale") else ""))
    if weights:
        words.append("-w MASK" if weights == "mask" else "-w WEIGHTS")
    return " ".join(words)


def open_case(case: dict[str, Any]) -> tuple[Arrays, tuple[float, ...]]:
    """The image, with mask and weights if the case has them, and the voxel size in mm.

    Arrays are in nibabel's axis order.
    """
    scan = nib.load(DATA / f"{case['vol']}.nii.gz")
    image = np.asarray(scan.dataobj, np.float32).squeeze()
    if case.get("truncate"):
        image = np.clip(image, *np.quantile(image, (0.01, 0.999))).astype(np.float32)
    arrays = {"image": image}
    if case["mask"] is not None:
        chosen = n4ax.otsu_mask(image) if case["mask"] == "otsu" else image > 0
        arrays["mask"] = chosen.astype(np.float32)
    if case.get("weights") == "mask":
        arrays["weights"] = arrays["mask"]
        arrays["mask"] = np.ones_like(image)
    elif case.get("weights"):
        ramp = np.linspace(0.2, 1, image.shape[0], dtype=np.float32)[:, None, None]
        arrays["weights"] = ramp * arrays["mask"]
    return arrays, tuple(float(size) for size in scan.header.get_zooms()[: image.ndim])


def correct_case(
    case: dict[str, Any], arrays: Arrays, spacing: tuple[float, ...], **arithmetic: Any
) -> AntsResult:
    """The result of our ``N4BiasFieldCorrection``, in the arithmetic that the keywords ask for.

    The cached answers were made from arrays, which have voxel sizes but no place in space.
    """
    spline = case.get("spline")
    mesh = {"spline_distance": spline} if isinstance(spline, int) else {"mesh": spline or 1}
    settings = N4Settings(
        iters=case["iters"],
        conv_threshold=case["tol"],
        shrink_factor=case["s"],
        outside="keep",
        voxel_order="F",
        **mesh,
        **arithmetic,
    )
    plain = Space.from_spacing(spacing)
    scans = [
        Volume(name, arrays[name], None, plain) if name in arrays else None
        for name in ("image", "mask", "weights")
    ]
    request = Request(*scans, settings, rescale=bool(case.get("rescale")))
    return correct_as_ants(request, Run(), warn=lambda _: None)


def run_ours(
    case: dict[str, Any], arrays: Arrays, spacing: tuple[float, ...]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The log field and the corrected image of our ``N4BiasFieldCorrection``."""
    found = correct_case(case, arrays, spacing)
    return found.result.log_bias, found.image


def compare_bits(
    case: dict[str, Any], arrays: Arrays, spacing: tuple[float, ...], answer: Arrays
) -> dict[str, int]:
    """Count the voxels that differ from those of ANTs at 64 threads in the arithmetic of ITK.

    The cached field is NumPy's logarithm of the field that ANTs gives.
    """
    found = correct_case(case, arrays, spacing, **AS_ANTS)
    at = tuple(answer["index"].T)
    return {
        "field": count_different_bits(np.log(found.bias[at]), answer["log_bias"]),
        "corrected": count_different_bits(found.image[at], answer["corrected"]),
        "voxels": len(answer["index"]),
    }


def compare_answer(
    log_bias: npt.NDArray[Any], corrected: npt.NDArray[Any], answer: Arrays
) -> dict[str, dict[str, float]]:
    """Differences of the log field, and relative ones of the corrected image, in the mask."""
    at = tuple(answer["index"].T)
    inside = answer.get("in_mask", np.ones(len(answer["index"]), bool))
    scale = np.maximum(np.abs(answer["corrected"]), 1.0)
    return {
        "field": compare_fields(log_bias[at], answer["log_bias"], inside),
        "image": compare_fields(corrected[at] / scale, answer["corrected"] / scale, inside),
    }


def read_noise(case: dict[str, Any]) -> dict[str, Any] | None:
    """ANTs compared with itself earlier: the largest of 6 runs, or the result of a single one.

    The first is in the repository, the second beside the cached answer.
    """
    kept = json.loads((ROOT / "tests" / "data" / "ants_self_noise.json").read_text())
    if case["name"] in kept:
        return kept[case["name"]] | {"seeds": 6}
    return case["self_noise"] | {"seeds": 1} if "self_noise" in case else None


def measure_noise(
    case: dict[str, Any],
    changed: list[Arrays],
    spacing: tuple[float, ...],
    answer: Arrays,
    worker: Worker,
    folder: Path,
) -> dict[str, Any]:
    """The largest difference of ANTs' log fields on changed images to its cached answer."""
    settings = {
        "shrink_factor": case["s"],
        "convergence": {"iters": case["iters"], "tol": case["tol"]},
        "spline_param": case.get("spline"),
        "rescale_intensities": bool(case.get("rescale")),
    }
    found = []
    source, target = str(folder / "in.npz"), str(folder / "out.npz")
    for arrays in changed:
        np.savez(source, spacing=np.array(spacing), **arrays)
        worker.ask(do="ants_field", input=source, keywords=settings, output=target)
        done = np.load(target)
        found.append(compare_answer(done["log_bias"], done["corrected"], answer)["field"])
    return {key: max(gap[key] for gap in found) for key in ("mean", "max")} | {
        "seeds": len(changed)
    }
