"""The command ``python -m reliability mutants``: do the tests notice faults in the sources."""

import sys
import time
from collections import Counter
from typing import Any

import click

from reliability.mutants.covering import measure_coverage
from reliability.mutants.journal import read_journal
from reliability.mutants.recorder import record_tests
from reliability.mutants.rooms import GROUPS, ROOMS
from reliability.mutants.running import (
    JOURNAL,
    WORK,
    add_up,
    choose_mutants,
    count,
    make_job,
    run_jobs,
)
from reliability.mutants.selection import read_recorded
from reliability.records import write_record

WORKERS = 2
"""Processes that try mutants at once."""

WANTED = 90.0
"""Percent of the mutants of the mathematics that the tests are to notice."""


@click.command()
@click.option("--seed", default=0, show_default=True, help="Of the order, and so of a sample.")
@click.option("--minutes", default=600.0, show_default=True, help="End after this time; a further "
              "run goes on from there.")  # fmt: skip
@click.option("--rooms", default=",".join(ROOMS), help="The rooms, separated by commas.")
@click.option("--sample", type=int, help="Mutants of each room; all without it.")
@click.option("--test-seconds", default=30.0, show_default=True,
              help="Tests of a mutant take about this long together.")  # fmt: skip
@click.option("--again", is_flag=True, help="Try again what was not noticed.")
@click.option("--record/--no-record", default=True, help="Record what the tests run, where that "
              "was not done yet.")  # fmt: skip
def main(
    seed: int, minutes: float, rooms: str, sample: int | None,
    test_seconds: float, again: bool, record: bool,
) -> None:  # fmt: skip
    """Put faults into the sources, and count those that the tests notice."""
    start = time.time()
    if record:
        record_tests(WORK / "parts")
    recorded = read_recorded(WORK / "parts")
    chosen = [choose_mutants(name, sample, seed) for name in rooms.split(",")]
    known = read_journal(JOURNAL)
    todo = [
        mutant
        for room in chosen
        for mutant in room.chosen
        if mutant.key not in known
        or (again and known[mutant.key].outcome not in ("killed", "timeout"))
    ]
    click.echo(f"{len(todo)} mutants to try")
    if todo and minutes:
        jobs = [make_job(mutant, recorded, test_seconds) for mutant in todo]
        run_jobs(jobs, stop_at=start + 60 * minutes, workers=WORKERS, journal=JOURNAL)
    outcomes = read_journal(JOURNAL)
    rows = [count(room, outcomes) for room in chosen]
    skipped = sum((room.skipped for room in chosen), Counter[str]())
    result: dict[str, Any] = {
        "seed": seed,
        "sample": sample,
        "rooms": rows,
        "skipped": dict(skipped),
    }
    result["groups"] = _add_up_groups(rows)
    result["coverage"] = measure_coverage(WORK / "parts")
    _print(rows)
    print_survivors(rows)
    write_record("mutants", result, seconds=time.time() - start)
    mathematics = result["groups"].get("mathematics")
    if mathematics and (mathematics["share"] or 0) < WANTED:
        sys.exit(1)


def _add_up_groups(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for group, rooms in GROUPS.items():
        own = [row for row in rows if row["room"] in rooms]
        if own:
            found[group] = add_up(own)
    return found


def _print(rows: list[dict[str, Any]]) -> None:
    names = ("mutants", "tried", "killed", "timeouts", "survived", "equivalent", "share")
    click.echo(f"{'room':14}" + "".join(f"{name:>11}" for name in names))
    for row in rows:
        click.echo(f"{row['room']:14}" + "".join(f"{row[name]!s:>11}" for name in names))


def print_survivors(rows: list[dict[str, Any]]) -> None:
    """Print what was not noticed."""
    for row in rows:
        for one in row["survivors"]:
            click.echo(f"{one['outcome']}: {one['file']}: {one['line']}\n    {one['mutation']}")
