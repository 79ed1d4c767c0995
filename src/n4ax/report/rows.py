"""The scans of a group as rows: what they measure, what is unusual, and what people think."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from n4ax.report.formats import format_number
from n4ax.report.outliers import LIMIT, Distance, measure_distances
from n4ax.report.ratings import Rating, find_newest
from n4ax.report.records import Record, natural_key
from n4ax.report.study import Study, has_earlier_settings

SEARCHED = {
    "field_min": "Field low",
    "field_max": "Field high",
    "inu_p05": "Field 5 %",
    "inu_p95": "Field 95 %",
    "cjv_before": "CJV before",
    "cjv": "CJV after",
}
"""The numbers that are searched for outliers, with their names for readers."""
_UNKNOWN_SUFFIX = "unknown"
"""Stands for the suffix of a failed image whose name has none."""


class Flag(NamedTuple):
    """A number of a scan that is unusual."""

    side: str
    """On which side of the median: ``"above"`` or ``"below"``."""
    short: str
    text: str


class Row(NamedTuple):
    """A scan as the tables show it."""

    source: str
    subject: str
    session: str | None
    suffix: str
    entities: dict[str, str]
    """The further entities in the name, such as run."""
    record: Record | None
    """``None`` if the scan failed and there is no earlier result."""
    reason: str | None
    """Why the scan could not be corrected."""
    numbers: dict[str, float | None]
    flags: dict[str, Flag]
    """What is unusual, by the name of the number."""
    earlier: bool
    """Whether it has earlier settings than the folder, and not on purpose."""
    rating: Rating | None

    @property
    def name_parts(self) -> list[str]:
        """The parts of the name, such as sub-01, ses-1, run-2 and T1w."""
        return split_name(self.source)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What is to be said of the correction."""
        return [] if self.record is None else self.record.entries["Messages"]


def make_rows(
    records: Sequence[Record],
    failures: Sequence[Mapping[str, Any]],
    study: Study,
    ratings: Sequence[Rating],
) -> list[Row]:
    """Prepare all scans, with their outliers flagged, sorted by their paths.

    A scan that failed is a row as well. If it was corrected before, its row has what was measured
    then, since the earlier result is still there.
    """
    reasons = {str(failure["Source"]): str(failure["Reason"]) for failure in failures}
    newest = find_newest(ratings)
    rows = [_make_row(record, reasons, study, newest) for record in records]
    known = {row.source for row in rows}
    rows += [
        _make_failed_row(failure) for failure in failures if str(failure["Source"]) not in known
    ]
    for suffix in sorted({row.suffix for row in rows}):
        _flag_outliers([row for row in rows if row.suffix == suffix])
    return sorted(rows, key=lambda row: natural_key(row.source))


def split_name(source: str) -> list[str]:
    """The parts of the file name in a path."""
    return source.rsplit("/", 1)[-1].split(".")[0].split("_")


def _make_row(
    record: Record, reasons: Mapping[str, str], study: Study, newest: Mapping[str, Rating]
) -> Row:
    entries = record.entries
    source = entries["Source"]
    return Row(
        source=source,
        subject=entries["Subject"],
        session=entries["Session"],
        suffix=entries["Suffix"],
        entities=_find_entities(record.name_parts),
        record=record,
        reason=reasons.get(source),
        numbers=_collect_numbers(entries["Measures"]),
        flags={},
        earlier=has_earlier_settings(record, study),
        rating=newest.get(source),
    )


def _make_failed_row(failure: Mapping[str, Any]) -> Row:
    source = str(failure["Source"])
    parts = split_name(source)
    sessions = [part.removeprefix("ses-") for part in parts if part.startswith("ses-")]
    return Row(
        source=source,
        subject=str(failure["Subject"]),
        session=sessions[0] if sessions else None,
        suffix=parts[-1] if len(parts) > 1 else _UNKNOWN_SUFFIX,
        entities=_find_entities(parts),
        record=None,
        reason=str(failure["Reason"]),
        numbers=dict.fromkeys(SEARCHED),
        flags={},
        earlier=False,
        rating=None,
    )


def _find_entities(parts: Sequence[str]) -> dict[str, str]:
    pairs = [part.split("-", 1) for part in parts[:-1] if "-" in part]
    return {name: label for name, label in pairs if name not in ("sub", "ses")}


def _collect_numbers(measures: Mapping[str, Any]) -> dict[str, float | None]:
    low, high = measures["FieldRange"]
    return {
        "field_min": low,
        "field_max": high,
        "inu_p05": measures["inu_p05"],
        "inu_p95": measures["inu_p95"],
        "cjv_before": measures["cjv_before"],
        "cjv": measures["cjv_after"],
    }


def _flag_outliers(rows: Sequence[Row]) -> None:
    """Put into the ``flags`` of rows what is unusual among them; all have the same suffix."""
    for name in SEARCHED:
        distances = measure_distances([row.numbers[name] for row in rows])
        for row, distance in zip(rows, distances, strict=True):
            if distance is not None and abs(distance.score) > LIMIT:
                row.flags[name] = _make_flag(name, row, distance)


def _make_flag(name: str, row: Row, distance: Distance) -> Flag:
    side, arrow = ("above", "↑") if distance.score > 0 else ("below", "↓")
    return Flag(
        side,
        f"{SEARCHED[name]} {arrow}",
        f"{SEARCHED[name]} is {format_number(row.numbers[name])}, {abs(distance.score):.1f} robust "
        f"standard deviations {side} {format_number(distance.median)}, the median of the "
        f"{row.suffix} scans",
    )
