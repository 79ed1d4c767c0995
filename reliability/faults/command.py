"""Lets system calls fail, kills programs and fills disks, and counts what was lost."""

import sys
import tempfile
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from reliability.faults.cases import COMMANDS, Case, choose
from reliability.faults.studies import Study, Tally, try_disasters, try_kills, try_runs_at_once
from reliability.faults.trials import Count, try_case
from reliability.records import write_record

_SHARES = {"a pair and a figure": 0.3, "two images": 1.0, "two participants": 1.0}
"""Of the faults of a case; a figure takes long."""
_STUDY = 0.4
"""A study takes longer than other commands."""


@click.command()
@click.option("--seed", default=1, show_default=True)
@click.option("--faults", "faults", default=1600, show_default=True, help="In system calls.")
@click.option("--kills", default=200, show_default=True, help="Of studies and their workers.")
@click.option("--only", help=f"Some commands, with commas: {','.join(COMMANDS)},studies.")
@click.option("--threads", default=2, show_default=True, help="So many commands run at a time.")
def main(seed: int, faults: int, kills: int, only: str | None, threads: int) -> None:
    """Let system calls of all commands fail, and kill studies."""
    start = time.monotonic()
    wanted = set(only.split(",")) if only else {*COMMANDS, "studies"}
    with ThreadPoolExecutor(threads) as pool:
        tasks = plan_cases(wanted, faults)
        trying = [pool.submit(_try, case, number, seed) for case, number in tasks]
        studies = try_studies(seed, kills) if "studies" in wanted else None
        counts = [
            (case.command, task.result()) for (case, _), task in zip(tasks, trying, strict=True)
        ]
    result = describe(counts, studies)
    for line in write_table(result):
        click.echo(line)
    write_record("faults", result | {"seed": seed}, seconds=time.monotonic() - start)
    sys.exit(result["losses"] > 0)


def plan_cases(wanted: Collection[str], faults: int) -> list[tuple[Case, int]]:
    """The cases of the wanted commands, with the number of faults of each; the longest first."""
    cases = choose(set(wanted))
    weights = [_STUDY if case.command == "bids" else _SHARES.get(case.name, 1.0) for case in cases]
    if len({case.command for case in cases}) == 1:
        weights = [1.0] * len(cases)
    shares = [round(faults * weight / sum(weights)) for weight in weights]
    pairs = zip(cases, shares, strict=True)
    return sorted(pairs, key=lambda pair: pair[0].program != "study")


def _try(case: Case, number: int, seed: int) -> Count:
    with tempfile.TemporaryDirectory() as folder:
        count = try_case(Path(folder), case, number, seed, click.echo)
    click.echo(f"{case.command}, {case.name}: {count.faults} faults, {len(count.losses)} losses")
    return count


def try_studies(seed: int, kills: int) -> Tally:
    """Kill studies, run two at once, and take their disks away."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), images=6)
        tally = try_kills(study, kills, seed, click.echo)
        try_runs_at_once(study, max(1, kills // 40), tally)
        try_disasters(study, max(5, kills // 10), seed, tally)
    return tally


def describe(counts: list[tuple[str, Count]], studies: Tally | None) -> dict[str, Any]:
    """All counts as an object of JSON."""
    commands: dict[str, Count] = {}
    for command, count in counts:
        commands.setdefault(command, Count()).add(count)
    lost = sum(len(count.losses) for count in commands.values())
    return {
        "commands": {name: count.describe() for name, count in commands.items()},
        "faults": sum(count.faults for count in commands.values()),
        "studies": None if studies is None else studies.describe(),
        "losses": lost + (0 if studies is None else len(studies.losses)),
    }


def write_table(result: dict[str, Any]) -> list[str]:
    """The lines of the table that is printed."""
    names = ("calls", "faults", "old", "absent", "new")
    lines = ["command   calls  faults  kept old  absent  new whole  losses"]
    for command, count in result["commands"].items():
        calls, faults, old, absent, new = (count[name] for name in names)
        lost = len(count["losses"])
        lines.append(f"{command:<8}{calls:>7}{faults:>8}{old:>10}{absent:>8}{new:>11}{lost:>8}")
    studies = result["studies"]
    if studies:
        lines.append(
            f"studies: {studies['killed_runs']} runs and {studies['killed_workers']} workers "
            f"killed, {studies['at_once']} runs at once, {studies['disasters']} disasters, "
            f"{len(studies['losses'])} losses"
        )
        lines += studies["losses"]
    return [*lines, f"{result['faults']} faults, {result['losses']} losses"]
