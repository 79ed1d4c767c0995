"""Measures the numerical stability, and draws it."""

from pathlib import Path
from typing import Any

import click

from benchmarks.peers import ROOT
from reliability.records import write_record
from reliability.stability.bits import find_confidence_loss
from reliability.stability.measure import Plan, measure_scan
from reliability.stability.picture import draw
from reliability.stability.programs import ITERS, RULES
from reliability.stability.scans import KEPT, LARGE, list_scans, load_scan
from reliability.stability.store import add_seconds
from reliability.stability.summary import summarise

IMAGES = ROOT / "docs" / "images"
OUTCOMES = ROOT / "build" / "stability"


@click.command()
@click.option("--seed", default=0, show_default=True, help="Decides the roundings.")
@click.option(
    "--samples",
    type=click.IntRange(2),
    default=10,
    show_default=True,
    help="Perturbed inputs of each volume.",
)
@click.option(
    "--stage-samples",
    type=click.IntRange(2),
    default=5,
    show_default=True,
    help="Runs for each stage.",
)
@click.option(
    "--live",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Inputs that SimpleITK itself answers.",
)
@click.option("--volumes", multiple=True, help="Only these, by the beginning of their names.")
@click.option("--folder", type=click.Path(path_type=Path), default=OUTCOMES, show_default=False,
              help="Where outcomes are kept; build/stability.")  # fmt: skip
def main(
    seed: int, samples: int, stage_samples: int, live: int, volumes: tuple[str, ...], folder: Path
) -> None:
    """Count the significant bits of N4 by ITK and by n4ax, under one-ulp perturbations.

    Outcomes that are in the folder already are read, so that a run can be stopped and continued.
    Remove the folder after a change of the numbers.
    """
    plan = Plan(seed, samples, stage_samples, live, folder / f"seed-{seed}")
    names = choose_scans(volumes)
    found = []
    for number, name in enumerate(names, 1):
        scan = load_scan(name)
        click.echo(f"{number} of {len(names)}: {scan.title}, {scan.voxels:,} voxels in the mask")
        found.append(measure_scan(scan, plan, lambda text: print(text, flush=True)))
    summary = summarise(found, samples, stage_samples)
    result = describe_plan(plan) | {"summary": summary, "volumes": found}
    if volumes:
        click.echo("some volumes only: no record is written")
    else:
        path = write_record("stability", result, seconds=add_seconds(plan.folder))
        draw(result, IMAGES)
        click.echo(f"wrote {path.relative_to(ROOT)}")
    raise SystemExit(int(has_failed(result)))


def choose_scans(beginnings: tuple[str, ...]) -> list[str]:
    """Choose the volumes whose names begin so; without beginnings, all that are here."""
    there = list_scans()
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in there):
            raise click.BadParameter(
                f"no volume begins with {beginning!r}; give the beginning of one of "
                + ", ".join(there),
                param_hint="--volumes",
            )
    return [name for name in there if not beginnings or name.startswith(beginnings)]


def describe_plan(plan: Plan) -> dict[str, Any]:
    """What holds for all volumes."""
    return {
        "seed": plan.seed,
        "samples": plan.samples,
        "stage_samples": plan.stage_samples,
        "iterations": list(ITERS),
        "thresholds": RULES,
        "kept": KEPT,
        "large": LARGE,
        "certain_less": round(find_confidence_loss(plan.samples), 2),
    }


def has_failed(result: dict[str, Any]) -> bool:
    """Whether equal inputs had different bits, or SimpleITK other bits than its arithmetic."""
    summary = result["summary"]
    return bool(summary["live"]["different"] or summary["repeated"]["different"])
