"""Ratings of scans: accept, unsure or reject, by people who looked at them.

They are rows of a table, ``ratings.tsv``: a row for each scan and person, the newest wins.
"""

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from n4ax.errors import InputError
from n4ax.files import write_file
from n4ax.paths import check_here, is_there
from n4ax.report.layout import RATINGS
from n4ax.report.records import natural_key
from n4ax.report.study import Study
from n4ax.report.tables import read_cell, write_table
from n4ax.texts import read_text_file

WORDS = ("accept", "unsure", "reject")
_NEEDED = ("source", "rating", "rater", "date")


class Rating(NamedTuple):
    """What a person thinks of a scan."""

    source: str
    """The path of the image in the source dataset."""
    rating: str
    note: str
    rater: str
    date: str
    """When, in UTC with milliseconds, so that these texts can be compared."""
    result: str
    """The ``Result`` of the record that was rated."""


class Merged(NamedTuple):
    """What became of ratings from files."""

    taken: int
    unknown: int
    """How many are of images that are not in the folder."""


def read_ratings(path: Path) -> list[Rating]:
    """Read a table of ratings.

    Raises
    ------
    ValueError
        The file is not such a table. The message names the line.
    OSError
        The file cannot be read.
    """
    try:
        text = read_text_file(path, "utf-8-sig")
    except ValueError as error:
        raise InputError("{0} is no table of ratings: {1}", path, error) from None
    lines = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    try:
        names = next(lines, [""])
        for name in _NEEDED:
            if name not in names:
                raise InputError(
                    "{0}, line 1: there is no column {1}; expected the columns {2}, with tabs "
                    "between them", path, name, " ".join(Rating._fields),
                )  # fmt: skip
        return [
            _read_rating(dict(zip(names, cells, strict=False)), f"{path}, line {lines.line_num}")
            for cells in lines
            if any(cells)
        ]
    except csv.Error as error:
        raise InputError("{0}, line {1}: {2}", path, lines.line_num, error) from None


def read_folder_ratings(output: Path) -> list[Rating]:
    """The ratings in an output folder; none if nobody has rated.

    Raises
    ------
    ValueError
        The file is not a table of ratings, or git-annex has it elsewhere.
    """
    path = output / RATINGS
    check_here(path)
    return read_ratings(path) if is_there(path) else []


def merge_ratings(output: Path, files: Sequence[Path], sources: Iterable[str]) -> Merged:
    """Merge tables of ratings into that of an output folder.

    Of each scan and person, the newest rating stays.

    Parameters
    ----------
    output : Path
        The folder.
    files : sequence of Path
        Tables that were saved from pages.
    sources : iterable of str
        The images that can be rated. Ratings of others are left out.

    Raises
    ------
    ValueError
        A file is not a table of ratings. Nothing is written then.
    OSError
        A file cannot be read or written.
    """
    known = set(sources)
    given = [rating for file in files for rating in read_ratings(file)]
    taken = [rating for rating in given if rating.source in known]
    kept = _keep_newest([*read_folder_ratings(output), *taken])
    rows = [rating._asdict() for rating in kept]
    write_file(output / RATINGS, write_table(Rating._fields, rows))
    return Merged(len(taken), len(given) - len(taken))


def find_newest(ratings: Iterable[Rating]) -> dict[str, Rating]:
    """The newest rating of each scan, whoever rated it."""
    found: dict[str, Rating] = {}
    for rating in ratings:
        known = found.get(rating.source)
        if known is None or known.date <= rating.date:
            found[rating.source] = rating
    return found


def is_outdated(rating: Rating, result: str | None) -> bool:
    """Whether a rating is of an earlier result."""
    return bool(rating.result and result and rating.result != result)


def describe_ratings(
    ratings: Sequence[Rating], study: Study, sources: Iterable[str]
) -> Mapping[str, Any]:
    """What a page with ratings needs, for ``rating.html``.

    Parameters
    ----------
    ratings
        All ratings of the folder.
    study
        What is known of the study.
    sources
        The images on the page.
    """
    known = set(sources)
    return {
        "Dataset": study.dataset or "",
        "Rows": [list(rating) for rating in _keep_newest(ratings) if rating.source in known],
    }


def list_next_steps(study: Study) -> tuple[str, str]:
    """The commands that put ratings into the folder, and that correct rejected scans anew."""
    rerun = study.rerun or "n4ax bids BIDS_DIR OUTPUT_DIR participant"
    return (
        f"n4ax report {_find_output(rerun)} --ratings {RATINGS}",
        f"{rerun} --rated reject --output-settings exception --preset auto",
    )


def _read_rating(cells: Mapping[str, str], place: str) -> Rating:
    """Read a row; ``place`` is the file and line for errors."""
    found = {name: read_cell(cells.get(name, "")) for name in Rating._fields}
    if not found["source"]:
        raise InputError("{0}: there is no source", place)
    if found["rating"] not in WORDS:
        raise InputError(
            "{0}: rating is {1!r}; expected {2}, {3} or {4}", place, found["rating"], *WORDS
        )
    try:
        date = datetime.fromisoformat(found["date"])
        zoned = date if date.tzinfo else date.replace(tzinfo=UTC)
        found["date"] = _write_date(zoned)
    except (ValueError, OverflowError):
        raise InputError(
            "{0}: date is {1!r}; expected one such as 2026-11-27T10:00:00Z", place, found["date"]
        ) from None
    return Rating(**found)


def _write_date(date: datetime) -> str:
    return date.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _keep_newest(ratings: Iterable[Rating]) -> list[Rating]:
    """The newest rating of each scan and person, sorted by these; of two of one time the last."""
    found: dict[tuple[str, str], Rating] = {}
    for rating in ratings:
        key = rating.source, rating.rater
        if key not in found or found[key].date <= rating.date:
            found[key] = rating
    return sorted(found.values(), key=lambda rating: (natural_key(rating.source), rating.rater))


def _find_output(rerun: str) -> str:
    """The output folder as the last command named it."""
    try:
        words = shlex.split(rerun)
    except ValueError:
        words = []
    named = words[:2] == ["n4ax", "bids"] and len(words) > 3 and not words[3].startswith("-")
    return shlex.quote(words[3]) if named else "OUTPUT_DIR"
