"""``python -m reliability differential``: random problems two ways each, by the thousand."""

import os
import sys
import time
from functools import partial

import click

from reliability.differential.campaign import (
    AGAINST,
    Line,
    compare_case,
    find_file,
    plan,
    read_lines,
    run,
)
from reliability.differential.summary import summarise
from reliability.records import write_record

TELL_EVERY = 10.0
"""Seconds between two lines of progress."""


@click.command()
@click.option("--cases", type=int, default=10_000, show_default=True, help="Problems in all.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--minutes", type=float, default=60.0, show_default=True)
@click.option(
    "--against",
    default=",".join(AGAINST),
    show_default=True,
    help="What problems are compared with, separated by commas.",
)
@click.option("--processes", type=int, default=os.cpu_count() or 1, show_default=True)
@click.option("--replay", metavar="AGAINST:NUMBER", multiple=True, help="Compare only this one.")
@click.option("--record", is_flag=True, help="Write reliability/results/differential.json.")
def main(
    cases: int, seed: int, minutes: float, against: str, processes: int, replay: tuple[str, ...],
    record: bool,
) -> None:  # fmt: skip
    """Compare random problems; go on where an earlier run with this seed has stopped.

    The status is 1 if bits differ that must not, or a field is out of ITK's own noise.
    """
    names = against.split(",")
    if not set(names) <= set(AGAINST):
        raise click.BadParameter(f"expected some of {', '.join(AGAINST)}", param_hint="--against")
    if replay:
        sys.exit(any(list(map(partial(replay_case, seed), replay))))
    path, start, told = find_file(seed), time.monotonic(), 0.0
    wanted = list(plan(cases, names))
    earlier = len(set(wanted) & {(one["against"], one["number"]) for one in read_lines(path)})
    click.echo(f"{earlier} of {cases} problems are done; {path}")
    for count, line in enumerate(run(path, seed, wanted, processes, minutes * 60), start=1):
        show_findings(line)
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            each = (told - start) / count
            click.echo(f"{earlier + count} of {cases} problems, {each:.2f} s each")
    done = [one for one in read_lines(path) if (one["against"], one["number"]) in set(wanted)]
    result = summarise(done) | {"seed": seed, "planned": cases}
    spent = sum(one["seconds"] for one in done)
    click.echo(f"{len(done)} of {cases} problems, {len(result['found'])} findings")
    if record:
        write_record("differential", result, seconds=spent)
    sys.exit(bool(result["found"]))


def show_findings(line: Line) -> None:
    """Print what is wrong with a problem."""
    for what in line["found"]:
        click.echo(f"FOUND {line['against']}:{line['number']}: {what[:1000]}")


def replay_case(seed: int, word: str) -> bool:
    """Compare the problem of a number again, and print all that is known of it."""
    name, _, number = word.partition(":")
    line = compare_case(name, seed, int(number))
    for key, value in line.items():
        click.echo(f"{key}: {value}")
    return bool(line["found"])
