"""What a study writes about its images: failures by path, and logs of one line each."""

import json
from pathlib import Path

import pytest

from n4ax.bids.image import Outcome
from n4ax.bids.journal import Journal
from n4ax.provenance import format_json
from tests.bids.runs import make_empty_tree, read_errors

ONE, OTHER = "sub-1/anat/sub-1_T1w.nii.gz", "sub-2/anat/sub-1_T1w.nii.gz"
"""Two images with the same file name, one of them in the wrong folder."""


def fail(source: str) -> Outcome:
    return Outcome(source, source.split("/")[0].removeprefix("sub-"), "failed", f"{source} is bad")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_empty_tree(tmp_path / "ds", ONE, OTHER)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_images_with_the_same_file_name_fail_apart(dataset: Path, output: Path) -> None:
    journal = Journal(dataset, output)
    journal.add(fail(ONE))
    journal.add(fail(OTHER))
    journal.write_errors()
    assert read_errors(output) == {ONE: f"{ONE} is bad", OTHER: f"{OTHER} is bad"}
    journal.add(Outcome(ONE, "1", "corrected"))
    journal.write_errors()
    assert list(read_errors(output)) == [OTHER]
    (dataset / OTHER).unlink()
    again = Journal(dataset, output)
    assert again.write_errors() == {"2"}
    assert read_errors(output) == {}


def test_a_failure_under_a_name_that_no_file_can_have_is_forgotten(
    dataset: Path, output: Path
) -> None:
    old = output / ".n4ax" / "failed" / "old.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps({"Source": "9" * 300, "Subject": "2", "Reason": "it was bad"}))
    journal = Journal(dataset, output)
    journal.add(fail(ONE))
    assert journal.write_errors() == {"2"}
    assert list(read_errors(output)) == [ONE]


def test_failures_of_earlier_versions_are_known_by_their_paths(dataset: Path, output: Path) -> None:
    old = output / ".n4ax" / "failed" / f"{Path(OTHER).name}.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps({"Source": OTHER, "Subject": "2", "Reason": "it was bad"}))
    journal = Journal(dataset, output)
    journal.write_errors()
    assert read_errors(output) == {OTHER: "it was bad"}
    journal.add(Outcome(OTHER, "2", "corrected"))
    journal.write_errors()
    assert read_errors(output) == {}


def test_every_line_of_a_log_begins_with_its_time(dataset: Path, output: Path) -> None:
    notes = ("a  name\nof two lines", "half a pair \udcff and a colour \x1b[31m")
    log = ("Traceback:", "    at \udcff")
    Journal(dataset, output).add(Outcome(ONE, "1", "corrected", notes=notes, log=log))
    lines = (output / "logs" / "sub-1.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        f"{ONE} corrected (0.00 s)",
        "  a  name of two lines",
        r"  half a pair \udcff and a colour \x1b[31m",
        "  Traceback:",
        r"      at \udcff",
    ]


def test_metadata_with_half_of_a_surrogate_pair_are_written() -> None:
    content = {"SeriesDescription": "\ud800 é", "\udcff": [1]}
    text = format_json(content)
    assert json.loads(text.encode()) == content
    assert "é" in text


def test_a_run_that_does_nothing_changes_no_log(dataset: Path, output: Path) -> None:
    log, left_out = (
        output / "logs" / "sub-1.log",
        Outcome(ONE, "1", "skipped", notes=("as before",)),
    )
    Journal(dataset, output).add(Outcome(ONE, "1", "unchanged"))
    assert not log.exists()
    Journal(dataset, output).add(left_out)
    before = log.read_text()
    assert f"{ONE} skipped" in before
    Journal(dataset, output).add(left_out)
    Journal(dataset, output).add(Outcome(ONE, "1", "unchanged"))
    assert log.read_text() == before
    for _ in range(2):  # each try counts
        Journal(dataset, output).add(fail(ONE))
    assert log.read_text().count(f"{ONE} failed") == 2
