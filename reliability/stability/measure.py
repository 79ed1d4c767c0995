"""What is measured on a volume: perturbed inputs, perturbed stages, and programs side by side."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.volumes import count_different_bits
from reliability.stability.bits import (
    average,
    compare_casts,
    count_common,
    count_significant,
    describe_bits,
)
from reliability.stability.programs import (
    ITK_1,
    ITK_64,
    OURS,
    RULES,
    THREADS,
    Outcome,
    list_programs,
    run_ours,
    run_simpleitk,
)
from reliability.stability.rounding import move_input
from reliability.stability.scans import Scan
from reliability.stability.stages import EVERY, STAGED, STAGES, pose_scan, run_stage
from reliability.stability.store import obtain

FIRST_RULE = next(iter(RULES))
"""Stages are perturbed, and SimpleITK itself is run, with this rule."""

BRIGHTEST = 0.999
"""This quantile of an image becomes 255 in 8 bits."""


class Plan(NamedTuple):
    """How much is measured."""

    seed: int
    samples: int
    """Perturbed inputs of each program."""
    stage_samples: int
    """Runs for each stage."""
    live: int
    """Inputs that SimpleITK itself answers; the first is the volume as it is."""
    folder: Path
    """Where outcomes are kept."""


Tell = Callable[[str], None]


def measure_scan(scan: Scan, plan: Plan, tell: Tell) -> dict[str, Any]:
    """Measure all that the page says of a volume."""
    top = float(np.quantile(scan.image, BRIGHTEST))
    found = {rule: run_programs(scan, rule, plan, tell) for rule in RULES}
    return {
        "name": scan.name,
        "title": scan.title,
        "shape": list(scan.image.shape),
        "voxels": scan.voxels,
        "kept": len(scan.kept),
        "shrink": scan.shrink,
        "input": describe_input(scan, plan),
        "rules": {rule: describe_rule(programs, top) for rule, programs in found.items()},
        "stages": {name: measure_stages(scan, name, plan, tell) for name in STAGED},
        "live": check_simpleitk(scan, found[FIRST_RULE], plan, tell),
        "repeated": check_repetition(scan, found[FIRST_RULE], plan),
    }


def describe_rule(found: dict[str, list[Outcome]], top: float) -> dict[str, Any]:
    """What the programs have found with one rule, each for itself and side by side."""
    return {
        "rows": {name: describe_program(outcomes, top) for name, outcomes in found.items()},
        "pairs": compare_programs({name: each[0] for name, each in found.items()}, top),
    }


# ---- perturbed inputs --------------------------------------------------------------------------


def run_programs(scan: Scan, rule: str, plan: Plan, tell: Tell) -> dict[str, list[Outcome]]:
    """The outcomes of every program: on the volume as it is, and on its perturbed samples."""
    programs = list_programs(rule)
    found: dict[str, list[Outcome]] = {name: [] for name in programs}
    for sample in range(plan.samples + 1):
        image = cache(lambda sample=sample: move_input(scan.image, plan.seed, sample))
        for name in programs:
            words = [scan.name, rule, name, str(sample)]
            found[name].append(
                obtain(
                    plan.folder,
                    words,
                    lambda name=name, image=image: run_ours(scan, image(), name, rule),
                )
            )
        iterations = ", ".join(f"{name} {found[name][-1].iterations}" for name in programs)
        tell(f"  {rule}, sample {sample}: {iterations}")
    return found


def describe_input(scan: Scan, plan: Plan) -> dict[str, float]:
    """The significant bits of the perturbed inputs themselves."""
    kept = scan.image.ravel()[scan.kept]
    return describe_bits(
        count_significant(
            np.stack([move_input(kept, plan.seed, sample + 1) for sample in range(plan.samples)])
        )
    )


def describe_program(outcomes: Sequence[Outcome], top: float) -> dict[str, Any]:
    """The bits of a program, its stops, and how many voxels change after a cast to integers.

    The first outcome is that of the volume as it is.
    """
    plain, *perturbed = outcomes
    return describe_bits_of(perturbed) | {
        "iterations": plain.iterations,
        "stops": count_stops(perturbed, plain),
        "most": find_largest_gap(perturbed, plain),
        "casts": average([compare_casts(o.corrected, plain.corrected, top) for o in perturbed]),
    }


def describe_bits_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The significant bits of the field and of the corrected image."""
    fields = np.exp(np.stack([outcome.log_bias for outcome in outcomes]).astype(np.float64))
    corrected = np.stack([outcome.corrected for outcome in outcomes])
    return {
        "field": describe_bits(count_significant(fields)),
        "corrected": describe_bits(count_significant(corrected)),
    }


