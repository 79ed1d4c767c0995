"""The pages and their plots, from the JSON of the sections alone."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import jinja2

from benchmarks import plots
from benchmarks.peers import ROOT

PAGES = {
    "performance": (
        "iterations", "pipelines", "scaling", "batches", "roofline", "accelerated", "studies",
    ),
    "exactness": ("exactness", "known_field"),
}  # fmt: skip
"""The sections of each page, in order."""

SECTIONS = tuple(name for names in PAGES.values() for name in names)


README = ROOT / "README.md"
README_SECTIONS = {"iterations", "pipelines", "studies", "exactness"}
README_CASE = "fullres_t1w_adi"
MARKS = (
    "<!-- measured: begin (written by python -m benchmarks) -->",
    "<!-- measured: end -->",
)
"""Between these the README has its table."""


def result_path(section: str, quick: bool) -> Path:
    folder = ROOT / "build" / "benchmarks-quick" if quick else ROOT / "benchmarks"
    return folder / "results" / f"{section}.json"


def write_pages(quick: bool) -> list[Path]:
    """Draw the plots and render both pages; a section without results gets a line."""
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
        path.write_text(rendered(page, names, records))
        written.append(path)
    if not quick and set(records) >= README_SECTIONS:
        README.write_text(with_table(README.read_text(), records))
        written.append(README)
    return written


def with_table(readme: str, records: dict[str, Any]) -> str:
    """The README with the table of what was measured between its two marks."""
    cases = records["exactness"]["result"]["simpleitk"]
    given = {name: records[name] for name in README_SECTIONS}
    exact = next((case for case in cases if case["name"] == README_CASE), cases[0])
    table = _templates().get_template("readme.md.jinja").render(**given, exact=exact)
    before, rest = readme.split(MARKS[0])
    return f"{before}{MARKS[0]}\n{table.strip()}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def rendered(page: str, names: tuple[str, ...], records: dict[str, Any]) -> str:
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
        "seconds": seconds, "spread": spread, "error": error, "pair": pair, "times": times,
        "megabytes": megabytes,
    }  # fmt: skip
    return templates


def seconds(value: float) -> str:
    """Three digits, in s, ms or µs."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= unit or name == "µs":
            return f"{_digits(value / unit)} {name}"
    raise AssertionError


def spread(value: dict[str, float]) -> str:
    """Median, and least to most where there was more than one round."""
    median = seconds(value["median"])
    if value["least"] == value["most"]:
        return median
    return f"{median} ({seconds(value['least'])} to {seconds(value['most'])})"


def times(value: float) -> str:
    """A ratio: two digits below 10, none behind the point above."""
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


def error(value: float) -> str:
    if value == 0:
        return "0"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{int(power)}".replace("-", "\u2011")  # a hyphen that does not break


def pair(value: dict[str, float] | None, none: str = "") -> str:
    """Mean / largest."""
    if value is None:
        return none
    return f"{error(value['mean'])}\u00a0/ {error(value['max'])}"  # breaks behind the stroke


def _digits(value: float) -> str:
    """Three digits, or all of them before the point."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
