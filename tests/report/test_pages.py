"""The pages as files: their links, their bytes, and what is said of missing records."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from n4ax.cli.report import report
from n4ax.report.measures import measure
from n4ax.report.pages import find_neighbours, write_all, write_group, write_participant
from tests.report.support import write_record


class References(HTMLParser):
    """The links, sources, tags and ids of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("href", "src", "srcset", "xlink:href", "action", "data", "poster"):
                self.sources.append(value or "")
            elif name == "id":
                self.ids.append(value or "")


def test_pages_point_to_each_other_and_to_nothing_outside(few: Path) -> None:
    steps: list[tuple[int, int]] = []
    pages = write_all(few, progress=lambda done, total: steps.append((done, total)))
    assert [page.name for page in pages] == [
        "sub-2.html",
        "sub-3.html",
        "sub-10.html",
        "group.html",
    ]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for page in pages:
        found = References(page)
        assert all(source.startswith("data:") for source in found.sources)
        assert not re.search(r"https?://|//\w+\.\w+|@import|url\(", page.read_text())
        assert len(found.ids) == len(set(found.ids))
        for link in found.links:
            target, _, anchor = link.partition("#")
            there = few / target if target else page
            assert there in pages
            assert not anchor or anchor in References(there).ids
    middle = References(pages[1]).links
    assert middle == ["sub-2.html", "group.html", "sub-10.html"]
    assert "too short" in pages[1].read_text()
    assert pages[0].read_text().count("data:image/webp") == 6
    assert "desc-n4_T1w_field" not in pages[0].read_text()


def test_pages_have_the_same_bytes_again(few: Path) -> None:
    pages = write_all(few)
    first = [page.read_bytes() for page in pages]
    assert [page.read_bytes() for page in write_all(few)] == first
    single = [
        write_participant(few, label, find_neighbours(label, ["2", "3", "10"]))
        for label in ("2", "3", "10")
    ]
    assert [page.read_bytes() for page in [*single, write_group(few)]] == first
    assert not list(few.glob(".n4ax-*"))


def test_names_are_escaped(few: Path, head: Any) -> None:
    evil = '<script>alert("1")</script>&'
    path = write_record(few, "2", "1", "T1w", head[1])
    entries = json.loads(path.read_text())
    names = ("Source", "Output", "Session", "Suffix", "Mask", "Engine", "Version")
    path.write_text(json.dumps({**entries, **dict.fromkeys(names, evil), "Stopped": [evil, evil]}))
    errors = [{"Source": evil, "Subject": '1"><b>&', "Reason": evil}]
    (few / "n4ax_errors.json").write_text(json.dumps({"Errors": errors}))
    for page in (write_participant(few, "2", (None, "3")), write_group(few)):
        text = page.read_text()
        assert evil not in text
        assert text.count("<script") == 1
        assert "&lt;script&gt;alert(&#34;1&#34;)" in text
        assert 'href="sub-1"' not in text


def test_missing_pictures_and_numbers_leave_a_note(few: Path) -> None:
    for path in few.rglob("*.webp"):
        path.unlink()
    path = write_record(
        few, "4", None, "T2w", measure(*[np.zeros((4, 4, 4))] * 3, np.zeros((4, 4, 4), bool))
    )
    entries = json.loads(path.read_text())
    path.write_text(
        json.dumps({k: entries[k] for k in ("Source", "Subject", "Suffix", "Measures")})
    )
    write_all(few)
    assert "pictures of this scan are missing" in (few / "sub-4.html").read_text()
    assert "no picture" in (few / "group.html").read_text()


@pytest.mark.parametrize(
    "call", [write_all, write_group, lambda out: write_participant(out, "9", (None, None))]
)
def test_nothing_to_report_on_says_what_was_looked_for(tmp_path: Path, call: Any) -> None:
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"figures/\*\.json.*run n4ax bids") as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["sub-01"]


def test_unknown_participants_and_files_that_are_no_records_are_named(few: Path) -> None:
    with pytest.raises(ValueError, match=r"sub-77.*participant 77"):
        write_participant(few, "77", (None, None))
    path = few / "sub-10" / "figures" / "sub-10_desc-n4_FLAIR.json"
    for content, reason in (
        ("{", "cannot be read"),
        ("[]", "not a JSON object"),
        ('{"Source": ""}', "it has no Subject and no"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=reason) as caught:
            write_all(few)
        assert str(path) in str(caught.value)
    path.write_text('{"Source": "", "Subject": "", "Suffix": "", "Measures": {"FieldRange": []}}')
    with pytest.raises(ValueError, match=r"Measures has no CoefficientOfVariation and no .*again"):
        write_all(few)
    path.unlink()
    (few / "n4ax_errors.json").write_text('{"Errors": [{}]}')
    with pytest.raises(ValueError, match=r"n4ax_errors\.json"):
        write_all(few)


def test_a_page_that_cannot_be_written_does_not_keep_the_others_from_it(few: Path) -> None:
    path = next((few / "sub-2").rglob("*.json"))
    entries = json.loads(path.read_text())
    path.write_text(json.dumps({**entries, "Measures": dict.fromkeys(entries["Measures"], 3)}))
    (few / "sub-10.html").mkdir()
    done = CliRunner().invoke(report, [str(few), "-q"])
    assert isinstance(done.exception, ValueError)
    message = str(done.exception)
    for name in ("sub-2.html cannot be made", "group.html cannot be made", "sub-10.html"):
        assert message.count(f"{few / name}") == 1, message
    assert "\n" not in message
    assert "too short" in (few / "sub-3.html").read_text()


def test_command_says_what_it_wrote(few: Path) -> None:
    done = CliRunner().invoke(report, [str(few)])
    assert done.exit_code == 0
    assert done.output == f"Wrote 3 participant pages and {few / 'group.html'}.\n"
    assert CliRunner().invoke(report, [str(few), "-q"]).output == ""
    assert CliRunner().invoke(report, [str(few / "none")]).exit_code == 2
