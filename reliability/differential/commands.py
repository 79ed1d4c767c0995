"""The command line: ``n4ax correct`` and ``n4ax apply``."""

from typing import Any

import numpy as np
import SimpleITK as sitk

import n4ax
from n4ax import BiasField
from n4ax.cli import main as run_n4ax
from n4ax.errors import InputError
from n4ax.level import compute_bias
from reliability.differential.given import Given, InapplicableError, check_same, describe, to_array
from reliability.differential.problems import Array
from reliability.differential.running import join, load_voxels, run

_OPTIONS = {
    "conv_threshold": "--conv-threshold", "nbins": "--nbins", "fwhm": "--fwhm",
    "wiener": "--wiener", "spline_order": "--spline-order", "mask_label": "--mask-label",
    "scale": "--scale", "outside": "--outside", "non_positive": "--non-positive",
    "over_relax": "--over-relax", "arithmetic": "--arithmetic", "itk_version": "--itk-version",
    "itk_threads": "--itk-threads", "itk_tool": "--itk-tool",
}  # fmt: skip


def write_options(given: Given) -> list[str]:
    """The options of ``n4ax correct`` for a problem."""
    words: list[str] = ["--mask", str(given.paths.get("mask", given.problem.word))]
    for name, value in given.problem.keywords.items():
        if name in ("iters", "mesh", "shrink_factor"):
            words += [f"--{name.replace('_', '-')}", join(value)]
        elif name == "accelerate":
            words += ["--accelerate"] if value else []
        else:
            words += [_OPTIONS[name], str(value)]
    if "weights" in given.paths:
        words += ["--weights", str(given.paths["weights"])]
    return words


def correct_by_command(given: Given) -> None:
    """``n4ax correct``, its image, its field, and its control points."""
    ending = given.random.choice([".nii", ".nii.gz"])
    words = ["correct", str(given.paths["image"]), "-o", f"c{ending}", "--bias", f"b{ending}"]
    run(run_n4ax, [*words, "--field", "f.npz", "-q", *write_options(given)], given)
    result = given.fit_images(np.float32)
    expected = given.of_singles | {
        "bias": compute_bias(to_array(result.log_bias), result.settings),
        "control points": result.field.control_points,
    }
    found = {
        "corrected": load_voxels(given, f"c{ending}"),
        "bias": load_voxels(given, f"b{ending}"),
        "control points": BiasField.load(given.folder / "f.npz").control_points,
    }
    check_same(found, expected)


def apply_by_command(given: Given) -> None:
    """``n4ax apply``, with control points and with a field as an image."""
    image = str(given.paths["image"])
    words = ["correct", image, "-o", "c.nii", "--field", "f.npz", "-q"]
    run(run_n4ax, [*words, *write_options(given)], given)
    run(run_n4ax, ["apply", "f.npz", image, "-o", "a.nii", "-q"], given)
    field = BiasField.load(given.folder / "f.npz")
    expected = field.apply(given.load("image", np.float32))
    check_same({"corrected": load_voxels(given, "a.nii")}, {"corrected": to_array(expected)})


def start_by_command(given: Given) -> None:
    """``n4ax correct --init``."""
    if not given.may_start:
        raise InapplicableError
    image = str(given.paths["image"])
    words = ["correct", image, "-o", "c.nii", "--field", "f.npz", "-q"]
    run(run_n4ax, [*words, *write_options(given)], given)
    words = ["correct", image, "-o", "i.nii", "--init", "f.npz", "-q"]
    run(run_n4ax, [*words, *write_options(given)], given)
    expected = given.fit_images(np.float32, init=BiasField.load(given.folder / "f.npz"))
    check_same({"corrected": load_voxels(given, "i.nii")}, describe(expected))


def read_other_formats(given: Given) -> None:
    """The same image in another format, by its name and by SimpleITK."""
    ending = given.random.choice([".nrrd", ".mha", ".nii.gz"])
    voxels = given.problem.voxels
    paths = {"image": given.folder / f"other{ending}"}
    sitk.WriteImage(given.read("image"), str(paths["image"]), ending != ".mha")
    if "mask" in given.paths:
        paths["mask"] = given.folder / f"other_mask{ending}"
        sitk.WriteImage(given.read("mask"), str(paths["mask"]), ending != ".mha")
    own = {name: sitk.ReadImage(str(path)) for name, path in paths.items()}
    if voxels.dtype != np.float32:
        own["image"] = sitk.Cast(own["image"], sitk.sitkFloat32)
    weights = given.read("weights")
    # What has another format lies where the image does; NIfTI beside NIfTI keeps its own place, the
    # last digits of which choose the samples (docs/quirks.md).
    if weights is not None and ending != ".nii.gz":
        weights.CopyInformation(own["image"])
    expected = n4ax.fit(
        own["image"], own.get("mask", given.mask), weights=weights, **given.problem.keywords
    )
    words = ["correct", str(paths["image"]), "-o", "c.nii", "-q", *write_options(given)]
    words[words.index("--mask") + 1] = str(paths.get("mask", given.mask))
    run(run_n4ax, words, given)
    check_same({"corrected": load_voxels(given, "c.nii")}, describe(expected))


def correct_slices(given: Given) -> None:
    """``n4ax correct --slicewise``, and each slice alone, where no sample falls midway."""
    problem, keywords = given.problem, given.problem.keywords
    if problem.ndim != 3 or problem.mask is None or keywords.get("shrink_factor", 1) != 1:
        raise InapplicableError
    if keywords.get("arithmetic") == "itk":  # the place of a slice enters ITK's last digits
        raise InapplicableError
    mesh = keywords["mesh"]
    flat = keywords | {"mesh": mesh if isinstance(mesh, int) else mesh[:2]}
    try:
        alone = {k: correct_slice(given, k, flat) for k in list_usable_slices(given)}
    except InputError:  # of a few voxels, for instance: the program names the slice
        raise InapplicableError from None
    straight = given.keep((), **flat)
    words = ["correct", "image.nii", "-o", "s.nii", "--slicewise", "-q", *write_options(straight)]
    run(run_n4ax, words, given)
    found = load_voxels(given, "s.nii")
    for k, expected in alone.items():
        check_same({"corrected": found[..., k]}, {"corrected": expected})


def list_usable_slices(given: Given) -> list[int]:
    """The slices in which two intensities are used; the others stay as they are."""
    problem = given.problem
    usable = problem.inside.copy()
    if problem.weights is not None:
        usable &= problem.weights > 0
    if problem.keywords.get("non_positive") == "exclude":
        usable &= problem.voxels > 0
    singles = problem.voxels.astype(np.float32)
    return [
        k
        for k in range(problem.voxels.shape[2])
        if np.unique(singles[..., k][usable[..., k]]).size > 1
    ]


def correct_slice(given: Given, number: int, keywords: dict[str, Any]) -> Array:
    """A slice corrected by itself."""
    image, mask, weights = (given.read(name) for name in ("image", "mask", "weights"))
    plane = sitk.Cast(image[..., number], sitk.sitkFloat32)
    if weights is not None:
        weights = weights[..., number]
    return to_array(n4ax.n4(plane, mask[..., number], weights=weights, **keywords))


DOORS = (
    correct_by_command, apply_by_command, start_by_command, read_other_formats, correct_slices,
)  # fmt: skip
