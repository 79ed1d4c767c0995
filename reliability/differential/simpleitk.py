"""A random problem by n4ax and by SimpleITK, which runs here.

With ``arithmetic="itk"`` every bit must be SimpleITK's (``docs/itk-bits.md``). The default
arithmetic must be as near to SimpleITK as it is to itself, after as many iterations; levels that
end at another iteration are counted, and must have had a measure beside the threshold.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import SimpleITK as sitk

import n4ax
from n4ax.errors import InputError
from n4ax.result import N4Result
from reliability.differential.given import Given, to_array
from reliability.differential.noise import FACTOR, count_until_rest, measure, move_image
from reliability.differential.problems import Problem, make_problem
from tests.support import itk
from tests.support.bits import check_run

THREADS = (1, 1, 2, 2, 3, 4, 8)
MANY, RARELY = 64, 0.02
"""So many threads take ITK long to start, and are tried in this share of the problems."""

MEASURES = 1e-3
"""How far convergence measures may differ, relative to each other, or ``FACTOR`` times as far as
ITK's own."""


@dataclass(frozen=True)
class Pair:
    """A problem as SimpleITK takes it: image, mask, its keywords and its number of threads."""

    image: sitk.Image
    mask: sitk.Image | None
    keywords: dict[str, Any]
    threads: int

    def run_itk(self, image: Any = None, threads: int | None = None) -> itk.ItkResult:
        """SimpleITK's answer, for another image or number of threads if one is given."""
        return itk.correct_image(
            self.image if image is None else image,
            self.mask,
            threads=threads or self.threads,
            **self.keywords,
        )

    def run_neighbour(self, number: int) -> itk.ItkResult:
        """SimpleITK's answer with another number of threads, or for a neighbour of the image."""
        if number == 0:
            return self.run_itk(threads=1 if self.threads > 1 else 2)
        voxels = np.asarray(sitk.GetArrayFromImage(self.image), np.float32)
        moved = sitk.GetImageFromArray(move_image(voxels, number))
        moved.CopyInformation(self.image)
        return self.run_itk(moved)

    def run_ours(self, **more: Any) -> N4Result[Any]:
        """The answer of n4ax."""
        mask = "all" if self.mask is None else self.mask
        return n4ax.fit(self.image, mask, **self.keywords | more)


def compare(random: Random, folder: Path) -> dict[str, Any]:
    """Give a problem to both; tell how far they are apart, and what is out of the bounds."""
    source = np.random.default_rng(random.getrandbits(64))
    given = Given(simplify(make_problem(source)), folder, source)
    pair = make_pair(given)
    said: dict[str, Any] = {"threads": pair.threads, "found": [], "refused": False}
    try:
        theirs = pair.run_itk()
    except RuntimeError as error:  # such as a point that lies outside of the spline by rounding
        return said | {"refused": True, "refused by ITK": str(error).splitlines()[-1]}
    try:
        check_run(pair.run_ours(arithmetic="itk", itk_threads=pair.threads), theirs)
    except InputError as error:
        if not is_documented(error):
            said["found"].append(f"bits: {error}")
        return said | {"refused": True, "why": str(error)}
    except AssertionError as error:
        said["found"].append(f"bits: {error}")
    try:
        ours = pair.run_ours()
    except InputError as error:  # such as a single intensity, of which ITK makes any number
        return said | {"refused": True, "why": str(error)}
    return said | compare_default(pair, ours, theirs, given, said["found"])


def is_documented(error: InputError) -> bool:
    """Whether an answer of ITK's is refused for a reason that ``docs/itk-bits.md`` names."""
    return any(reason in str(error) for reason in ("the field is not finite", "no voxel is left"))


def compare_default(
    pair: Pair, ours: N4Result[Any], theirs: itk.ItkResult, given: Given, found: list[str]
) -> dict[str, Any]:
    """Hold the default arithmetic against SimpleITK's answer and its own differences."""
    said: dict[str, Any] = {"stops differ": ours.iterations != theirs.iterations}
    if said["stops differ"]:
        said |= examine_stops(pair, ours, theirs)
        if not said["explained"]:
            found.append(f"stops: {ours.iterations} for {theirs.iterations}: {said}")
    # As many iterations each, since neighbours that end elsewhere are no neighbours.
    alike = {"iters": tuple(theirs.iterations), "conv_threshold": 0.0}
    alike["iters"] = count_until_rest(pair.run_ours(**alike).convergence)
    pair = replace(pair, keywords=pair.keywords | alike)
    ours, theirs = pair.run_ours(), pair.run_itk()
    if ours.iterations != theirs.iterations:  # a measure of ITK's that is 0 ends a level too
        return said
    inside = given.problem.inside
    said |= measure(
        to_array(ours.log_bias),
        theirs.log_bias.T,
        inside,
        lambda number: pair.run_neighbour(number).log_bias.T,
    )
    if not said["within"]:
        found.append(f"field: {said}")
    return said


def examine_stops(pair: Pair, ours: N4Result[Any], theirs: itk.ItkResult) -> dict[str, Any]:
    """Say by how little the first level that ended elsewhere went the other way."""
    pairs = list(zip(ours.iterations, theirs.iterations, strict=True))
    level = next(k for k, (one, other) in enumerate(pairs) if one != other)
    last = min(pairs[level]) - 1
    own, expected = ours.convergence[level][last], theirs.convergence[level][last]
    others = [pair.run_neighbour(number) for number in range(4)]
    noise = max(
        abs(other.convergence[level][last] / expected - 1)
        if len(other.convergence[level]) > last
        else np.inf
        for other in others
    )
    gap = abs(own / expected - 1)
    return {
        "measures differ": gap,
        "own measures differ": noise,
        "own stops differ": any(other.iterations != theirs.iterations for other in others),
        "explained": bool(gap <= max(MEASURES, FACTOR * noise)),
    }


def simplify(problem: Problem) -> Problem:
    """The problem without what SimpleITK's filter cannot be given."""
    if problem.mask is None and problem.word == "otsu":
        # Its own type decides about Otsu's mask of 8 bits.
        problem = replace(problem, mask=n4ax.otsu_mask(problem.voxels).astype(np.uint8))
    return replace(problem, weights=None)


def make_pair(given: Given) -> Pair:
    """Images and keywords for both, and a number of threads."""
    problem, image = given.problem, given.read("image")
    is_float = problem.voxels.dtype.kind == "f"
    # SimpleITK divides a float64 image by a float32 field only in the filter itself.
    if not is_float or "shrink_factor" in problem.keywords:
        image = sitk.Cast(image, sitk.sitkFloat32)
    mask = None if problem.mask is None else sitk.Cast(given.read("mask"), sitk.sitkUInt8)
    keywords = dict(problem.keywords)
    mesh = np.broadcast_to(keywords.pop("mesh"), problem.ndim)
    keywords["control_points"] = tuple(int(n) + keywords["spline_order"] for n in mesh)
    threads = MANY if given.random.random() < RARELY else int(given.random.choice(THREADS))
    return Pair(image, mask, keywords, threads)
