"""The command ``n4ax report``."""

from pathlib import Path

import click

from n4ax.cli import layout, options
from n4ax.cli.progress import show_pages


@click.command(
    cls=layout.Command,
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
    """Write the quality reports for a folder of corrected scans.

    OUTPUT_DIR is a folder that n4ax bids has written to. Each participant gets a page,
    sub-<label>.html, and group.html covers all of them.
    """
    with options.name_missing_extra("bids"):
        from n4ax.report.pages import write_all

    with show_pages(quiet) as progress:
        written = write_all(output, progress)
    if not quiet:
        pages = "page" if len(written) == 2 else "pages"
        print(f"Wrote {len(written) - 1} participant {pages} and {written[-1]}.")
