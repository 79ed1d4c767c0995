"""``n4ax report``."""

from pathlib import Path

import click

from n4ax.cli import options
from n4ax.cli.progress import pages_shown


@click.command(
    cls=options.Command,
    epilog="""
    Examples:
      n4ax report study/derivatives/n4ax
      n4ax report study/derivatives/n4ax --quiet
    """,
)
@click.argument(
    "output",
    metavar="OUTPUT_DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@options.QUIET
def report(output: Path, quiet: bool) -> None:
    """Write the quality reports of a folder of corrected scans.

    OUTPUT_DIR is what n4ax bids has written to. One page for each participant, sub-<label>.html,
    and group.html for all of them.
    """
    with options.name_missing_extra("bids"):
        from n4ax.report.pages import write_all

    with pages_shown(quiet) as watch:
        written = write_all(output, watch)
    if not quiet:
        pages = "page" if len(written) == 2 else "pages"
        print(f"Wrote {len(written) - 1} participant {pages} and {written[-1]}.")
