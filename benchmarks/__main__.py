"""All measurements, and the pages made from them; see ``python -m benchmarks --help``."""

import json
import sys
import time
import traceback
from importlib import import_module
from typing import Any

import click

from benchmarks.machine import describe_machine, list_versions
from benchmarks.pages import SECTIONS, result_path, write_pages


@click.command()
@click.option("--quick", is_flag=True, help="Small volumes, into build/benchmarks-quick/.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds  [default: 3; 1 with --quick]")
@click.argument("sections", nargs=-1, type=click.Choice([*SECTIONS, "pages"]), metavar="[SECTION]…")
def main(quick: bool, rounds: int | None, sections: tuple[str, ...]) -> None:
    """Measure SECTIONs (all by default) beside the peers, and write their pages under docs/.

    Peers that are missing are installed into .peers/. With only "pages", nothing is measured, and
    plots and pages are drawn again from the JSON in benchmarks/results/. This needs Linux. It uses
    the volumes of ../shared if that folder is there, and otherwise the packaged head.
    """
    rounds = rounds or (1 if quick else 3)
    chosen = sections or SECTIONS
    measured = [name for name in chosen if name != "pages"]
    failed = [name for name in measured if not measure_section(name, quick, rounds)]
    for path in write_pages(quick):
        click.echo(f"wrote {path}")
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def measure_section(section: str, quick: bool, rounds: int) -> bool:
    """Measure a section and write its JSON; return whether that succeeded.

    If a section cannot be measured on this machine, its result is empty, and the JSON of an earlier
    measurement is left as it is.
    """
    click.echo(f"{section}:")
    before, start = describe_machine(), time.perf_counter()
    try:
        result: dict[str, Any] = import_module(f"benchmarks.{section}").measure(quick, rounds)
    except Exception:  # the other sections can still be measured
        traceback.print_exc()
        return False
    seconds = time.perf_counter() - start
    click.echo(f"{section}: {seconds:.0f} s")
    if not result:
        return True
    record = {
        "section": section,
        "quick": quick,
        "rounds": rounds,
        "seconds": round(seconds, 1),
        "machine": before,
        "versions": list_versions(),
        "result": result,
    }
    path = result_path(section, quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return True


if __name__ == "__main__":
    main()
