"""The pages as files: their links, their bytes, and what is said of missing records."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from n4ax.cli.report import report
from n4ax.report.entries import complete
from n4ax.report.measures import measure
from n4ax.report.pages import find_neighbours, write_all, write_group, write_participant
from n4ax.report.records import read_records
from n4ax.report.volumes import Volumes
from tests.report.support import read_scans, write_record

MISSING = object()


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
            assert there in pages or there.name in ("group_T1w.tsv", "group_FLAIR.tsv")
            assert not anchor or anchor in References(there).ids
    middle = References(pages[1]).links
    assert middle == ["sub-2.html", "group.html", "sub-10.html"]
    assert "too short" in pages[1].read_text()
    assert pages[0].read_text().count("data:image/webp") == 2 * 8
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
        scripts = re.findall(r"<script[^>]*>", text)
        assert set(scripts) <= {
            "<script>",
            *(f'<script type="application/json" id="{name}">' for name in ("data", "ratings")),
        }
        assert scripts.count("<script>") == 1
        assert "&lt;script&gt;alert(&#34;1&#34;)" in text or "\\u003cscript\\u003ealert" in text
        assert 'href="sub-1"' not in text


def test_missing_pictures_and_numbers_leave_a_note(few: Path) -> None:
    for path in few.rglob("*.webp"):
        path.unlink()
    nothing = measure(Volumes(*[np.zeros((4, 4, 4))] * 3, np.zeros((4, 4, 4), bool)))
    path = write_record(few, "4", None, "T2w", nothing)
    entries = json.loads(path.read_text())
    path.write_text(
        json.dumps({k: entries[k] for k in ("Source", "Subject", "Suffix", "Measures")})
    )
    write_all(few)
    assert "pictures of this scan are missing" in (few / "sub-4.html").read_text()
    [page] = read_scans(few / "group.html", "sub-4/anat/sub-4_T2w.nii.gz")
    assert (page["tile"], page["cjv"], page["iterations"]) == (None, None, None)


def list_keys(entries: dict[str, Any], *above: str) -> list[tuple[str, ...]]:
    """The paths of all entries, the inner ones too."""
    found = []
    for name, value in entries.items():
        found.append((*above, name))
        if isinstance(value, dict):
            found += list_keys(value, *above, name)
    return found


def replace(entries: dict[str, Any], keys: tuple[str, ...], value: Any = MISSING) -> dict[str, Any]:
    """A copy of a record in which an entry is missing, or has another value."""
    copy = json.loads(json.dumps(entries))
    *outer, last = keys
    place = copy
    for name in outer:
        place = place[name]
    place[last] = value
    if value is MISSING:
        del place[last]
    return copy


def test_records_that_lack_an_entry_have_pages(few: Path) -> None:
    path = few / "sub-10" / "figures" / "sub-10_desc-n4_FLAIR.json"
    entries = json.loads(path.read_text())
    shutil.rmtree(few / "sub-2")
    for picture in path.parent.glob("*.webp"):
        picture.unlink()
    written = write_all(few)
    assert len(list_keys(entries)) > 30
    for keys in list_keys(entries):
        for value in (MISSING, None, [], {}, "text", [None, None], float("nan"), 1e-9):
            path.write_text(json.dumps(replace(entries, keys, value)))
            assert write_all(few) == written, (keys, value)
    path.write_text('{"Measures": {}}')
    assert write_all(few) == written
    for page in ("sub-10.html", "group.html"):
        text = (few / page).read_text()
        assert "–" in text or page == "group.html"
        assert not re.search(r">[^<]*\b(None|nan|Undefined)\b", re.sub(r"(?s)<script>.*", "", text))


def test_what_names_a_scan_is_taken_from_its_file(few: Path) -> None:
    path = next((few / "sub-2" / "ses-1" / "figures").glob("*.json"))
    entries = json.loads(path.read_text())
    path.write_text(json.dumps({"Measures": entries["Measures"]}))
    [record, _] = read_records(few, "2")
    names = {name: record.entries[name] for name in ("Source", "Subject", "Session", "Suffix")}
    assert names == {
        "Source": "sub-2_ses-1_T1w", "Subject": "2", "Session": "1", "Suffix": "T1w"
    }  # fmt: skip
    assert record.name_parts == ["sub-2", "ses-1", "T1w"]


def test_a_threshold_of_0_is_shown(few: Path) -> None:
    path = few / "sub-10" / "figures" / "sub-10_desc-n4_FLAIR.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Threshold": 0.0}))
    write_all(few)
    assert "<dt>Threshold</dt><dd>0.0</dd>" in (few / "sub-10.html").read_text()


def test_bytes_that_are_no_characters_do_not_end_a_report(few: Path) -> None:
    errors = [{"Source": "sub-3/\udcff.nii", "Subject": "3", "Reason": "{{ 7 * 7 }} <b>\ud800"}]
    (few / "n4ax_errors.json").write_text(json.dumps({"Errors": errors}))
    write_all(few)
    text = (few / "sub-3.html").read_text(encoding="utf-8")
    assert "{{ 7 * 7 }} &lt;b&gt;?" in text


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
        ("{}", "it has no Source and no Measures: run n4ax bids again"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=reason) as caught:
            write_all(few)
        assert str(path) in str(caught.value)
    path.unlink()
    (few / "n4ax_errors.json").write_text('{"Errors": [{}]}')
    with pytest.raises(ValueError, match=r"n4ax_errors\.json"):
        write_all(few)


def test_a_page_that_cannot_be_written_does_not_keep_the_others_from_it(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complete_badly(entries: dict[str, Any], path: Path) -> dict[str, Any]:
        found = complete(entries, path)
        return found | {"Measures": 3} if "sub-2" in path.name else found

    monkeypatch.setattr("n4ax.report.records.complete", complete_badly)
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
