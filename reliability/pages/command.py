"""Renders ``docs/reliability.md``."""

from pathlib import Path

import click
import jinja2
from benchmarks.pages import format_error, format_megabytes, format_ratio, format_seconds
from benchmarks.peers import ROOT

from reliability.records import FOLDER, read_findings, read_records

PAGE = ROOT / "docs" / "reliability.md"


@click.command()
def main() -> None:
    """Render docs/reliability.md from the JSON of the sections."""
    PAGE.write_text(render_page())
    click.echo(f"wrote {PAGE.relative_to(ROOT)}")


def render_page() -> str:
    """The text of the page."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(FOLDER / "templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "seconds": format_seconds, "error": format_error,
        "times": format_ratio, "megabytes": format_megabytes,
    }  # fmt: skip
    page = templates.get_template("page.md.jinja")
    return page.render(records=read_records(), findings=read_findings())
