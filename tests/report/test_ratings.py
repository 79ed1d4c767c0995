"""Ratings in files: merged by scan and person, and refused with the line if they are wrong."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from n4ax.cli.report import report
from n4ax.report.pages import write_all
from n4ax.report.ratings import find_newest, is_outdated, merge_ratings, read_ratings
from tests.report.support import read_data, read_scans

ONE, OTHER = "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz", "sub-10/anat/sub-10_FLAIR.nii.gz"
HEAD = "source\trating\tnote\trater\tdate\tresult\n"


def write(path: Path, *rows: tuple[str, ...]) -> Path:
    path.write_text(HEAD + "".join("\t".join(row) + "\n" for row in rows))
    return path


def test_of_each_scan_and_person_the_newest_stays(few: Path) -> None:
    files = [
        write(
            few / "ann.tsv",
            (ONE, "accept", "n/a", "Ann", "2026-01-02T00:00:00Z", "aa"),
            (OTHER, "unsure", "a ghost", "Ann", "2026-01-01T00:00:00+00:00", "bb"),
        ),
        write(
            few / "both.tsv",
            # one hour later than midnight in Berlin is before midnight in UTC
            (ONE, "reject", "n/a", "Ann", "2026-01-02T00:30:00+01:00", "aa"),
            (ONE, "reject", "n/a", "Bob", "2026-01-03", "aa"),
            ("sub-9/x.nii", "reject", "n/a", "Bob", "2026-01-03T00:00:00Z", "aa"),
        ),
    ]
    assert merge_ratings(few, files, {ONE, OTHER}) == (4, 1)
    kept = read_ratings(few / "ratings.tsv")
    assert [(row.source, row.rater, row.rating, row.note) for row in kept] == [
        (ONE, "Ann", "accept", ""),
        (ONE, "Bob", "reject", ""),
        (OTHER, "Ann", "unsure", "a ghost"),
    ]
    before = (few / "ratings.tsv").read_bytes()
    assert merge_ratings(few, files, {ONE, OTHER}) == (4, 1)
    assert (few / "ratings.tsv").read_bytes() == before
    newest = find_newest(kept)
    assert newest[ONE].rater == "Bob"
    assert is_outdated(newest[ONE], "cc")
    assert not is_outdated(newest[ONE], "aa")
    assert not is_outdated(newest[ONE], None)


def test_what_was_rated_before_stays_though_the_scan_is_gone(few: Path) -> None:
    gone = ("sub-8/anat/sub-8_T1w.nii.gz", "reject", "n/a", "Ann", "2026-01-01T00:00:00Z", "aa")
    write(few / "ratings.tsv", gone)
    new = write(few / "new.tsv", (ONE, "accept", "n/a", "Ann", "2026-01-01T00:00:00Z", "aa"))
    merge_ratings(few, [new], {ONE})
    assert [row.source for row in read_ratings(few / "ratings.tsv")] == [ONE, gone[0]]


@pytest.mark.parametrize(
    "note", ["=1+1", "+x", "-x", "@x", "'=x", "'tis", 'he said "no"', '"', "a\tb\nc", "n/a", "é 漢"]
)
def test_notes_survive_a_table(few: Path, note: str) -> None:
    from n4ax.report.tables import write_table

    row = (ONE, "accept", note, "=Ann", "2026-01-01T00:00:00.000Z", "aa")
    names = HEAD.split()
    (few / "a.tsv").write_bytes(write_table(names, [dict(zip(names, row, strict=True))]))
    text = (few / "a.tsv").read_text()
    assert not [cell for cell in text.splitlines()[1].split("\t") if cell[0] in "=+-@"]
    [found] = read_ratings(few / "a.tsv")
    expected = {"a\tb\nc": "a b c", "n/a": ""}.get(note, note)
    assert (found.note, found.rater) == (expected, "=Ann")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source\trating\n", r"line 1: there is no column rater; expected the columns source"),
        ("", "line 1: there is no column source"),
        (f"{HEAD}\n{ONE}\tgood\t\tA\t2026-01-01\t\n", r"line 3: rating is 'good'; expected accept"),
        (f"{HEAD}{ONE}\taccept\t\tA\tsoon\t\n", r"line 2: date is 'soon'; expected one such as 2"),
        (f"{HEAD}\taccept\t\tA\t2026-01-01\t\n", "line 2: there is no source"),
        (f"{HEAD}{ONE}\n", "line 2: rating is ''; expected accept"),
        (f'{HEAD}{ONE}\t"accept\t\tA\t2026-01-01\t\n', "line 2: unexpected end"),
    ],
)
def test_files_that_are_wrong_are_refused_with_the_line(few: Path, text: str, message: str) -> None:
    good = write(few / "good.tsv", (ONE, "accept", "", "Ann", "2026-01-01", ""))
    bad = few / "b{a}d.tsv"
    bad.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        merge_ratings(few, [good, bad], {ONE})
    assert str(bad) in str(caught.value)
    assert not (few / "ratings.tsv").exists()
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not text"):
        read_ratings(bad)


def test_tables_of_spreadsheets_are_read(few: Path) -> None:
    text = HEAD + f'{ONE}\taccept\t"a ""b"""\tAnn\t2026-01-01T10:00:00Z\t\n'
    (few / "a.tsv").write_bytes(("\ufeff" + text.replace("\n", "\r\n")).encode())
    [found] = read_ratings(few / "a.tsv")
    assert (found.note, found.date, found.result) == ('a "b"', "2026-01-01T10:00:00.000Z", "")


def test_command_merges_and_pages_have_the_ratings(few: Path) -> None:
    write_all(few)
    before = (few / "group.html").read_bytes()
    given = write(
        few / "ann.tsv",
        (ONE, "reject", "a <b>ghost</b>", "Ann", "2026-01-02T00:00:00Z", "aa"),
        ("sub-9/x.nii", "reject", "n/a", "Ann", "2026-01-02T00:00:00Z", "aa"),
    )
    done = CliRunner().invoke(report, [str(few), "--ratings", str(given), "--ratings", str(given)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        f"Merged 2 ratings into {few / 'ratings.tsv'}; 2 are of scans not in the folder: left out.",
        f"Wrote 3 participant pages and {few / 'group.html'}.",
    ]
    row = [ONE, "reject", "a <b>ghost</b>", "Ann", "2026-01-02T00:00:00.000Z", "aa"]
    assert read_data(few / "group.html", "ratings")["Rows"] == [row]
    assert "<b>ghost" not in (few / "group.html").read_text()
    [scan] = read_scans(few / "group.html", ONE)
    assert "a <b>ghost</b>" in (few / "group_T1w.tsv").read_text()
    assert scan["result"] is None
    (few / "ratings.tsv").unlink()
    write_all(few)
    assert (few / "group.html").read_bytes() == before
    (few / "ann.tsv").write_text("nothing")
    failed = CliRunner().invoke(report, [str(few), "--ratings", str(given)])
    assert isinstance(failed.exception, ValueError)
    assert (few / "group.html").read_bytes() == before
