"""How close n4ax is to SimpleITK and to ANTs, and how close these are to themselves.

The references are their cached answers in ``../shared/oracle``, which were made with 64 threads,
where ITK's float32 sums come near the true sums. Without that folder, the reference is SimpleITK
run on this machine.
"""

import ctypes
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

import n4ax
from benchmarks import ants_exactness, plots
from benchmarks.peers import ROOT, Worker, prepare_peer
from benchmarks.volumes import (
    DATA,
    ORACLE,
    PACKAGED,
    TITLES,
    compare_fields,
    count_different_bits,
    load_volume,
    move_by_one_ulp,
)

SEEDS = 3
SMALL = 120_000
"""Up to this many voxels in the mask, ITK is compared with itself in this run."""

MANY_THREADS = 64
"""The number of threads with which the cached answers were made."""

NAMES = {
    "iters": "iters",
    "thr": "conv_threshold",
    "bins": "nbins",
    "fwhm": "fwhm",
    "wiener": "wiener",
    "order": "spline_order",
    "points": "control_points",
    "shrink": "shrink_factor",
}
"""The names of parameters in the cached cases, and the keywords of :func:`n4ax.n4`."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Compare all cases; ``rounds`` is not used, since the answers are the same every time."""
    del rounds
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        old = stack.enter_context(Worker(prepare_peer("n4ax 0.1.1")))
        itk = stack.enter_context(Worker(prepare_peer("SimpleITK"), threads=MANY_THREADS))
        if not ORACLE.is_dir():
            print(" ../shared is missing: comparing the packaged head with SimpleITK run here")
            rows = [measure_packaged(itk, old, folder, every=2 if quick else 1)]
            return {"cached": False, "simpleitk": rows, "ants": [], "seeds": 1}
        rows = []
        for path in sorted(ORACLE.glob("sitk_*.json")):
            case = json.loads(path.read_text())
            if quick and case["masked_voxels"] > SMALL:
                continue
            rows.append(measure_cached(case, old, folder))
            rows[-1]["noise"] = measure_noise(case, None if quick else itk, folder)
            print(f"  {rows[-1]['name']}: {rows[-1]['n4ax']}", flush=True)
    theirs = ants_exactness.measure_cases(quick, SEEDS)
    return {"cached": True, "simpleitk": rows, "ants": theirs, "seeds": SEEDS}


def measure_cached(case: dict[str, Any], old: Worker, folder: Path) -> dict[str, Any]:
    """Both engines and 0.1.1, compared with the cached answer."""
    answer = np.load(ORACLE / f"{case['name']}.npz")
    image, mask, spacing = open_case(case)
    at, inside = tuple(answer["index"].T), answer["in_mask"]
    settings = choose_keywords(case) | {"spacing": spacing}
    found = run_ours(image, mask, answer["log_bias"], at, inside, settings)
    theirs = {
        "iterations": case["iterations"],
        "measure": [value for _, _, value in case["convergence"]],
    }
    earlier = None
    if not {"shrink", "points", "order"} & set(case):  # 0.1.1 does not have these
        log_bias = run_old(old, image, mask, case["iterations"], folder)
        earlier = compare_fields(log_bias[at], answer["log_bias"], inside)
    return {
        "name": case["name"].removeprefix("sitk_"),
        "voxels": case["masked_voxels"],
        "n4ax 0.1.1": earlier,
        "threads": case.get("thread_spread"),
        "itk": compare_bits(image, mask, answer["log_bias"], at, choose_keywords(case)),
        **compare_runs(found, theirs),
    }


def compare_bits(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    expected: npt.NDArray[Any],
    at: tuple[Any, ...],
    settings: dict[str, Any],
) -> dict[str, int]:
    """Count the voxels that differ from SimpleITK's in the arithmetic of ITK.

    Parameters as for :func:`run_ours`. The cached answers were made from arrays without a voxel
    size, and so is ours; all voxels ``at`` count, not only those in the mask.
    """
    found = n4ax.fit(
        image,
        mask,
        voxel_order="F",
        engine="cpu",
        arithmetic="itk",
        itk_threads=MANY_THREADS,
        **settings,
    )
    corrected = divide_as_itk(image[at], expected, shrunken="shrink_factor" in settings)
    return {
        "field": count_different_bits(found.log_bias[at], expected),
        "corrected": count_different_bits(found.corrected[at], corrected),
        "voxels": int(expected.size),
    }


