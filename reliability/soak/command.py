"""``python -m reliability soak``: memory that runs out, leaks, peaks of memory, and warnings."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import click

from benchmarks.peers import ROOT
from reliability.records import write_record
from reliability.soak.doors import DOORS
from reliability.soak.hook import can_hook, run_hooked
from reliability.soak.peaks import find_broken
from reliability.soak.quiet import try_doors
from reliability.soak.shortage import LARGE

Row = dict[str, Any]

CASES = (
    ("large requests, one fails", LARGE, False, False),
    ("large requests, all fail from then on", LARGE, True, False),
    ("the kernels' requests, one fails", 1, False, True),
)
"""What fails: a name, the least bytes of a request, whether later ones fail, whether of kernels."""

LIMITS = {"fit": 1 << 16, "n4ax correct": 1 << 18, "n4ax-N4BiasFieldCorrection": 1 << 17}
"""Steps of the limit on memory, in bytes; before modules are loaded, 8 times as much."""

OF_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "OPENBLAS_NUM_THREADS": "1",
}
"""These leave a process no memory that it has got and does not use."""

PARTS = ("shortage", "limits", "leaks", "loaders", "peaks", "warnings")


def measure_shortage(most: int) -> list[Row]:
    """Let requests for memory fail at every door."""
    rows = []
    for what, above, onwards, kernels in CASES:
        for name in DOORS:
            words = (name, str(above), str(int(onwards)), str(int(kernels)), str(most))
            rows.append({"what": what, "door": name, **run_hooked("shortage", *words)})
            _say(rows[-1])
    return rows


def measure_limits(coarser: int) -> list[Row]:
    """Raise a limit on memory at some doors, step by step; ``coarser`` multiplies the steps."""
    rows = []
    for name, step in LIMITS.items():
        for warm in (True, False):
            size = step * coarser * (1 if warm else 8)
            words = [name, str(size), str(int(warm)), "56", "52", "48"]
            rows.append({"door": name, "warm": warm, **_run_limits(words)})
            _say(rows[-1])
    return rows


def _run_limits(words: list[str]) -> Row:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    command = [sys.executable, "-m", "reliability.soak.limits", *words]
    environment = os.environ | OF_MALLOC | {"PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _say(row: Row) -> None:
    wrong = f", {len(row['problems'])} wrong" if row["problems"] else ""
    what = row.get("what") or f"limit rises ({'loaded' if row['warm'] else 'not loaded'})"
    told, survived = row["told"], row["survived"]
    click.echo(
        f"{row['door']}: {what}: {row['tried']} runs, {told} told, {survived} went on{wrong}"
    )


def find_problems(result: Row) -> list[str]:
    """Everything that is wrong in what was measured, a line each."""
    lines = [
        f"{row['door']}, {n}: {problem}"
        for part in ("shortage", "limits")
        for row in result.get(part, [])
        for n, problem in row["problems"].items()
    ]
    for part in ("leaks", "loaders"):
        lines += [f"{k}: more {v['leaks']}" for k, v in result.get(part, {}).items() if v["leaks"]]
    lines += [f"more than is promised: {row}" for row in find_broken(result.get("peaks"))]
    return lines + [f"{name}: {text}" for name, text in result.get("warnings", {}).items() if text]


@click.command()
@click.option("--solves", default=10_000, show_default=True, help="Solves in one process.")
@click.option("--most", default=200, show_default=True, help="Requests that fail, of each door.")
@click.option("--coarser", default=2, show_default=True, help="Factor of the steps of the limit.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only these.")
def main(solves: int, most: int, coarser: int, parts: tuple[str, ...]) -> None:
    """Take memory away, solve thousands of times, count peaks, and turn warnings into errors."""
    if not can_hook():
        raise click.ClickException("this needs Linux and a C compiler")
    start = time.perf_counter()
    work = {
        "shortage": lambda: measure_shortage(most),
        "limits": lambda: measure_limits(coarser),
        "leaks": lambda: run_hooked("solves", str(solves), "300", "300", echo=True),
        "loaders": lambda: run_hooked("loaders", "6", "8", "21", echo=True),
        "peaks": lambda: run_hooked("peaks", "full", echo=True),
        "warnings": try_doors,
    }
    result: Row = {}
    for part in parts or PARTS:
        click.echo(f"-- {part}")
        result[part] = work[part]()
    problems = find_problems(result)
    result["problems"] = problems
    if not parts:
        path = write_record("soak", result, seconds=time.perf_counter() - start)
        click.echo(f"wrote {path.relative_to(ROOT)}")
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(bool(problems))
