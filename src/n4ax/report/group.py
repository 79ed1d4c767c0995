"""What the page of the group shows: a row per scan, outliers, and strips of dots."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from n4ax.report.charts import Strip, StripValue, make_strip
from n4ax.report.formats import format_number
from n4ax.report.outliers import LIMIT, Distance, measure_distances
from n4ax.report.pictures import encode_webp, make_data_uri
from n4ax.report.records import Record

_THUMBNAIL = 96
"""Height of a thumbnail in pixels; it is shown at half of it, for screens with a high density."""
_MOST_PICTURED = 2000
"""With more scans than this there are no thumbnails, since the page would be slow to load."""


class Thumbnail(NamedTuple):
    """A small picture, and the size at which it is shown."""

    uri: str
    width: int
    height: int


class Flag(NamedTuple):
    """A number of a scan that is unusual, in words."""

    short: str
    long: str


class Row(NamedTuple):
    """A scan as the table shows it."""

    label: str
    session: str | None
    suffix: str
    further: str
    """The other entities in the name, such as run-2."""
    stem: str
    name: str
    source: str
    numbers: dict[str, float | None]
    span: float | None
    """The highest value of the field over the lowest."""
    iterations: int | None
    seconds: float | None
    thumbnail: Thumbnail | None
    flags: dict[str, Flag]
    """What is unusual, by the name of the number."""


def make_rows(records: Sequence[Record]) -> list[Row]:
    """Prepare scans for the table of the group, with their outliers flagged."""
    pictured = len(records) <= _MOST_PICTURED
    rows = [_make_row(record, pictured=pictured) for record in records]
    for suffix in sorted({row.suffix for row in rows}):
        _flag_outliers([row for row in rows if row.suffix == suffix])
    return rows


def make_strips(rows: Sequence[Row]) -> list[tuple[str, Strip]]:
    """The titles and charts above the table, for those numbers that are known."""
    spans = [row.span for row in rows]
    inner = [_divide(row.numbers["Field 95 %"], row.numbers["Field 5 %"]) for row in rows]
    evenness = [row.numbers["CJV after"] for row in rows]
    strips = [
        ("Field, highest / lowest", _make_strip(rows, spans, ("Field low", "Field high"))),
        ("Field, 95th / 5th percentile", _make_strip(rows, inner, ("Field 5 %", "Field 95 %"))),
        ("CJV after", _make_strip(rows, evenness, ("CJV after",))),
    ]
    return [(title, strip) for title, strip in strips if strip is not None]


def _make_row(record: Record, *, pictured: bool) -> Row:
    entries, parts = record.entries, record.name_parts
    numbers = _collect_numbers(entries["Measures"])
    low, high = numbers["Field low"], numbers["Field high"]
    return Row(
        label=entries["Subject"],
        session=entries["Session"],
        suffix=entries["Suffix"],
        further=" ".join(part for part in parts[1:-1] if not part.startswith("ses-")),
        stem=record.stem,
        name=" · ".join(parts),
        source=entries["Source"],
        numbers=numbers,
        span=_divide(high, low),
        iterations=sum(entries["Iterations"]) if entries["Iterations"] else None,
        seconds=entries["Seconds"].get("Total"),
        thumbnail=_make_thumbnail(record.picture_path("after")) if pictured else None,
        flags={},
    )


def _collect_numbers(measures: dict[str, Any]) -> dict[str, float | None]:
    """The numbers of a scan that are searched for outliers, by their names in the table."""
    low, high = measures["FieldRange"]
    return {
        "Field low": low,
        "Field high": high,
        "Field 5 %": measures["inu_p05"],
        "Field 95 %": measures["inu_p95"],
        "CJV before": measures["cjv_before"],
        "CJV after": measures["cjv_after"],
    }


def _divide(high: float | None, low: float | None) -> float | None:
    return high / low if low and high is not None else None


def _flag_outliers(rows: Sequence[Row]) -> None:
    """Put into the ``flags`` of rows what is unusual among them; all have the same suffix."""
    for name in rows[0].numbers:
        distances = measure_distances([row.numbers[name] for row in rows])
        for row, distance in zip(rows, distances, strict=True):
            if distance is not None and abs(distance.score) > LIMIT:
                row.flags[name] = _make_flag(name, row, distance)


def _make_flag(name: str, row: Row, distance: Distance) -> Flag:
    side, arrow = ("above", "↑") if distance.score > 0 else ("below", "↓")
    return Flag(
        short=f"{name} {arrow}",
        long=f"{name} is {format_number(row.numbers[name])}, {abs(distance.score):.1f} robust "
        f"standard deviations {side} {format_number(distance.median)}, the median of the "
        f"{row.suffix} scans",
    )


def _make_strip(
    rows: Sequence[Row], values: Sequence[float | None], names: Sequence[str]
) -> Strip | None:
    """A strip of values; scans stand out that are outliers in one of the named numbers."""
    scans = [
        StripValue(
            scan=number,
            suffix=row.suffix,
            value=value,
            outlier=not row.flags.keys().isdisjoint(names),
            text=f"{row.name}: {format_number(value)}",
        )
        for number, (row, value) in enumerate(zip(rows, values, strict=True))
    ]
    return make_strip(scans)


def _make_thumbnail(picture: Path) -> Thumbnail | None:
    if not picture.exists():
        return None
    with Image.open(io.BytesIO(picture.read_bytes())) as opened:
        width, height = opened.size
        size = (max(round(width * _THUMBNAIL / height), 1), _THUMBNAIL)
        small = opened.convert("L").resize(size, Image.Resampling.BOX)
    uri = make_data_uri(encode_webp(small, quality=55))
    return Thumbnail(uri, size[0] // 2, size[1] // 2)
