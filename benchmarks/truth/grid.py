"""The cases that methods are judged on, and a table of their errors.

Cases come in parts. The first part has every contrast under every field, in brain masks at 3 mm.
The other parts change one thing each: the noise, the mask or the voxel size.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from statistics import median
from typing import Any, NamedTuple

from benchmarks.truth.fields import SPREADS
from benchmarks.truth.judge import error
from benchmarks.truth.methods import BEST, METHODS, Mask, find_best
from benchmarks.truth.phantoms import CONTRASTS, Case, make_case

Field = tuple[str, float]

FIELDS: tuple[Field, ...] = (
    ("none", 1.0),
    ("coils", 1.15), ("coils", 1.4), ("coils", 2.0), ("coils", 3.0),
    ("7 T", 1.3), ("7 T", 2.0), ("7 T", 3.0),
    ("polynomial", 1.3), ("polynomial", 2.0),
    ("slices", 1.4),
)  # fmt: skip
FEW_FIELDS: tuple[Field, ...] = (("none", 1.0), ("coils", 1.4), ("7 T", 2.0))

SEEDS = (0, 1, 2, 3)
"""The even ones are for choosing settings, the odd ones are held back."""

NOISE = {0: 0.02, 1: 0.04, 2: 0.04, 3: 0.02}
"""The noise of each seed, where the noise is not what a part is about."""


class Part(NamedTuple):
    """Cases that differ from those of the first part in one thing."""

    title: str
    fields: Sequence[Field] = FEW_FIELDS
    contrasts: Sequence[str] = ("T1w", "T2w", "FLAIR")
    seeds: Sequence[int] = (0, 1)
    voxels: Sequence[float | tuple[float, float, float]] = (3.0,)
    noise: Sequence[float | None] = (None,)
    """``None`` is the noise of the seed."""
    mask: Mask = "brain"
    """With another mask than the brain, the case is a whole head."""

    def plan(self) -> Iterator["Plan"]:
        """Every case of the part."""
        for voxel, noise, (kind, strength), contrast, seed in product(
            self.voxels, self.noise, self.fields, self.contrasts, self.seeds
        ):
            sigma = NOISE[seed] if noise is None else noise
            yield Plan(kind, strength, contrast, sigma, seed, voxel, self.mask)


class Plan(NamedTuple):
    """What a case is made from, and the mask that methods work in."""

    kind: str
    strength: float
    contrast: str
    noise: float
    seed: int
    voxel: float | tuple[float, float, float]
    mask: Mask

    def make(self) -> Case:
        """The case itself."""
        return make_case(*self[:-1], head=self.mask != "brain")


PARTS: dict[str, Part] = {
    "brain": Part("Brain masks, 3 mm", FIELDS, tuple(CONTRASTS), SEEDS),
    "head": Part("Whole heads, mask by Otsu's threshold", mask="otsu"),
    "all": Part("Whole heads, no mask", mask="all"),
    "noise 1 %": Part("Brain masks, noise 1 %", noise=(0.01,)),
    "noise 8 %": Part("Brain masks, noise 8 %", noise=(0.08,)),
    "thick": Part("Brain masks, slices of 5 mm (1 × 1 × 5 mm)", voxels=((1.0, 1.0, 5.0),),
                  contrasts=("T2w", "FLAIR")),
    "2 mm": Part("Brain masks, 2 mm", contrasts=("T1w", "FLAIR"), voxels=(2.0,)),
    "1 mm": Part("Brain masks, 1 mm", contrasts=("T1w",), voxels=(1.0,)),
}  # fmt: skip

QUICK: dict[str, Part] = {
    "brain": Part("Brain masks, 3 mm", FEW_FIELDS, ("T1w", "FLAIR")),
    "head": Part("Whole heads, mask by Otsu's threshold", FEW_FIELDS[:2], ("T1w",), mask="otsu"),
}


Errors = dict[str, dict[str, float]]
"""For each method its median and its worst error, in percent."""


def judge_parts(parts: dict[str, Part]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Judge all cases of some parts, with a process for each processor; see :func:`judge_plan`.

    Cases of 3 mm are too small for more than one thread.
    """
    processors = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(processors, get_context("spawn")) as pool:
        waiting = {name: pool.map(judge_plan, part.plan()) for name, part in parts.items()}
        for name, rows in waiting.items():
            yield name, list(rows)


def judge_plan(plan: Plan) -> dict[str, Any]:
    """Make a case and find the errors of all methods in it, in percent."""
    case = plan.make()
    errors = {name: error(method(case, plan.mask), case) for name, method in METHODS.items()}
    errors[BEST] = find_best(case, plan.mask, errors)
    return plan._asdict() | {"half": case.half, "errors": errors}


def summarise_strata(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The errors in each stratum, which is a kind of field with a strength.

    ``spread`` is the standard deviation of its log fields, in percent.
    """
    groups = group_rows(rows, "kind", "strength")
    return [
        {
            "kind": kind,
            "strength": strength,
            "spread": 100 * SPREADS[strength],
            "cases": len(own),
            "errors": summarise(own),
        }
        for (kind, strength), own in groups.items()
    ]


def summarise_by(rows: Sequence[dict[str, Any]], what: str) -> dict[str, Errors]:
    """The errors for each value that the rows have for ``what``, such as each contrast."""
    return {value: summarise(own) for (value,), own in group_rows(rows, what).items()}


def summarise(rows: Sequence[dict[str, Any]]) -> Errors:
    """The median and the worst error of each method, rounded to a hundredth of a percent."""
    return {
        name: {"median": round(median(found), 2), "worst": round(max(found), 2)}
        for name in rows[0]["errors"]
        if (found := [row["errors"][name] for row in rows])
    }


def group_rows(
    rows: Sequence[dict[str, Any]], *names: str
) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The rows by their values for some names, in the order in which the values first come."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups
