"""What a run left in its output folder for the reports: a record per scan, and the failures."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from n4ax.paths import check_here, is_there
from n4ax.report.entries import complete
from n4ax.report.layout import ERRORS
from n4ax.texts import read_json_file

_PATTERNS = ("figures/*.json", "ses-*/figures/*.json")
_SEPARATORS = re.compile(r"[/\\]" if os.sep == "\\" else "/")
_MOST_DIGITS = 300
"""More digits are sorted as text: Python makes no number of more than some thousand."""


class Record(NamedTuple):
    """A scan that was corrected."""

    path: Path
    """The file of the record; the pictures lie beside it."""
    entries: dict[str, Any]
    """Its entries, with what is missing completed by :func:`n4ax.report.entries.complete`."""

    @property
    def stem(self) -> str:
        """The beginning of the pictures' names."""
        return self.path.name.removesuffix(".json")

    @property
    def name_parts(self) -> list[str]:
        """The parts of the scan's file name, such as sub-01, ses-1, run-2 and T1w."""
        return str(self.entries["Source"]).rsplit("/", 1)[-1].split(".")[0].split("_")

    def picture_path(self, name: str) -> Path:
        """The file of a picture of this scan, such as ``"before"``, ``"after"`` or ``"tile"``.

        Raises
        ------
        ValueError
            git-annex has the picture elsewhere: a page must not lose what it showed before.
        """
        path = self.path.with_name(f"{self.stem}_{name}.webp")
        check_here(path)
        return path


class NothingToReportError(ValueError):
    """There are neither scans nor failures to report on."""


def find_labels(output: Path) -> list[str]:
    """The labels of all participants with a scan or a failure; 2 comes before 10.

    Raises
    ------
    NothingToReportError
        There are no such participants.
    """
    with_records = {
        folder.name.removeprefix("sub-")
        for folder in output.glob("sub-*/")
        if any(next(folder.glob(pattern), None) for pattern in _PATTERNS)
    }
    found = with_records | {str(failure["Subject"]) for failure in read_failures(output)}
    if not found:
        raise NothingToReportError(
            f"{output}: no scan to report on (looked for sub-*/figures/*.json and "
            "sub-*/ses-*/figures/*.json): run n4ax bids on it first"
        )
    return sorted(found, key=natural_key)


def has_records(output: Path) -> bool:
    """Whether a scan has been corrected."""
    return any(next(output.glob(f"sub-*/{pattern}"), None) for pattern in _PATTERNS)


def read_records(output: Path, label: str) -> list[Record]:
    """The records of a participant's scans, sorted by session and name; they may be none.

    Raises
    ------
    ValueError
        A file is not a record.
    """
    folder = output / f"sub-{label}"
    paths = [path for pattern in _PATTERNS for path in folder.glob(pattern)]
    return [_read_record(path) for path in sorted(paths, key=lambda path: natural_key(str(path)))]


def list_sources(output: Path) -> set[str]:
    """The paths of all images in the dataset that have a record or a failure.

    Raises
    ------
    ValueError
        There are none, or a file is not a record.
    """
    failed = {str(failure["Source"]) for failure in read_failures(output)}
    return failed | {
        str(record.entries["Source"])
        for label in find_labels(output)
        for record in read_records(output, label)
    }


def read_failures(output: Path) -> list[dict[str, Any]]:
    """The scans that could not be corrected, each with ``Source``, ``Subject`` and ``Reason``.

    Raises
    ------
    ValueError
        The file is not a list of failures.
    """
    path = output / ERRORS
    check_here(path)
    if not is_there(path):
        return []
    found = read_json(path).get("Errors")
    if not isinstance(found, list) or not all(map(is_failure, found)):
        raise ValueError(f"{path} is not a list of failures: run n4ax bids again")
    return sorted(found, key=lambda entry: natural_key(entry["Source"]))


def is_failure(entry: Any) -> bool:
    """Whether a value is a failure whose names stay inside of the folder: files are named by them.

    ``Source`` is the path of an image in its dataset, and ``Subject`` a label.
    """
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(name), str) for name in ("Source", "Subject", "Reason")
    ):
        return False
    source, label = entry["Source"], entry["Subject"]
    return is_inner(source) and (not label or is_inner(label)) and not _SEPARATORS.search(label)


def is_inner(path: str) -> bool:
    """Whether a text is a relative path that never leaves the folder that it is in."""
    parts = _SEPARATORS.split(path)
    try:
        os.fsencode(path)  # half of a surrogate pair is in no name of a file
    except UnicodeEncodeError:
        return False
    return "\0" not in path and not {"", ".", ".."} & set(parts) and not Path(path).is_absolute()


def natural_key(text: str) -> list[tuple[int, str]]:
    """A key that sorts the numbers in texts as numbers, so that 2 comes before 10."""
    parts = re.findall(r"\d+|\D+", text)
    return [
        (int(part), part) if part.isdecimal() and len(part) < _MOST_DIGITS else (-1, part)
        for part in parts
    ]


def _read_record(path: Path) -> Record:
    entries = read_json(path)
    if not {"Source", "Measures"} & entries.keys():
        raise ValueError(
            f"{path} is not a record of a scan: it has no Source and no Measures: run n4ax bids "
            "again"
        )
    return Record(path, complete(entries, path))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises
    ------
    ValueError
        The file is not JSON, or holds no object, or git-annex has it elsewhere.
    """
    check_here(path)
    try:
        content = read_json_file(path)
    except ValueError as error:  # the file is not JSON, or not text
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a JSON object: it was not written by n4ax")
    return content
