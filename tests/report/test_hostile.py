"""Records of an output folder that came from somebody else."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from n4ax.report.group_tables import list_tables
from n4ax.report.pages import make_environment, write_all
from n4ax.report.ratings import merge_ratings, read_folder_ratings
from n4ax.report.records import natural_key
from n4ax.report.values import read_number
from tests.report.support import STUDY, make_measures, write_record

MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'><!--"


def write_errors(output: Path, **changed: Any) -> None:
    failure = {"Source": "sub-02/anat/sub-02_T1w.nii.gz", "Subject": "02", "Reason": "r"} | changed
    (output / "n4ax_errors.json").write_text(json.dumps({"Errors": [failure]}))


@pytest.mark.parametrize("label", ["01/../../outside", "../x", "a\0b", 3, None, ["02"]])
def test_labels_of_failures_name_no_page_outside(label: Any, tmp_path: Path) -> None:
    output = tmp_path / "out"
    write_record(output, "01", None, "T1w", make_measures(1, "T1w"))
    write_errors(output, Subject=label)
    with pytest.raises(ValueError, match=r"n4ax_errors\.json is not a list of failures"):
        write_all(output)
    assert not list(tmp_path.glob("*.html"))


def test_markup_in_records_stays_text(tmp_path: Path) -> None:
    names = ("Mask", "Choice", "Engine", "Version", "Date", "Result", "Source", "Suffix")
    more = dict.fromkeys(names, MARKUP) | {
        "Notes": [MARKUP], "Stopped": [MARKUP, MARKUP],
        "Messages": [{"Code": MARKUP, "Serious": True, "Text": f"{MARKUP} --mask"}],
    }  # fmt: skip
    write_record(tmp_path, "01", None, "T1w", make_measures(1, "T1w"), more=more)
    write_errors(tmp_path, Reason=MARKUP, Source=f"sub-02/{MARKUP}/x_T1w.nii.gz".replace("//", "/"))
    run = dict.fromkeys(("Date", "Command", "Machine", "Version"), MARKUP)
    study = STUDY | {"Dataset": MARKUP, "Runs": [run], "Settings": {MARKUP: {MARKUP: MARKUP}}}
    (tmp_path / "n4ax_study.json").write_text(json.dumps(study))
    for page in write_all(tmp_path):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        attributes = {name for element in soup.find_all() for name in element.attrs}
        assert not [name for name in attributes if name.startswith("on")]
        assert not soup.find_all("img", src="x")
        kinds = [element.get("type") for element in soup.find_all("script")]
        assert set(kinds) <= {None, "application/json"}
        assert kinds.count(None) == 1
        assert MARKUP in soup.get_text() or page.name == "sub-02.html"


@pytest.mark.parametrize("number", [1e308, -1.7e308, 5e-324, 10**400, -(10**400)])
def test_no_number_is_too_large_or_too_small_for_a_page(number: float, tmp_path: Path) -> None:
    for label, field in (("01", [number, 1.0]), ("02", [1.0, number]), ("03", [-1e308, 1e308])):
        measures = make_measures(1, "T1w") | {"FieldRange": field, "cjv_after": number}
        write_record(tmp_path, label, None, "T1w", measures, more={"Threshold": number})
    assert write_all(tmp_path)[-1].name == "group.html"


def test_numbers_that_nothing_is_measured_as_are_unknown() -> None:
    assert [read_number(value) for value in (10**400, 1e101, float("nan"), True, "1")] == [None] * 5
    assert [read_number(value) for value in (1e99, 5e-324, 0, -2)] == [1e99, 0, 0, -2]


def test_names_with_thousands_of_digits_are_sorted() -> None:
    assert sorted(["a" + "9" * 5000, "a2", "a10"], key=natural_key)[:2] == ["a" + "9" * 5000, "a2"]


def test_an_entity_takes_no_column_of_the_tables(tmp_path: Path) -> None:
    source = "sub-01/anat/sub-01_subject-7_=cmd-1_T1w.nii.gz"
    more = {"Source": source}
    write_record(tmp_path, "01", None, "T1w", make_measures(1, "T1w"), more=more)
    write_all(tmp_path)
    with (tmp_path / "group_T1w.tsv").open(newline="") as file:
        head, line = csv.reader(file, delimiter="\t")
    assert line[head.index("subject_id")] == "01"
    assert line[head.index("'=cmd_id")] == "1"


@pytest.mark.skipif(os.name == "nt", reason="these links and pipes are of POSIX")
def test_what_is_no_file_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "group_one.tsv")
    (tmp_path / "group_two.tsv").mkdir()
    (tmp_path / "group_three.tsv").write_text("x" * 200_000)
    assert list_tables(tmp_path) == []
    os.mkfifo(tmp_path / "ratings.tsv")
    with pytest.raises(ValueError, match="is a pipe or a device"):
        read_folder_ratings(tmp_path)


def test_ratings_that_are_elsewhere_are_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "ratings.tsv"
    link.symlink_to(".git/annex/objects/aa/bb/MD5E-s9--00.tsv")
    given = tmp_path / "new.tsv"
    given.write_text(
        "source\trating\trater\tdate\na\tkeep\tme\t2026-11-27\n".replace("keep", "reject")
    )
    with pytest.raises(ValueError, match=r"fetch it \(datalad get\)"):
        merge_ratings(tmp_path, [given], ["a"])
    assert link.is_symlink()


def test_a_label_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    """Half of a surrogate pair is in no name of a file."""
    write_record(tmp_path, "01", None, "T1w", make_measures(1, "T1w"))
    write_errors(tmp_path, Subject="\ud800")
    with pytest.raises(ValueError, match=r"n4ax_errors\.json is not a list of failures"):
        write_all(tmp_path)


@pytest.mark.parametrize(("label", "page"), [("\ud800", "sub-%3F"), ("\udcff", "sub-%FF")])
def test_names_that_are_no_text_are_part_of_an_address(
    tmp_path: Path, label: str, page: str
) -> None:
    """The first is in no name of a file, and the second stands for a byte that is no UTF-8."""
    write_record(tmp_path, "01", None, "T1w", make_measures(1, "T1w"))
    (path,) = (tmp_path / "sub-01" / "figures").glob("*.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"Subject": label, "SettingsStamp": "x"}))
    write_all(tmp_path)
    assert make_environment().from_string("{{ name | page }}").render(name=label) == f"{page}.html"