def count_stops(perturbed: Sequence[Outcome], plain: Outcome) -> int:
    """Count the samples in which a level ended at another iteration than without perturbation."""
    return sum(outcome.iterations != plain.iterations for outcome in perturbed)


def find_largest_gap(perturbed: Sequence[Outcome], plain: Outcome) -> float:
    """The largest difference of a log field to that without perturbation."""
    before = plain.log_bias.astype(np.float64)
    return max(float(np.abs(outcome.log_bias - before).max()) for outcome in perturbed)


# ---- programs side by side ---------------------------------------------------------------------


def compare_programs(outcomes: dict[str, Outcome], top: float) -> dict[str, Any]:
    """Bits that programs have in common on the volume as it is."""
    named = [name for name in (ITK_1, ITK_64, OURS) if name in outcomes]
    return {
        f"{one} / {other}": compare_outcomes(outcomes[one], outcomes[other], top)
        for one, other in combinations(named, 2)
    }


def compare_outcomes(one: Outcome, other: Outcome, top: float) -> dict[str, Any]:
    """The bits in common, whether levels stop alike, and voxels that differ as integers."""
    fields = [np.exp(outcome.log_bias.astype(np.float64)) for outcome in (one, other)]
    return {
        "field": describe_bits(count_common(*fields)),
        "corrected": describe_bits(count_common(one.corrected, other.corrected)),
        "same_stops": one.iterations == other.iterations,
        "most": find_largest_gap([one], other),
        "casts": compare_casts(one.corrected, other.corrected, top),
    }


def check_simpleitk(
    scan: Scan, found: dict[str, list[Outcome]], plan: Plan, tell: Tell
) -> dict[str, int]:
    """Run SimpleITK itself on the first inputs, and count the values that have other bits."""
    total = {"runs": 0, "values": 0, "different": 0}
    for sample in range(min(plan.live, plan.samples + 1)):
        for name in THREADS:
            words = [scan.name, FIRST_RULE, f"SimpleITK {THREADS[name]}"]
            outcome = obtain(
                plan.folder,
                [*words, str(sample)],
                lambda name=name, sample=sample: run_simpleitk(
                    scan, move_input(scan.image, plan.seed, sample), name, FIRST_RULE
                ),
            )
            ours = found[name][sample]
            different = count_differences(outcome, ours)
            total["runs"] += 1
            total["values"] += 2 * len(scan.kept)
            total["different"] += different
            tell(f"  SimpleITK itself, {name}, sample {sample}: {different} values differ")
    return total


def check_repetition(scan: Scan, found: dict[str, list[Outcome]], plan: Plan) -> dict[str, int]:
    """Run the first perturbed input again, on one processor, and count what has other bits."""
    image = move_input(scan.image, plan.seed, 1)
    total = {"runs": 0, "different": 0}
    for name, outcomes in found.items():
        again = obtain(
            plan.folder,
            [scan.name, FIRST_RULE, name, "1 again"],
            lambda name=name: run_ours(scan, image, name, FIRST_RULE, num_threads=1),
        )
        total["runs"] += 1
        total["different"] += count_differences(again, outcomes[1])
    return total


def count_differences(one: Outcome, other: Outcome) -> int:
    """Count the values with other bits; other iterations count as a value each."""
    return (
        count_different_bits(one.log_bias, other.log_bias)
        + count_different_bits(one.corrected, other.corrected)
        + sum(a != b for a, b in zip(one.iterations, other.iterations, strict=True))
    )


# ---- perturbed stages --------------------------------------------------------------------------


def measure_stages(scan: Scan, program: str, plan: Plan, tell: Tell) -> dict[str, Any]:
    """The bits that are left when one stage is perturbed, for each stage and for all of them."""
    posed = cache(lambda: pose_scan(scan, program, FIRST_RULE))
    words = [scan.name, FIRST_RULE, f"stages of {program}"]
    plain = obtain(
        plan.folder, [*words, "none"], lambda: run_stage(scan, posed(), None, (plan.seed,))
    )
    found = {}
    for number, stage in enumerate((*STAGES, EVERY)):
        outcomes = [
            obtain(
                plan.folder,
                [*words, stage, str(sample)],
                lambda stage=stage, seed=(plan.seed, number, sample): run_stage(
                    scan, posed(), stage, seed
                ),
            )
            for sample in range(1, plan.stage_samples + 1)
        ]
        found[stage] = describe_bits_of(outcomes) | {"stops": count_stops(outcomes, plain)}
    medians = ", ".join(f"{stage} {each['field']['median']}" for stage, each in found.items())
    tell(f"  stages of {program}, bits of the field: {medians}")
    return found
