"""What the page of the group shows: its head, strips of dots, and the scans as data."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from n4ax.report.charts import Dot, Strip, StripValue, make_strip
from n4ax.report.differences import describe_setting
from n4ax.report.formats import format_number
from n4ax.report.group_tables import list_values
from n4ax.report.rows import Row
from n4ax.report.study import Run, Study
from n4ax.report.tiles import make_tile

MOST_PICTURED = 2000
"""With more scans than this there are no pictures, and only outliers have dots to click on."""
_MOST_NAMED = 100
"""So many scans are named at most in a sentence about them."""
_PAGE_COLUMNS = (
    "source", "bids_name", "subject_id", "session_id", "suffix", "run", "further", "field_min",
    "field_max", "inu_p05", "inu_p95", "cjv_before", "cjv", "iterations", "seconds", "verdict",
    "state", "reason", "outlier", "settings_hash", "exception", "earlier", "serious", "unusual",
    "stem", "result", "tile",
)  # fmt: skip
"""What the script gets of each scan."""


class Named(NamedTuple):
    """The number of scans of a kind, and the first of them."""

    number: int
    first: list[Row]


class Summary(NamedTuple):
    """The numbers above the table."""

    corrected: int
    participants: int
    failures: int
    outliers: int
    verdicts: int
    """Scans of which something is said."""
    serious: int
    """Scans of which something serious is said."""
    earlier: Named
    own: Named
    run: Run | None
    settings: list[tuple[str, str | None, list[tuple[str, str]]]]
    """By suffix: the hash, and the settings as texts."""


class DotStrip(NamedTuple):
    """A strip in which dots that are nothing special may be drawn as one path."""

    strip: Strip
    dots: list[Dot]
    crowd: str


def summarise(rows: Sequence[Row], study: Study) -> Summary:
    """Count the scans, and find those whose settings are not those of the folder."""
    return Summary(
        corrected=sum(row.record is not None for row in rows),
        participants=len({row.subject for row in rows}),
        failures=sum(row.reason is not None for row in rows),
        outliers=sum(bool(row.flags) for row in rows),
        verdicts=sum(bool(row.messages) for row in rows),
        serious=sum(any(message["Serious"] for message in row.messages) for row in rows),
        earlier=_name([row for row in rows if row.earlier]),
        own=_name([row for row in rows if row.record and row.record.entries["Exception"]]),
        run=study.last,
        settings=[
            (suffix, study.hashes.get(suffix), _list_settings(study.settings.get(suffix, {})))
            for suffix in sorted(study.settings.keys() | study.hashes.keys())
        ],
    )


def describe_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """All scans as data for the script of the page; pictures only if they are not too many."""
    pictured = len(rows) <= MOST_PICTURED
    cells = [_describe_row(row, pictured=pictured) for row in rows]
    return {
        "Columns": _PAGE_COLUMNS,
        "Rows": [[values[name] for name in _PAGE_COLUMNS] for values in cells],
        "Pictured": pictured,
    }


def make_strips(rows: Sequence[Row]) -> list[tuple[str, DotStrip]]:
    """The titles and charts above the table, for those numbers that are known."""
    spans = [_divide(row.numbers["field_max"], row.numbers["field_min"]) for row in rows]
    inner = [_divide(row.numbers["inu_p95"], row.numbers["inu_p05"]) for row in rows]
    evenness = [row.numbers["cjv"] for row in rows]
    strips = [
        ("Field, highest / lowest", _make_strip(rows, spans, ("field_min", "field_max"))),
        ("Field, 95th / 5th percentile", _make_strip(rows, inner, ("inu_p05", "inu_p95"))),
        ("CJV after", _make_strip(rows, evenness, ("cjv",))),
    ]
    return [(title, strip) for title, strip in strips if strip is not None]


def _describe_row(row: Row, *, pictured: bool) -> dict[str, Any]:
    record = row.record
    further = [f"{name}-{label}" for name, label in row.entities.items()]
    return list_values(row) | {
        "suffix": row.suffix,
        "run": row.entities.get("run"),
        "further": " ".join(further),
        "earlier": row.earlier,
        "serious": [message["Text"] for message in row.messages if message["Serious"]],
        "unusual": {name: [flag.short, flag.text] for name, flag in row.flags.items()},
        "stem": record.stem if record else None,
        "result": record.entries["Result"] if record else None,
        "tile": make_tile(record) if record and pictured else None,
    }


def _name(rows: Sequence[Row]) -> Named:
    return Named(len(rows), list(rows[:_MOST_NAMED]))


def _list_settings(settings: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, describe_setting(value)) for name, value in settings.items()]


def _divide(high: float | None, low: float | None) -> float | None:
    return high / low if low and high is not None else None


def _make_strip(
    rows: Sequence[Row], values: Sequence[float | None], names: Sequence[str]
) -> DotStrip | None:
    """A strip of values; scans stand out that are outliers in one of the named numbers."""
    scans = [
        StripValue(
            scan=number,
            suffix=row.suffix,
            value=value,
            outlier=not row.flags.keys().isdisjoint(names),
            text=f"{' · '.join(row.name_parts)}: {format_number(value)}",
        )
        for number, (row, value) in enumerate(zip(rows, values, strict=True))
    ]
    strip = make_strip(scans)
    if strip is None or len(strip.dots) <= MOST_PICTURED:
        return strip and DotStrip(strip, strip.dots, "")
    places = {f"M{dot.x:g} {dot.y:g}h0" for dot in strip.dots if not dot.outlier}
    return DotStrip(strip, [dot for dot in strip.dots if dot.outlier], "".join(sorted(places)))
