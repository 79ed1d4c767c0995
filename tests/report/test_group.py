"""The page of the group and its tables: the same scans, failures among them, and no markup."""

import base64
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from PIL import Image

from n4ax.report import group
from n4ax.report.pages import write_all, write_group
from tests.report.support import STUDY, make_measures, read_pixels, read_scans, write_record

SERIOUS = {"Code": "uneven-tissues", "Serious": True, "Text": "the tissues are less even"}
REMARK = {"Code": "fine-mesh", "Serious": False, "Text": "the mesh is fine"}


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read_text(page: Path) -> str:
    """The text of a page as a reader sees it, without scripts."""
    soup = BeautifulSoup(page.read_text(), "html.parser")
    return " ".join(soup.select_one("main").get_text(" ").split())  # type: ignore[union-attr]


def write_errors(output: Path, *failures: tuple[str, str, str]) -> None:
    names = ("Source", "Subject", "Reason")
    errors = [dict(zip(names, failure, strict=True)) for failure in failures]
    (output / "n4ax_errors.json").write_text(json.dumps({"Errors": errors}))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Ten participants with a T1w image each, of which some are special, and two failures."""
    (tmp_path / "n4ax_study.json").write_text(json.dumps(STUDY))
    for number in range(1, 11):
        more: dict[str, Any] = {"SettingsHash": "1a2b3c4d", "Result": f"{number:012}"}
        more["Messages"] = {4: [REMARK, SERIOUS], 5: [REMARK]}.get(number, [])
        more |= {2: {"SettingsHash": "00000000"}}.get(number, {})
        more |= {3: {"SettingsHash": "00000000", "Exception": True}}.get(number, {})
        measures = make_measures(number, "T1w")
        if number == 6:
            measures["cjv_after"] = 3.0
        write_record(tmp_path, str(number), "1", "T1w", measures, more=more)
    write_errors(
        tmp_path,
        ("sub-7/ses-1/anat/sub-7_ses-1_T1w.nii.gz", "7", "the new file is too short"),
        ("sub-11/ses-2/anat/sub-11_ses-2_run-2_FLAIR.nii.gz", "11", "the mask is empty"),
    )
    return tmp_path


def test_tables_have_the_values_of_the_page(study: Path) -> None:
    page = write_group(study)
    tables = {suffix: read_table(study / f"group_{suffix}.tsv") for suffix in ("T1w", "FLAIR")}
    rows = [row for table in tables.values() for row in table]
    assert len(rows) == 11
    compared = 0
    for row in rows:
        [scan] = read_scans(page, row["source"])
        for name in row.keys() & scan.keys():
            value = scan[name]
            if isinstance(value, bool):
                value = str(value).lower()
            assert row[name] == ("n/a" if value is None else str(value)), name
            compared += 1
    assert compared >= 11 * 15


def test_tables_have_the_columns_of_mriqc_first(study: Path) -> None:
    write_group(study)
    [first, *_] = read_table(study / "group_T1w.tsv")
    assert list(first)[:3] == ["bids_name", "subject_id", "session_id"]
    assert {"cjv", "inu_med", "inu_range", "size_x", "size_z", "spacing_y"} <= first.keys()
    assert "size_t" not in first
    assert (first["bids_name"], first["size_x"], first["spacing_x"]) == (
        "sub-1_ses-1_T1w", "96", "2.0"
    )  # fmt: skip
    record = json.loads(next((study / "sub-1").rglob("figures/*.json")).read_text())["Measures"]
    assert float(first["cjv"]) == pytest.approx(record["cjv_after"], rel=1e-5)
    assert float(first["cjv_before"]) == pytest.approx(record["cjv_before"], rel=1e-5)
    assert float(first["field_max"]) == pytest.approx(record["FieldRange"][1], rel=1e-5)
    [failed] = read_table(study / "group_FLAIR.tsv")
    assert (failed["run_id"], failed["session_id"], failed["cjv"]) == ("2", "2", "n/a")
    described = json.loads((study / "group_T1w.json").read_text())
    assert list(described) == list(first)


def test_failures_are_rows(study: Path) -> None:
    page = write_group(study)
    [new] = read_scans(page, "sub-11/ses-2/anat/sub-11_ses-2_run-2_FLAIR.nii.gz")
    assert (new["state"], new["reason"], new["stem"]) == ("failed", "the mask is empty", None)
    assert (new["suffix"], new["session_id"], new["run"]) == ("FLAIR", "2", "2")
    [again] = read_scans(page, "sub-7/ses-1/anat/sub-7_ses-1_T1w.nii.gz")
    assert (again["state"], again["reason"]) == ("failed", "the new file is too short")
    assert again["cjv"] is not None  # the earlier result is still there
    assert len(read_scans(page)) == 11


def test_head_tells_the_run_and_whose_settings_differ(study: Path) -> None:
    text = read_text(write_group(study))
    assert "10 scans corrected 11 participants 2 failures 1 outlier" in text
    assert "2 scans with remarks, 1 serious" in text
    assert "1 of 10 scans still has earlier settings sub-2 ses-1 T1w" in text
    assert "1 scan has settings of its own sub-3 ses-1 T1w" in text
    assert "Last run 2026-11-27 10:00:00+00:00 on scanner-7, Linux x86_64, 2 cores" in text
    assert "n4ax bids study out participant --mask otsu --shrink-factor 4 Copy" in text
    assert "T1w 1a2b3c4d ShrinkFactor 4 Mask otsu" in text
    (study / "n4ax_study.json").unlink()
    text = read_text(write_group(study))
    assert "earlier settings" not in text
    assert "Last run" not in text


def test_outliers_and_verdicts_are_in_the_rows(study: Path) -> None:
    scans = {scan["subject_id"]: scan for scan in read_scans(write_group(study))}
    assert "cjv above" in scans["6"]["outlier"].split(",")
    short, long = scans["6"]["unusual"]["cjv"]
    assert short == "CJV after ↑"
    assert re.fullmatch(
        r"CJV after is 3\.000, [\d.]+ robust standard deviations above 0\.\d+, the median of the "
        r"T1w scans", long,
    )  # fmt: skip
    assert scans["4"]["verdict"] == "fine-mesh,uneven-tissues"
    assert scans["4"]["serious"] == ["the tissues are less even"]
    assert (scans["5"]["verdict"], scans["5"]["serious"]) == ("fine-mesh", [])


def test_tables_of_suffixes_that_are_gone_are_removed(study: Path) -> None:
    write_group(study)
    (study / "group_mine.tsv").write_text("name\tvalue\n1\t2\n")
    (study / "group_bold.tsv").write_text("bids_name\tsettings_hash\n")
    (study / "group_bold.json").write_text("{}")
    (study / "n4ax_errors.json").unlink()
    write_group(study)
    assert sorted(path.name for path in study.glob("group*")) == [
        "group.html", "group_T1w.json", "group_T1w.tsv", "group_mine.tsv"
    ]  # fmt: skip


def test_cells_that_a_spreadsheet_would_compute_are_guarded(study: Path) -> None:
    source = "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz"
    write_errors(study, (source, "1", '=HYPERLINK("x")\tand\nmore'), ("-2/x", "9", "+1"))
    path = next((study / "sub-2").rglob("figures/*.json"))
    entries = json.loads(path.read_text())
    entries["Measures"]["cjv_after"] = -0.5
    path.write_text(json.dumps(entries))
    write_group(study)
    rows = {row["subject_id"]: row for row in read_table(study / "group_T1w.tsv")}
    assert rows["1"]["reason"] == '\'=HYPERLINK("x") and more'
    assert rows["2"]["cjv"] == "-0.5"
    [odd] = read_table(study / "group_unknown.tsv")
    assert (odd["source"], odd["reason"]) == ("'-2/x", "'+1")


def test_names_cannot_lead_tables_out_of_the_folder(study: Path) -> None:
    path = next((study / "sub-2").rglob("figures/*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Suffix": "../../x</script>"}))
    page = write_group(study)
    assert (study / "group_-x-script-.tsv").exists()
    assert page.read_text().count("</script>") == 3
    assert read_scans(page, "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz")[0]["suffix"] == (
        "../../x</script>"
    )


def test_tiles_are_in_the_page_once(study: Path) -> None:
    figures = study / "sub-1" / "ses-1" / "figures"
    Image.new("RGB", (144, 72), (200, 0, 0)).save(figures / "sub-1_ses-1_desc-n4_T1w_tile.webp")
    page = write_group(study)
    assert page.read_text().count("data:image/webp") == 1
    [scan] = read_scans(page, "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz")
    assert scan["tile"].startswith("data:image/webp;base64,")


def test_tiles_are_made_of_the_pictures_of_earlier_versions(few: Path) -> None:
    folder = few / "sub-10" / "figures"
    (folder / "sub-10_desc-n4_FLAIR_tile.webp").unlink()
    for name, colours in (("after", (250, 10, 10)), ("field", (90, 10, 10))):
        picture = Image.new("L", (900, 300))
        for cell, colour in enumerate(colours):
            picture.paste(colour, (300 * cell, 0, 300 * cell + 300, 300))
        picture.save(folder / f"sub-10_desc-n4_FLAIR_{name}.webp", lossless=True)
    [scan] = read_scans(write_group(few), "sub-10/anat/sub-10_FLAIR.nii.gz")
    pixels = read_pixels(base64.b64decode(scan["tile"].split(",")[1]))
    assert pixels.shape == (72, 144)
    assert abs(pixels[36, 36] - 250) < 9
    assert abs(pixels[36, 108] - 90) < 9


def test_with_very_many_scans_there_are_no_pictures(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = write_group(few)
    assert page.read_text().count("data:image/webp") == 3
    crowded = len(re.findall("<circle", page.read_text()))
    monkeypatch.setattr(group, "MOST_PICTURED", 2)
    monkeypatch.setattr("n4ax.report.pages.MOST_PICTURED", 2)
    page = write_group(few)
    assert "data:image/webp" not in page.read_text()
    assert "there are more than 2 scans" in read_text(page)
    assert crowded == 9
    assert "<circle" not in page.read_text()
    [first, *_] = re.findall(r'<path class="crowd" d="([^"]+)"', page.read_text())
    assert len(re.findall("M[0-9.]+ [0-9.]+h0", first)) == 3


def test_tables_have_the_same_bytes_again(study: Path) -> None:
    def read() -> dict[str, bytes]:
        write_all(study)
        return {path.name: path.read_bytes() for path in study.glob("group*")}

    assert read() == read()
