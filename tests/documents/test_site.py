"""The site of the documentation builds without a warning, and all its links have a target."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

for _needed in ("material", "mkdocstrings", "latex2mathml"):
    pytest.importorskip(_needed, reason="the site needs pip install -e '.[docs]'")
bs4 = pytest.importorskip("bs4", reason="the site's links need pip install -e '.[docs]'")

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""Elements that a browser fetches without being asked, and the attribute with the address."""

Pages = dict[str, Any]
"""Parsed pages of the site, by the path of the file in it."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The site, built in strict mode."""
    with TemporaryDirectory() as name:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", name]
        quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Path(name)


@pytest.fixture(scope="module")
def pages(folder: Path) -> Pages:
    pages = {path.name: parse(path.read_text("utf-8")) for path in folder.glob("*.html")}
    assert len(pages) > 15
    del pages["404.html"]  # its links begin at the root of a server
    return pages


def parse(text: str) -> Any:
    return bs4.BeautifulSoup(text, "html.parser")


def find_references(page: Any) -> Iterator[str]:
    """Every address in a page, of a link or of something to fetch."""
    for tag, attribute in [("a", "href"), *FETCHED.items()]:
        yield from (element[attribute] for element in page.find_all(tag, **{attribute: True}))


def test_links_and_anchors_of_the_site_have_targets(folder: Path, pages: Pages) -> None:
    broken = []
    for name, page in pages.items():
        for reference in find_references(page):
            link = urlsplit(reference)
            if link.scheme or link.netloc:
                continue
            target = unquote(link.path) or name
            anchored = target in pages and link.fragment
            if not (folder / target).is_file():
                broken.append(f"{name}: no file {reference}")
            elif anchored and not pages[target].find(id=unquote(link.fragment)):
                broken.append(f"{name}: no anchor {reference}")
    assert not broken


def test_pages_fetch_nothing_from_elsewhere(pages: Pages) -> None:
    for name, page in pages.items():
        for tag, attribute in FETCHED.items():
            for element in page.find_all(tag, **{attribute: True}):
                assert not urlsplit(element[attribute]).netloc, f"{name}: {element}"


def test_formulas_are_mathml(pages: Pages) -> None:
    for name, page in pages.items():
        assert not page.find(class_="arithmatex"), f"{name}: a formula is left"
    assert len(pages["method.html"].find_all("math")) > 20


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_of_the_texts_have_targets(pages: Pages, name: str) -> None:
    text = MarkdownIt().enable("table").render((ROOT / name).read_text("utf-8"))
    for reference in find_references(parse(text)):
        link = urlsplit(reference)
        if link.scheme or link.netloc:
            continue
        target = ROOT / (unquote(link.path) or name)
        assert target.exists(), f"{name}: no file {reference}"
        if link.fragment:  # named as in the site
            page = pages[f"{target.stem.lower()}.html"]
            assert page.find(id=unquote(link.fragment)), f"{name}: no anchor {reference}"
