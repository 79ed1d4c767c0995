"""What a run left in its output folder for the reports: a record per scan, and the failures."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from n4ax.report.layout import ERRORS

_PATTERNS = ("figures/*.json", "ses-*/figures/*.json")
_MEASURED = ("FieldRange", "CoefficientOfVariation", "CoefficientOfJointVariation", "Histogram")
_NEEDED = ("Source", "Subject", "Suffix", "Measures")


class Record(NamedTuple):
    """A scan that was corrected."""

    path: Path
    """Of the record; the pictures lie beside it."""
    entries: dict[str, Any]

    @property
    def stem(self) -> str:
        """The beginning of the pictures' names."""
        return self.path.name.removesuffix(".json")

    def picture(self, name: str) -> Path:
        """Where the picture ``name`` of this scan is: before, after or field."""
        return self.path.with_name(f"{self.stem}_{name}.webp")


class NothingToReportError(ValueError):
    """Neither scans nor failures where some were looked for."""


def labels(output: Path) -> list[str]:
    """Of all participants with a scan or a failure; 2 comes before 10.

    Raises
    ------
    NothingToReportError
        There is none.
    """
    with_records = {
        folder.name.removeprefix("sub-")
        for folder in output.glob("sub-*/")
        if any(next(folder.glob(pattern), None) for pattern in _PATTERNS)
    }
    found = with_records | {str(failure["Subject"]) for failure in failures(output)}
    if not found:
        raise NothingToReportError(
            f"{output}: no scan to report on (looked for sub-*/figures/*.json and "
            "sub-*/ses-*/figures/*.json): run n4ax bids on it first"
        )
    return sorted(found, key=natural)


def read_records(output: Path, label: str) -> list[Record]:
    """The scans of a participant, by session and name; none where there are none.

    Raises
    ------
    ValueError
        A file is not a record.
    """
    folder = output / f"sub-{label}"
    paths = [path for pattern in _PATTERNS for path in folder.glob(pattern)]
    return [_read(path) for path in sorted(paths, key=lambda path: natural(str(path)))]


def failures(output: Path) -> list[dict[str, Any]]:
    """Scans that could not be corrected, with ``Source``, ``Subject`` and ``Reason``.

    Raises
    ------
    ValueError
        The file of them is not what it should be.
    """
    path = output / ERRORS
    if not path.exists():
        return []
    found = _json(path).get("Errors")
    names = {"Source", "Subject", "Reason"}
    if not isinstance(found, list) or not all(
        isinstance(entry, dict) and names <= entry.keys() for entry in found
    ):
        raise ValueError(f"{path} is not a list of failures: run n4ax bids again")
    return sorted(found, key=lambda entry: natural(str(entry["Source"])))


def natural(text: str) -> list[tuple[int, str]]:
    """To sort by, numbers in a text as numbers."""
    parts = re.findall(r"\d+|\D+", text)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def _read(path: Path) -> Record:
    entries = _json(path)
    missing = [name for name in _NEEDED if name not in entries]
    if missing:
        raise ValueError(f"{path} is not a record of a scan: it has no {' and no '.join(missing)}")
    measured = entries["Measures"]
    if not isinstance(measured, dict) or not set(_MEASURED) <= set(measured):
        raise ValueError(f"{path} is not a record of a scan: its Measures lack {_MEASURED}")
    return Record(path, entries)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not text
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} has no names in it: it was not written by n4ax")
    return content