def divide_as_itk(
    image: npt.NDArray[np.float32], log_bias: npt.NDArray[np.float32], shrunken: bool
) -> npt.NDArray[np.float32]:
    """Divide voxels as SimpleITK does, by the exponential of its log field.

    The filter itself takes ``expf`` of the C library. After shrinking, users divide by
    ``sitk.Exp`` of the field, which rounds an exponential of double precision.
    """
    if shrunken:
        return image / np.exp(log_bias.astype(np.float64)).astype(np.float32)
    exponential = ctypes.CDLL("libm.so.6").expf
    exponential.restype, exponential.argtypes = ctypes.c_float, [ctypes.c_float]
    bias = [exponential(value) for value in log_bias.ravel().tolist()]
    return image / np.array(bias, np.float32).reshape(log_bias.shape)


def run_ours(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    expected: npt.NDArray[Any],
    at: tuple[Any, ...],
    inside: npt.NDArray[Any],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Difference, iterations and convergence measures of each engine.

    Arrays are in nibabel's axis order. ``expected`` is the reference at the voxels ``at``, and
    ``inside`` says which of them are in the mask.
    """
    found = {}
    for name, engine in (("n4ax", "cpu"), ("n4ax by XLA", "xla")):
        result = n4ax.fit(image, mask, voxel_order="F", engine=engine, **settings)
        found[name] = {
            "difference": compare_fields(np.asarray(result.log_bias)[at], expected, inside),
            "iterations": result.iterations,
            "measure": [value for level in result.convergence for value in level],
        }
    return found


def compare_runs(found: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The differences, whether levels stop at the same iteration, and errors of the measures."""
    first, second = found["n4ax"], found["n4ax by XLA"]
    same = first["iterations"] == second["iterations"] == theirs["iterations"]
    off = None
    if same and theirs["measure"]:
        each = np.abs(np.array(first["measure"]) / np.array(theirs["measure"]) - 1)
        off = {"first": float(each[:10].max()), "all": float(each.max())}
    return {
        "iterations": {name: each["iterations"] for name, each in found.items()}
        | {"SimpleITK": theirs["iterations"]},
        "same_iterations": same,
        "measure": off,
        **{name: each["difference"] for name, each in found.items()},
    }


def run_old(
    old: Worker, image: npt.NDArray[Any], mask: npt.NDArray[Any], iters: list[int], folder: Path
) -> npt.NDArray[Any]:
    """The log field of 0.1.1 with as many iterations as ITK did, without over-relaxation."""
    settings = {"iters": iters, "over_relax": 1.0, "conv_threshold": 0.0}
    return run_peer(old, image, mask, settings, folder)


def run_peer(
    worker: Worker,
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    settings: dict[str, Any],
    folder: Path,
) -> npt.NDArray[Any]:
    """A peer's log field for arrays in nibabel's axis order, in which ITK's x comes first."""
    source, target = folder / "in.npz", folder / "out.npy"
    np.savez(source, image=np.ascontiguousarray(image.T), mask=np.ascontiguousarray(mask.T))
    worker.ask(do="correct", input=str(source), output=str(target), keywords=settings)
    return np.load(target).T


def measure_noise(case: dict[str, Any], itk: Worker | None, folder: Path) -> dict[str, Any] | None:
    """The largest difference of SimpleITK, on images moved by one ulp, to its cached answer.

    It is measured here if that takes seconds, and else read from the repository.
    """
    name = case["name"]
    if itk is None or case["masked_voxels"] > SMALL:
        kept = json.loads((ROOT / "tests" / "data" / "self_noise.json").read_text())
        return kept[name] | {"seeds": None} if name in kept else None
    answer = np.load(ORACLE / f"{name}.npz")
    image, mask, _ = open_case(case)
    settings = choose_keywords(case)
    if "control_points" in settings:
        settings["control_points"] = settings["control_points"][::-1]
    found = []
    for seed in range(SEEDS):
        log_bias = run_peer(itk, move_by_one_ulp(image, seed), mask, settings, folder)
        at = tuple(answer["index"].T)
        found.append(compare_fields(log_bias[at], answer["log_bias"], answer["in_mask"]))
    return {key: max(gap[key] for gap in found) for key in ("mean", "max")} | {"seeds": SEEDS}


def open_case(
    case: dict[str, Any],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], tuple[float, ...]]:
    """The image, the mask and the voxel size in mm of a cached case, in nibabel's axis order."""
    scan = nib.load(DATA / f"{case['vol']}.nii.gz")
    image = np.asarray(scan.dataobj, np.float32).squeeze()
    mask = n4ax.otsu_mask(image) if case["mask"] == "otsu" else (image > 0).astype(np.uint8)
    return image, mask, tuple(float(size) for size in scan.header.get_zooms()[: image.ndim])


