"""The command ``n4ax report``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from n4ax.cli import layout, options
from n4ax.cli.progress import show_pages
from n4ax.report.layout import RATINGS

if TYPE_CHECKING:
    from n4ax.report.ratings import Merged


@click.command(
    cls=layout.Command,
    epilog="""
    Examples:
      n4ax report study/derivatives/n4ax
      n4ax report study/derivatives/n4ax --ratings ratings.tsv
    """,
)
@click.argument(
    "output",
    metavar="OUTPUT_DIR",
    type=options.INPUT_FOLDER,
)
@click.option(
    "--ratings",
    multiple=True,
    type=options.INPUT_FILE,
    metavar="FILE",
    help="Table of ratings that was saved from a page; it is merged into ratings.tsv in "
    "OUTPUT_DIR. Of each scan and person, the newest rating stays. It can be given several times.",
)
@options.QUIET
def report(output: Path, ratings: tuple[Path, ...], quiet: bool) -> None:
    """Write the quality reports for a folder of corrected scans.

    OUTPUT_DIR is a folder that n4ax bids has written to. Each participant gets a page,
    sub-<label>.html, and group.html covers all of them. group_<suffix>.tsv has the same numbers as
    tables.
    """
    with options.name_missing_extra("bids"):
        from n4ax.report.pages import write_all
        from n4ax.report.ratings import merge_ratings
        from n4ax.report.records import list_sources

    if ratings:
        merged = merge_ratings(output, ratings, list_sources(output))
        if not quiet:
            print(_describe(merged, output))
    with show_pages(quiet) as progress:
        written = write_all(output, progress)
    if not quiet:
        pages = "page" if len(written) == 2 else "pages"
        print(f"Wrote {len(written) - 1} participant {pages} and {written[-1]}.")


def _describe(merged: "Merged", output: Path) -> str:
    taken = f"Merged {merged.taken} rating{'' if merged.taken == 1 else 's'} into "
    if not merged.unknown:
        return f"{taken}{output / RATINGS}."
    verb = "is of a scan" if merged.unknown == 1 else "are of scans"
    return f"{taken}{output / RATINGS}; {merged.unknown} {verb} not in the folder: left out."
