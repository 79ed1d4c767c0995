"""Draws the plots and renders the pages from nothing but the JSON of the sections."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import jinja2

from benchmarks import plots
from benchmarks.judgement import list_rows
from benchmarks.peers import ROOT

PAGES = {
    "performance": (
        "iterations", "arithmetic", "pipelines", "scaling", "batches", "roofline", "accelerated",
        "studies", "goals",
    ),
    "quality": ("quality", "chosen", "other_tools"),
    "exactness": ("exactness", "known_field"),
    "itk-bits": ("threads",),
    "itk-versions": ("versions",),
}  # fmt: skip
"""The sections of each page, in order. The goals come last: they judge what the others found."""

SECTIONS = tuple(name for names in PAGES.values() for name in names)

README = ROOT / "README.md"
README_SECTIONS = {"iterations", "pipelines", "studies", "exactness"}
README_CASE = "fullres_t1w_adi"
MARKS = (
    "<!-- measured: begin (written by python -m benchmarks) -->",
    "<!-- measured: end -->",
)
"""The marks in the README around its table."""


def result_path(section: str, quick: bool) -> Path:
    """The JSON file of a section."""
    folder = ROOT / "build" / "benchmarks-quick" if quick else ROOT / "benchmarks"
    return folder / "results" / f"{section}.json"


def write_pages(quick: bool) -> list[Path]:
    """Draw the plots and render all pages; a section without results gets a line that says so."""
    docs = ROOT / "build" / "benchmarks-quick" if quick else ROOT / "docs"
    records = {
        name: json.loads(result_path(name, quick).read_text())
        for name in SECTIONS
        if result_path(name, quick).exists()
    }
    for name, record in records.items():
        with plots.style():
            import_module(f"benchmarks.{name}").draw(record["result"], docs / "images")
    written = []
    for page, names in PAGES.items():
        path = docs / f"{page}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_page(page, names, records))
        written.append(path)
    if not quick and set(records) >= README_SECTIONS:
        README.write_text(update_table(README.read_text(), records))
        written.append(README)
    return written


def update_table(readme: str, records: dict[str, Any]) -> str:
    """The README with a new table of results between its two marks."""
    cases = records["exactness"]["result"]["simpleitk"]
    given = {name: records[name] for name in README_SECTIONS}
    exact = next((case for case in cases if case["name"] == README_CASE), cases[0])
    table = _templates().get_template("readme.md.jinja").render(**given, exact=exact)
    before, rest = readme.split(MARKS[0])
    return f"{before}{MARKS[0]}\n{table.strip()}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def render_page(page: str, names: tuple[str, ...], records: dict[str, Any]) -> str:
    """The text of a page, from the records of those of its sections that have been measured."""
    own = {name: records[name] for name in names if name in records}
    return (
        _templates()
        .get_template(f"page_{page}.md.jinja")
        .render(names=names, records=own, first=next(iter(own.values()), None))
    )


def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "seconds": format_seconds, "spread": format_spread, "error": format_error,
        "pair": format_pair, "times": format_ratio, "megabytes": format_megabytes,
        "counts": format_counts, "goals": list_rows,
    }  # fmt: skip
    return templates


def format_seconds(value: float) -> str:
    """A time with three digits, in s, ms or µs."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= unit or name == "µs":
            return f"{_digits(value / unit)} {name}"
    raise AssertionError


def format_spread(value: dict[str, float]) -> str:
    """The median, and the range if there was more than one round."""
    median = format_seconds(value["median"])
    if value["least"] == value["most"]:
        return median
    return f"{median} ({format_seconds(value['least'])} to {format_seconds(value['most'])})"


def format_ratio(value: float) -> str:
    """A ratio, with one decimal below 10 and none above."""
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def format_megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


def format_error(value: float) -> str:
    """A difference with two digits and a power of ten."""
    if value == 0:
        return "0"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{int(power)}".replace("-", "\u2011")  # a hyphen without a line break


def format_pair(value: dict[str, float] | None, none: str = "") -> str:
    """The mean and the largest difference, or ``none`` if there are none."""
    if value is None:
        return none
    # The space before the slash does not allow a line break; the one after it does.
    return f"{format_error(value['mean'])}\u00a0/ {format_error(value['max'])}"


def format_counts(value: dict[str, int]) -> str:
    """The voxels that differ in the field and in the corrected image, and of how many."""
    return f"{value['field']:,}\u00a0/ {value['corrected']:,} of\u00a0{value['voxels']:,}"


def _digits(value: float) -> str:
    """A number with three digits, or with all digits before the decimal point."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
