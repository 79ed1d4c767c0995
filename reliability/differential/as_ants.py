"""ANTs' doors: its program, ANTsPy's function, and nipype's interface."""

import os
import warnings
from unittest.mock import patch

import numpy as np

import n4ax.ants
from n4ax import N4Settings
from n4ax.ants.program import main as run_ants
from n4ax.errors import InputError
from n4ax.level import compute_bias
from reliability.differential.given import (
    PLAIN,
    Answer,
    Given,
    InapplicableError,
    check_same,
    to_array,
)
from reliability.differential.running import join, load_voxels, run

AS_ANTS = tuple(name for name in PLAIN if name not in ("mask_label", "itk_tool"))


def write_ants_options(given: Given) -> list[str]:
    """The options of ANTs' program for a problem."""
    problem, keywords = given.problem, given.problem.keywords
    words = ["-d", str(problem.ndim), "-s", str(keywords.get("shrink_factor", 1))]
    words += ["-c", f"[{join(keywords['iters'])},{keywords['conv_threshold']!r}]"]
    words += ["-b", f"[{join(keywords['mesh'], problem.ndim)},{keywords['spline_order']}]"]
    words += ["-t", f"[{keywords['fwhm']!r},{keywords['wiener']!r},{keywords['nbins']}]"]
    for flag, name in (("-i", "image"), ("-x", "mask"), ("-w", "weights")):
        if name in given.paths:
            words += [flag, str(given.paths[name])]
    return words


def choose_variables(given: Given) -> dict[str, str]:
    """The variables that choose the arithmetic of ANTs' doors."""
    keywords = given.problem.keywords
    return {
        "N4AX_ARITHMETIC": keywords.get("arithmetic", "limit"),
        "N4AX_ITK_VERSION": str(keywords.get("itk_version", 5)),
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(keywords.get("itk_threads", 1)),
    }


def prepare_for_ants(given: Given) -> Given | None:
    """The problem as ANTs can be given it; ``None`` if it cannot."""
    if not isinstance(given.problem.keywords.get("shrink_factor", 1), int):
        return None
    if given.uses_otsu:
        return None
    changes = {} if given.problem.mask is None else {"outside": "keep"}
    if given.problem.keywords.get("arithmetic") == "itk":
        changes["itk_tool"] = "ants"
    return given.keep(AS_ANTS, **changes)


def correct_as_ants(given: Given) -> None:
    """ANTs' program, and ``fit``."""
    plain = prepare_for_ants(given)
    if plain is None:
        raise InapplicableError
    words = [*write_ants_options(plain), "-r", "0", "-o", "[p.nii,pb.nii]"]
    run(run_ants, words, plain, choose_variables(plain))
    expected = plain.of_singles
    bias = compute_bias(expected["log_bias"], N4Settings(**plain.problem.keywords))
    found = {"corrected": load_voxels(plain, "p.nii"), "bias": load_voxels(plain, "pb.nii")}
    check_same(found, expected | {"bias": bias})


def call_as_antspy(given: Given) -> None:
    """ANTsPy's function, and ANTs' program with rescaling."""
    plain = prepare_for_ants(given)
    if plain is None or plain.problem.mask is None:
        raise InapplicableError
    usual = {"nbins": 200, "fwhm": 0.15, "wiener": 0.01, "spline_order": 3}
    keywords = plain.problem.keywords | usual
    plain = plain.keep((), **keywords)
    words = [*write_ants_options(plain), "-o", "[p.nii,pb.nii]"]
    run(run_ants, words, plain, choose_variables(plain))
    mesh = np.broadcast_to(keywords["mesh"], plain.problem.ndim).tolist()
    answer: Answer = {}
    for name, bias in (("corrected", False), ("bias", True)):
        with patch.dict(os.environ, choose_variables(plain)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of negative intensities
            found = n4ax.ants.n4_bias_field_correction(
                plain.load("image"), plain.load("mask"), True, keywords.get("shrink_factor", 1),
                {"iters": keywords["iters"], "tol": keywords["conv_threshold"]}, mesh, bias,
                weight_mask=plain.load("weights"),
            )  # fmt: skip
        answer[name] = to_array(found)
    expected = {"corrected": load_voxels(plain, "p.nii"), "bias": load_voxels(plain, "pb.nii")}
    check_same(answer, expected)


def run_in_nipype(given: Given) -> None:
    """The interface of nipype, which starts ANTs' program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from n4ax.nipype import N4BiasFieldCorrection

        plain = prepare_for_ants(given)
        if plain is None or plain.problem.mask is None or plain.problem.ndim != 3:
            raise InapplicableError
        keywords = plain.problem.keywords | {"spline_order": 3}
        plain = plain.keep((), **keywords)
        usual = {"nbins": 200, "fwhm": 0.15, "wiener": 0.01}
        plain = plain.keep(tuple(keywords), **usual)
        node = N4BiasFieldCorrection(
            input_image=str(plain.paths["image"]), mask_image=str(plain.paths["mask"]),
            dimension=3, shrink_factor=keywords.get("shrink_factor", 1),
            n_iterations=list(keywords["iters"]), rescale_intensities=False,
            convergence_threshold=keywords["conv_threshold"], save_bias=True,
            output_image=str(plain.folder / "n.nii"), bias_image=str(plain.folder / "nb.nii"),
            environ=choose_variables(plain), num_threads=keywords.get("itk_threads", 1),
        )  # fmt: skip
        if "weights" in plain.paths:
            node.inputs.weight_image = str(plain.paths["weights"])
        before = os.getcwd()
        os.chdir(plain.folder)
        try:
            node.run()
        except RuntimeError as error:
            raise InputError("{0}", error) from None
        finally:
            os.chdir(before)
    plain = plain.keep(tuple(keywords), mesh=1)
    # Without rescaling nipype leaves -r out, and ANTs then rescales in a mask.
    words = [*write_ants_options(plain), "-o", "[p.nii,pb.nii]"]
    run(run_ants, words, plain, choose_variables(plain))
    check_same(
        {"corrected": load_voxels(plain, "n.nii"), "bias": load_voxels(plain, "nb.nii")},
        {"corrected": load_voxels(plain, "p.nii"), "bias": load_voxels(plain, "pb.nii")},
    )


DOORS = (correct_as_ants, call_as_antspy)
RARE = (run_in_nipype,)
"""Doors that take seconds."""
