"""What the page of a participant says of a scan, besides its numbers."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4ax.report.checks import CHECKS
from n4ax.report.differences import list_differences
from n4ax.report.measures import measure
from n4ax.report.pages import write_participant
from n4ax.report.participant import describe_evenness
from n4ax.report.pictures import draw
from n4ax.report.volumes import Volumes
from n4ax.verdict import judgement
from n4ax.verdict.messages import SERIOUS
from tests.report.support import make_phantom, write_record

NEW = {"Result": "518872637142", "Directions": True, "Notes": []}
SETTINGS = {"iters": [50, 50], "shrink_factor": 4, "Mask": "otsu", "Tissues": None}


def make_page(output: Path, head: Any, more: dict[str, Any], **measures: Any) -> str:
    """The text of the page of a participant with one scan."""
    pictures, found = head
    write_record(output, "1", None, "T1w", found | measures, pictures, more=NEW | more)
    return write_participant(output, "1", (None, None)).read_text(encoding="utf-8")


def read_text(page: str) -> str:
    """The words of a page, without tags."""
    body = re.sub(r"(?s)<(script|style).*?</\1>", "", page)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", body)))


def test_a_scan_without_messages_says_so_and_what_was_looked_for(tmp_path: Path, head: Any) -> None:
    page = make_page(tmp_path, head, {"Messages": []})
    assert "Nothing suspicious was found." in read_text(page)
    assert 'href="#checks"' in page
    assert 'id="checks"' in page
    assert all(text in read_text(page) for text in CHECKS.values())


def test_messages_are_at_the_top_with_serious_ones_first(tmp_path: Path, head: Any) -> None:
    messages = [
        {"Code": "flat-field", "Serious": False, "Text": "the field is <flat>"},
        {"Code": "otsu-mask", "Serious": True, "Text": "the mask is small: give a --mask"},
    ]
    page = make_page(tmp_path, head, {"Messages": messages, "Notes": ["a note"]})
    assert "Nothing suspicious" not in read_text(page).split("What is shown here?")[0]
    places = [
        page.index(text)
        for text in (
            "Look at this scan before you use it",
            "The mask is small: give a <code>--mask</code>",
            "The field is &lt;flat&gt;",
            '<p class="note">a note</p>',
            'class="frame"',
        )
    ]
    assert places == sorted(places)
    alone = make_page(tmp_path, head, {"Messages": messages[:1]})
    assert "Look at this scan" not in alone
    assert "Something to know" in alone


def test_an_older_record_has_notes_but_no_verdict(tmp_path: Path, head: Any) -> None:
    page = make_page(tmp_path, head, {"Result": None, "Notes": ["the mask has 12 voxels"]})
    first = read_text(page).split("What is shown here?")[0]
    assert "the mask has 12 voxels" in first
    assert "suspicious" not in first


def test_the_page_explains_every_message() -> None:
    source = Path(judgement.__file__).read_text(encoding="utf-8")
    codes = set(re.findall(r'^ +"([a-z]+-[a-z]+)",$', source, re.M))
    assert len(codes) > 8
    assert codes == CHECKS.keys()
    assert codes >= SERIOUS


def test_only_settings_that_differ_are_listed() -> None:
    here = SETTINGS | {"iters": [100, 50, 50], "Tissues": ["a", "b"], "Extra": True}
    found = [tuple(difference) for difference in list_differences(here, SETTINGS)]
    assert found == [
        ("iters", "50, 50", "100, 50, 50"),
        ("Tissues", "not given", "a, b"),
        ("Extra", "not given", "yes"),
    ]
    assert list_differences(SETTINGS, SETTINGS) == []
    assert list_differences({}, SETTINGS) == list_differences(SETTINGS, {}) == []


@pytest.mark.parametrize(
    ("on_purpose", "words"),
    [
        (True, "This scan has settings of its own on purpose:"),
        (False, "This scan still has settings other than the study’s; the next run"),
    ],
)
def test_settings_other_than_the_studys_are_on_the_page(
    tmp_path: Path, head: Any, on_purpose: bool, words: str
) -> None:
    study = {"Settings": {"T1w": SETTINGS, "T2w": SETTINGS | {"Mask": "none"}}}
    (tmp_path / "n4ax_study.json").write_text(json.dumps(study))
    own = {"Settings": SETTINGS | {"Mask": "all"}, "Exception": on_purpose}
    text = read_text(make_page(tmp_path, head, own))
    assert words in text
    assert "Mask study: otsu, here: all" in text
    assert "shrink_factor" not in text
    same = read_text(make_page(tmp_path, head, {"Settings": SETTINGS}))
    assert "study:" not in same
    assert "on purpose" not in same


def test_the_headline_has_no_number_that_cannot_be_compared(tmp_path: Path, head: Any) -> None:
    page = make_page(tmp_path, head, {}, cjv_before=0.8, cjv_after=0.6, inu_p05=0.9, inu_p95=1.25)
    [chips] = re.findall(r'(?s)<ul class="chips">(.*?)</ul>', page)
    assert re.findall(r"\d+\.\d+", chips) == ["0.900", "1.250"]
    assert "more even by 25 %" in chips
    assert "0.800" in page.split('class="chips"')[1].split("</ul>", 1)[1]


def test_evenness_is_told_in_words() -> None:
    assert describe_evenness(1.0, 0.88, found=False) == "more even by 12 %"
    assert describe_evenness(1.0, 0.96, found=False) == "about as even as before"
    assert describe_evenness(1.0, 1.04, found=True) == "about as even as before"
    assert describe_evenness(1.0, 1.2, found=True) == "less even by 20 %"
    assert describe_evenness(1.0, 1.2, found=False) == ""  # a strong field makes it rise
    for before, after in ((None, 1.0), (1.0, None), (0.0, 1.0)):
        assert describe_evenness(before, after, found=True) == ""


def test_planes_have_names_and_sides_if_the_file_gives_directions(
    tmp_path: Path, head: Any
) -> None:
    page = make_page(tmp_path, head, {})
    frame = page.split('class="frame"')[1].split('class="tag')[0]
    assert re.findall(r'class="plane">(\w+)', frame) == ["axial", "coronal", "sagittal"]
    assert "".join(re.findall(r'class="side \w">(\w)<', frame)) == "LRAPLRSIPASI"
    assert "does not say where left" not in page
    assert "Axial slices, from bottom to top" in page
    assert re.search(r"Brightness from (left to right|back to front|bottom to top)", page)
    for more in ({"Directions": False}, {"Directions": None}):
        page = make_page(tmp_path, head, more)
        assert 'class="side ' not in page
        assert re.findall(r'class="plane">(plane \d)', page)[:3] == [
            "plane 1",
            "plane 2",
            "plane 3",
        ]
        assert "axial" not in page.split('class="frame"')[1].split("<h3>")[0]
        assert ("does not say where left" in page) == (more["Directions"] is False)


def test_the_outline_is_shown_at_first_if_the_mask_is_suspicious(tmp_path: Path, head: Any) -> None:
    for code, shown in (("small-mask", True), ("flat-field", False)):
        message = {"Code": code, "Serious": shown, "Text": "x"}
        page = make_page(tmp_path, head, {"Messages": [message]})
        outlines = re.findall(r'<img class="line"[^>]*>', page)
        assert len(outlines) == 2
        assert all(("hidden" not in outline) == shown for outline in outlines)
        pressed = re.findall(r'class="outlined" aria-pressed="(\w+)"', page)
        assert pressed == [str(shown).lower()] * 2


def test_a_page_does_without_the_pictures_that_older_versions_did_not_draw(
    tmp_path: Path, head: Any
) -> None:
    pictures = {name: head[0][name] for name in ("before", "after", "field")}
    page = make_page(tmp_path, (pictures, head[1]), {}, Profile=None, Planes=None)
    assert page.count("data:image/webp") == 3
    assert 'class="slices"' not in page
    assert 'class="outlined"' not in page
    assert "Brightness" not in read_text(page)


def test_a_2d_image_has_one_plane_and_no_slices(tmp_path: Path) -> None:
    image, _ = make_phantom((40, 30))
    volumes = Volumes(image, image * 0, image, image > 0)
    head = draw(volumes, np.eye(4)), measure(volumes, np.eye(4))
    page = make_page(tmp_path, head, {"Shape": [40, 30], "VoxelSize": [1, 1]})
    assert re.findall(r'class="plane">(\w+)', page) == ["axial", "axial"]  # image and field
    assert 'class="slices"' not in page
    assert page.count('class="mark') == 2


def test_settings_that_are_chosen_for_an_image_are_said_to_be() -> None:
    study, own = {"fwhm": 0.15, "nbins": 200}, {"adapt": True, "nbins": 256}
    found = [tuple(one) for one in list_differences(own, study)]
    assert ("fwhm", "0.15", "chosen for the image") in found
    assert ("nbins", "200", "256") in found
    assert ("adapt", "not given", "yes") in found
