"""A random problem by the program of n4ax and by ANTs' own, which runs here.

With ``N4AX_ARITHMETIC=itk`` the voxels of both files must be ANTs'. The default arithmetic must be
as near to ANTs as it is to itself.
"""

import os
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import numpy as np

import n4ax
from n4ax.ants.program import main
from n4ax.errors import InputError
from reliability.differential.as_ants import write_ants_options
from reliability.differential.given import Given
from reliability.differential.noise import count_until_rest, measure, move_image
from reliability.differential.problems import Array, Problem, make_problem
from reliability.differential.running import run
from reliability.differential.simpleitk import is_documented
from tests.support import ants
from tests.support.bits import check_bits

THREADS = (1, 1, 2, 2, 3, 4)


def compare(random: Random, folder: Path) -> dict[str, Any]:
    """Give a problem to both; tell how far they are apart, and what is out of the bounds."""
    source = np.random.default_rng(random.getrandbits(64))
    given = Given(simplify(make_problem(source)), folder, source)
    threads = int(source.choice(THREADS))
    rescale = list[str]()
    if given.problem.mask is not None:
        rescale = [[], ["-r", "0"], ["-r", "1"]][source.integers(3)]
    words = write_ants_options(given) + rescale
    said: dict[str, Any] = {"threads": threads, "found": [], "refused": False}
    theirs = run_theirs(words, folder, threads)
    if theirs is None:
        return said | {"refused": True, "refused by ITK": "ANTs' program ended with status 1"}
    try:
        for found, expected, what in zip(
            run_ours(words, given, "itk", threads), theirs, ("corrected", "field"), strict=True
        ):
            check_bits(found, expected, what)
    except InputError as error:
        if not is_documented(error):
            said["found"].append(f"bits: {error}")
        return said | {"refused": True, "why": str(error)}
    except AssertionError as error:
        said["found"].append(f"bits: {error}")
    return said | compare_default(end_before_rest(given), rescale, threads, said["found"])


def compare_default(
    given: Given, rescale: list[str], threads: int, found: list[str]
) -> dict[str, Any]:
    """Hold the default arithmetic against ANTs' answer and its own differences."""
    words = write_ants_options(given) + rescale
    theirs = run_theirs(words, given.folder, threads)
    assert theirs is not None, "ANTs fails with fewer iterations"
    try:
        ours = run_ours(words, given, "limit", threads)
    except InputError as error:
        return {"refused": True, "why": str(error)}

    def find_neighbour(number: int) -> Array:
        if number == 0:
            answer = run_theirs(words, given.folder, 1 if threads > 1 else 2)
        else:
            scan: Any = nib.load(given.paths["image"])
            voxels = move_image(np.asarray(scan.dataobj, np.float32), number)
            path = given.folder / "moved.nii"
            nib.save(nib.Nifti1Image(voxels, scan.affine), path)
            moved = [str(path) if word == str(given.paths["image"]) else word for word in words]
            answer = run_theirs(moved, given.folder, threads)
        assert answer is not None, "ANTs fails one ulp away"
        return np.log(answer[1].astype(np.float64))

    logs = [np.log(one[1].astype(np.float64)) for one in (ours, theirs)]
    said = measure(logs[0], logs[1], given.problem.inside, find_neighbour)
    if not said["within"]:
        found.append(f"field: {said}")
    return said


def simplify(problem: Problem) -> Problem:
    """The problem without what ANTs' program cannot be given."""
    keywords = {name: value for name, value in problem.keywords.items() if name != "mask_label"}
    if not isinstance(keywords.get("shrink_factor", 1), int):
        keywords["shrink_factor"] = max(keywords["shrink_factor"])
    # ANTs does not say at which iteration a level ends, so that all are done.
    keywords["conv_threshold"] = 0.0
    mask = problem.mask
    if mask is None and problem.word == "otsu":
        mask = n4ax.otsu_mask(problem.voxels).astype(np.uint8)
    return replace(problem, mask=mask, keywords=keywords)


def end_before_rest(given: Given) -> Given:
    """The problem with as many iterations as move anything; ANTs does not say its measures."""
    try:
        measures = given.fit_images(np.float32).convergence
    except InputError:
        return given
    keywords = given.problem.keywords | {"iters": count_until_rest(measures)}
    return Given(replace(given.problem, keywords=keywords), given.folder, given.random)


def run_theirs(words: list[str], folder: Path, threads: int) -> tuple[Array, Array] | None:
    """The corrected image and the field of ANTs; ``None`` if it fails."""
    paths = folder / "theirs.nii", folder / "theirs_bias.nii"
    if ants.run_for_status(*words, "-o", f"[{paths[0]},{paths[1]}]", threads=threads):
        return None
    return _load_both(paths)


def run_ours(words: list[str], given: Given, arithmetic: str, threads: int) -> tuple[Array, Array]:
    """The corrected image and the field of n4ax.

    Raises
    ------
    InputError
        It refuses the problem.
    """
    paths = given.folder / "ours.nii", given.folder / "ours_bias.nii"
    variables = {
        "N4AX_ARITHMETIC": arithmetic,
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads),
    }
    run(main, [*words, "-o", f"[{paths[0]},{paths[1]}]"], given, variables)
    return _load_both(paths)


def _load_both(paths: tuple[os.PathLike[str], os.PathLike[str]]) -> tuple[Array, Array]:
    corrected, bias = (np.asarray(nib.load(path).dataobj.get_unscaled()) for path in paths)  # type: ignore[attr-defined]
    return corrected, bias