def choose_keywords(case: dict[str, Any]) -> dict[str, Any]:
    """The keywords of :func:`n4ax.n4` for a cached case."""
    return {ours: case[theirs] for theirs, ours in NAMES.items() if theirs in case}


def measure_packaged(itk: Worker, old: Worker, folder: Path, every: int) -> dict[str, Any]:
    """The packaged head at SimpleITK's defaults, compared with SimpleITK run here."""
    given = load_volume(PACKAGED, every)
    image, mask = given.image.T, given.mask.T
    source, target = given.save(folder), folder / "itk.npy"
    answer = itk.ask(do="correct", input=source, output=str(target), keywords={})
    expected, everywhere = np.load(target).T, (slice(None),) * image.ndim
    found = run_ours(image, mask, expected, everywhere, mask, {})
    theirs = {"iterations": answer["iterations"], "measure": []}
    changed = run_peer(itk, move_by_one_ulp(image, 0), mask, {}, folder)
    earlier = run_old(old, image, mask, answer["iterations"], folder)
    return {
        "name": TITLES[PACKAGED],
        "voxels": int(mask.sum()),
        "n4ax 0.1.1": compare_fields(earlier, expected, mask),
        "threads": None,
        "noise": compare_fields(changed, expected, mask) | {"seeds": 1},
        "itk": compare_bits(image, mask, expected, everywhere, {}),
        **compare_runs(found, theirs),
    }


def draw(result: dict[str, Any], folder: Path) -> None:
    """Plot the mean and the largest difference to SimpleITK for every case."""
    rows = result["simpleitk"]
    figure = Figure(figsize=(9, 1.6 + 0.33 * len(rows)))
    panels = figure.subplots(1, 2, sharey=True)
    dots = (
        ("n4ax 0.1.1", "n4ax 0.1.1", "v"),
        ("noise", "SimpleITK to itself, one ulp apart", "|"),
        ("n4ax by XLA", "n4ax by XLA", "s"),
        ("n4ax", "n4ax", "o"),
    )
    for panel, key in zip(panels, ("mean", "max"), strict=True):
        for name, label, marker in dots:
            known = [(n, row[name][key]) for n, row in enumerate(rows) if row.get(name)]
            colour = plots.COLOURS.get(name, plots.COLOURS["SimpleITK"])
            size = 16 if marker == "|" else 6
            panel.plot(
                [value for _, value in known], [n for n, _ in known], marker,
                color=colour, markersize=size, markeredgewidth=2 if marker == "|" else 1,
                label=label,
            )  # fmt: skip
        panel.set(xscale="log")
        what = "mean" if key == "mean" else "largest"
        panel.set_xlabel(f"{what} difference of the log field to SimpleITK")
    panels[0].set_yticks(range(len(rows)), [row["name"] for row in rows])
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    plots.save(figure, folder / "exactness-exactness.svg")
