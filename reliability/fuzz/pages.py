"""What a page of HTML consists of, to see whether a value became more than text."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import n4ax

TEMPLATES = Path(n4ax.__file__).parent / "report" / "templates"
MADE = {("code", ""), ("html", "lang")}
"""What :func:`n4ax.report.formats.format_sentence` makes, which stands in no template."""
_JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
_WORD = re.compile(r'"\s*([a-z-]+)\s*"')
_INNER = re.compile(r"#|sub-|group\.html$|group_[0-9A-Za-z-]+\.tsv$|data:image/webp;base64,|data:,")


class Parts(HTMLParser):
    """The elements of a page with their attributes, its links, and the content of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.links: set[str] = set()
        self.data: dict[str, str] = {}
        self._id = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found |= {(tag, ""), *((tag, name) for name, _ in attrs)}
        values = dict(attrs)
        self.links |= {str(values[name]) for name in ("href", "src") if name in values}
        self._id = str(values.get("id")) if values.get("type") == "application/json" else ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that is empty."""
        self.handle_starttag(tag, attrs)
        self._id = ""

    def handle_data(self, data: str) -> None:
        """Keep the data for scripts."""
        if self._id:
            self.data[self._id] = self.data.get(self._id, "") + data


@cache
def list_allowed() -> frozenset[tuple[str, str]]:
    """All elements and attributes of the templates."""
    found = set(MADE)
    words: set[str] = set()
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        words |= {word for code in _JINJA.findall(text) for word in _WORD.findall(code)}
        found |= Parts(_JINJA.sub("", text)).found
    return frozenset(found | {(tag, word) for tag, _ in found for word in words & {"hidden"}})


def check_page(path: Path) -> dict[str, Any]:
    """Check that a page has nothing that the templates do not have; return its data for scripts.

    Raises
    ------
    AssertionError
        It has another element or attribute, or a link that leads elsewhere.
    """
    parts = Parts(path.read_text(encoding="utf-8"))
    assert not (more := parts.found - list_allowed()), f"{path.name} has {sorted(more)}"
    elsewhere = [link for link in parts.links if not _INNER.match(link)]
    assert not elsewhere, f"{path.name} links to {elsewhere}"
    return {name: json.loads(text, parse_constant=_refuse) for name, text in parts.data.items()}


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")
