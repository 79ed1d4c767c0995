"""The pages of measurements, and the table of the README, agree with the measured JSON."""

import json
from pathlib import Path

import pytest

from benchmarks import pages

ROOT = Path(__file__).parents[2]
RECORDS = {
    name: json.loads(pages.result_path(name, False).read_text())
    for name in pages.SECTIONS
    if pages.result_path(name, False).exists()
}


def test_every_section_has_been_measured_in_full() -> None:
    assert set(RECORDS) == set(pages.SECTIONS)
    assert not [name for name, record in RECORDS.items() if record["quick"]]


@pytest.mark.parametrize("page", pages.PAGES)
def test_pages_agree_with_the_measurements(page: str) -> None:
    written = (ROOT / "docs" / f"{page}.md").read_text()
    assert written == pages.render_page(page, pages.PAGES[page], RECORDS)


def test_the_table_of_the_readme_agrees_too() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme == pages.update_table(readme, RECORDS)
    assert readme.count("\n|") >= 6


def test_the_plots_are_those_that_pages_show() -> None:
    images = ROOT / "docs" / "images"
    drawn = {path.name for path in images.glob("*.svg")}
    shown = {
        line.split("images/")[1].rstrip(")")
        for page in (*pages.PAGES, "reliability")
        for line in (ROOT / "docs" / f"{page}.md").read_text().splitlines()
        if line.startswith("![")
    }
    assert all((images / name).is_file() for name in shown)
    assert drawn == {name for name in shown if name.endswith(".svg")}


@pytest.mark.parametrize(
    ("value", "shown"), [(123.4, "123 s"), (0.01234, "12.3 ms"), (4e-6, "4.00 µs"), (1.5, "1.50 s")]
)
def test_seconds_have_three_digits(value: float, shown: str) -> None:
    assert pages.format_seconds(value) == shown


def test_a_page_without_measurements_says_so() -> None:
    page = pages.render_page("exactness", pages.PAGES["exactness"], {})
    assert "Nothing has been measured" in page
    assert "Not measured in this run: known_field" in page
