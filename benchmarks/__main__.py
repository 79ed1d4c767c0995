"""All measurements, and the pages made from them; see ``python -m benchmarks --help``."""

import json
import sys
import time
import traceback
from importlib import import_module
from typing import Any

import click

from benchmarks.machine import machine, versions
from benchmarks.pages import SECTIONS, result_path, write_pages


@click.command()
@click.option("--quick", is_flag=True, help="Small volumes, into build/benchmarks-quick/.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds  [default: 3; 1 with --quick]")
@click.argument("sections", nargs=-1, type=click.Choice([*SECTIONS, "pages"]), metavar="[SECTION]…")
def main(quick: bool, rounds: int | None, sections: tuple[str, ...]) -> None:
    """Measure SECTIONs (all by default) beside the peers and write their pages under docs/.

    The peers are installed into .peers/ where they are missing. Only "pages": draw plots and
    pages again from the JSON of benchmarks/results/, and measure nothing. Needs Linux; uses the
    volumes of ../shared where that folder is there, and the packaged head where not.
    """
    rounds = rounds or (1 if quick else 3)
    chosen = sections or SECTIONS
    failed = [name for name in chosen if name != "pages" and not measured(name, quick, rounds)]
    for path in write_pages(quick):
        click.echo(f"wrote {path}")
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def measured(section: str, quick: bool, rounds: int) -> bool:
    """Measure a section and write its JSON; whether that went well.

    A section that cannot be measured here (an empty result) leaves what was measured elsewhere.
    """
    click.echo(f"{section}:")
    before, start = machine(), time.perf_counter()
    try:
        result: dict[str, Any] = import_module(f"benchmarks.{section}").measure(quick, rounds)
    except Exception:  # the other sections are worth having
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
        "versions": versions(),
        "result": result,
    }
    path = result_path(section, quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return True


if __name__ == "__main__":
    main()
