"""The text on a study for papers."""

import pytest

from n4ax.bids.citation import write_citation
from n4ax.provenance import write_methods
from n4ax.settings import N4Settings

SETTINGS = N4Settings(iters=(40, 30), shrink_factor=3)
OTSU, ALL = {"Mask": "otsu"}, {"Mask": "all"}


def read_text(page: str) -> str:
    """What is between the two lines."""
    _, text, after = page.split("\n---\n")
    assert after == ""
    return text.strip()


def test_the_text_is_that_of_n4ax_correct_and_may_be_copied() -> None:
    page = write_citation(SETTINGS, {"T1w": OTSU})
    methods, references = write_methods(SETTINGS, OTSU).split("\n\n")
    text = read_text(page)
    assert text.startswith(f"*T1w images.* {methods}")
    assert [line[2:] for line in text.splitlines() if line.startswith("- ")] == (
        references.splitlines()
    )
    assert "CC0" in page.split("\n---\n")[0]


def test_suffixes_of_one_description_share_a_paragraph() -> None:
    bold = ALL | {"EstimatedOn": "mean"}
    page = write_citation(SETTINGS, {"T2w": OTSU, "bold": bold, "T1w": OTSU, "FLAIR": OTSU})
    first, second, *_ = read_text(page).split("\n\n")
    assert first.startswith("*FLAIR, T1w and T2w images.* ")
    assert "above Otsu's threshold" in first
    assert second.startswith("*bold images.* ")
    assert "on the whole image" in second
    assert "mean of the series" in second
    for name in ("Tustison NJ", "Sled JG", "Otsu N"):
        assert page.count(f"- {name}") == 1
    assert "- Otsu N" not in write_citation(SETTINGS, {"T1w": ALL})


def test_the_page_does_not_depend_on_the_order() -> None:
    one = write_citation(SETTINGS, {"T1w": OTSU, "bold": ALL})
    assert one == write_citation(SETTINGS, {"bold": ALL, "T1w": OTSU})
    assert one != write_citation(N4Settings(), {"bold": ALL, "T1w": OTSU})


def test_patterns_are_no_marks_of_markdown() -> None:
    page = write_citation(SETTINGS, {"T1w": {"Mask": "masks/{sub}_*\n[12]*.nii"}})
    assert r"masks/{sub}\_\* \[12]\*.nii" in page


def test_something_is_to_be_described() -> None:
    with pytest.raises(ValueError, match="described_by_suffix is empty"):
        write_citation(SETTINGS, {})


def test_fields_and_settings_that_images_share() -> None:
    shared = {"Mask": "all", "SharedBy": ["echo", "inv"]}
    page = write_citation(SETTINGS, {"MEGRE": shared})
    assert "session on one grid that differ in echo and inv alone shared one field." in page
    page = write_citation(SETTINGS, {"MEGRE": shared | {"SharedBy": ["session"]}})
    assert "All images of a session on one grid shared one field." in page
    page = write_citation(N4Settings.auto(), {"T1w": {"Mask": "otsu", "Longitudinal": True}})
    assert "chosen for each person, on all images, by how much a first estimate" in page
