"""Web pages of the reports: one for each participant, and one for the group.

Each is a single file that fetches nothing, and the same records give the same bytes.
"""

import base64
import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from n4ax.files import replace_file
from n4ax.report import charts
from n4ax.report.outliers import LIMIT, Distance, distances
from n4ax.report.pictures import field_colours, plane_count, webp
from n4ax.report.records import NothingToReportError, Record, failures, labels, read_records
from n4ax.version import __version__

_THUMBNAIL = 96
"""Height of a thumbnail, in pixels; it is shown at half of it."""
_PICTURED = 2000
"""Scans up to which the group's page has thumbnails: with more it would be slow to load."""
_NOTHING = "–"
_PICTURES = ("before", "after", "field")
_UNKNOWN = dict.fromkeys(
    ("Output", "Shape", "VoxelSize", "Mask", "Engine", "Threshold", "Seconds", "Version")
)
"""Entries that a record may lack."""


def write_all(output: Path, progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Write the pages of all participants and of the group.

    Parameters
    ----------
    output
        The folder with the records and pictures of a run.
    progress
        Called as ``progress(done, total)`` after each page.

    Returns
    -------
    list of Path
        The pages, the group's last.

    Raises
    ------
    ValueError
        There are no records, or a file is not a record.
    OSError
        A file cannot be read or written.
    """
    everyone = labels(output)
    written = []
    for done, label in enumerate(everyone, start=1):
        written.append(write_participant(output, label, neighbours(label, everyone)))
        if progress:
            progress(done, len(everyone) + 1)
    written.append(write_group(output))
    if progress:
        progress(len(everyone) + 1, len(everyone) + 1)
    return written


def write_participant(output: Path, label: str, beside: tuple[str | None, str | None]) -> Path:
    """Write ``sub-<label>.html``; other parameters and errors as :func:`write_all`.

    Parameters
    ----------
    label
        The participant's.
    beside
        Labels of the participants before and after, to which the page links.

    Raises
    ------
    NothingToReportError
        There is neither a scan nor a failure of this participant.
    """
    label = label.removeprefix("sub-")
    records = read_records(output, label)
    failed = [entry for entry in failures(output) if str(entry["Subject"]) == label]
    if not records and not failed:
        raise NothingToReportError(
            f"{output / f'sub-{label}'}: no scan to report on (looked for figures/*.json and "
            f"ses-*/figures/*.json): run n4ax bids on participant {label} first"
        )
    return _write(
        output / f"sub-{label}.html",
        "participant.html",
        label=label,
        scans=[_scan(record) for record in records],
        failures=failed,
        before=beside[0],
        after=beside[1],
        colours=_gradient(),
        version=_versions(records),
    )


def write_group(output: Path) -> Path:
    """Write ``group.html``; parameters and errors as :func:`write_all`."""
    everyone = labels(output)
    scans = [record for label in everyone for record in read_records(output, label)]
    rows = [_row(record, pictured=len(scans) <= _PICTURED) for record in scans]
    _mark_outliers(rows)
    return _write(
        output / "group.html",
        "group.html",
        rows=rows,
        strips=_strips(rows),
        participants=len(everyone),
        outliers=sum(bool(row["flags"]) for row in rows),
        failures=failures(output),
        version=_versions(scans),
    )


def neighbours(label: str, everyone: Sequence[str]) -> tuple[str | None, str | None]:
    """The labels before and after one."""
    if label not in everyone:
        return None, None
    place = everyone.index(label)
    return (
        everyone[place - 1] if place > 0 else None,
        everyone[place + 1] if place + 1 < len(everyone) else None,
    )


def _write(path: Path, template: str, **context: Any) -> Path:
    page = _environment().get_template(template).render(**context).encode()
    if not (path.is_file() and path.read_bytes() == page):
        with replace_file(path) as temporary:
            temporary.write_bytes(page)
    return path


def remove_empty(output: Path) -> None:
    """Remove the pages of participants that have neither a scan nor a failure any more."""
    everyone = {f"sub-{label}.html" for label in labels(output)}
    for page in output.glob("sub-*.html"):
        if page.name not in everyone:
            page.unlink(missing_ok=True)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("n4ax.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=_percent, number=_number, seconds=_seconds, page=_page, change=_change
    )
    environment.globals.update(charts=charts)
    return environment


def _scan(record: Record) -> dict[str, Any]:
    """What the template of a participant shows of a scan."""
    entries, measures = {**_UNKNOWN, **record.entries}, record.entries["Measures"]
    parts = _parts(entries)
    shape = entries.get("Shape") or []
    iterations = entries.get("Iterations") or []
    stopped = entries.get("Stopped") or []
    return {
        "stem": record.stem,
        "name": " · ".join(parts),
        "short": " · ".join(parts[1:] or parts),
        "entries": entries,
        "measures": measures,
        "pictures": {name: _embedded(record.picture(name)) for name in _PICTURES},
        "size": _size_of(record.picture("before")),
        "cells": plane_count(tuple(shape)),
        "levels": list(zip(iterations, stopped, strict=False)),
        "comparisons": _comparisons(measures),
        "histogram": charts.histogram(measures["Histogram"]),
        "convergence": charts.convergence(
            entries.get("Convergence") or [], stopped, entries.get("Threshold")
        ),
    }


def _comparisons(measures: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of a scan: a name, before and after, and how they are written.

    Only a change of the CV is ``judged`` as good or bad. The means follow the level of the field,
    and the CJV of classes that share no intensities says little about one image.
    """
    variation, joint = measures["CoefficientOfVariation"], measures["CoefficientOfJointVariation"]
    means = measures["ClassMeans"]
    pairs = [
        (f"{name}, {tissue} tissue", entry["Before"][rank], entry["After"][rank], kind)
        for name, entry, kind in (("CV", variation, "percent"), ("Mean", means, "number"))
        for rank, tissue in enumerate(("darker", "brighter"))
    ]
    pairs.insert(2, ("CJV of both", joint["Before"], joint["After"], "number"))
    return [
        {
            "name": name,
            "before": before,
            "after": after,
            "kind": kind,
            "judged": name.startswith("CV"),
        }
        for name, before, after, kind in pairs
    ]


def _row(record: Record, *, pictured: bool) -> dict[str, Any]:
    """What the group's table shows of a scan; ``flags`` are for :func:`_mark_outliers`."""
    entries, measures = record.entries, record.entries["Measures"]
    parts = _parts(entries)
    low, high = measures["FieldRange"]
    variation, joint = measures["CoefficientOfVariation"], measures["CoefficientOfJointVariation"]
    numbers = {
        "Field low": low,
        "Field high": high,
        "CV before": _mean(variation["Before"]),
        "CV after": _mean(variation["After"]),
        "CJV before": joint["Before"],
        "CJV after": joint["After"],
    }
    return {
        "label": str(entries["Subject"]),
        "session": entries.get("Session"),
        "suffix": str(entries["Suffix"]),
        "stem": record.stem,
        "name": " · ".join(parts),
        "further": " ".join(part for part in parts[1:-1] if not part.startswith("ses-")),
        "source": str(entries["Source"]),
        "numbers": numbers,
        "span": high / low if low and high is not None else None,
        "iterations": sum(entries.get("Iterations") or []),
        "seconds": (entries.get("Seconds") or {}).get("Total"),
        "thumbnail": _thumbnail(record.picture("after")) if pictured else None,
        "flags": {},
    }


def _mark_outliers(rows: list[dict[str, Any]]) -> None:
    """Put in ``flags`` of each row what is unusual among the scans of its suffix, and how."""
    for suffix in sorted({row["suffix"] for row in rows}):
        fellows = [row for row in rows if row["suffix"] == suffix]
        for name in fellows[0]["numbers"]:
            found = distances([row["numbers"][name] for row in fellows])
            for row, distance in zip(fellows, found, strict=True):
                if distance is not None and abs(distance.score) > LIMIT:
                    row["flags"][name] = _flag(name, row["numbers"][name], suffix, distance)


def _flag(name: str, value: float, suffix: str, distance: Distance) -> dict[str, str]:
    write = _percent if name.startswith("CV") else _number
    side = "above" if distance.score > 0 else "below"
    return {
        "short": f"{name} {'↑' if distance.score > 0 else '↓'}",
        "long": f"{name} is {write(value)}, {abs(distance.score):.1f} robust standard deviations "
        f"{side} {write(distance.median)}, the median of the {suffix} scans",
    }


def _strips(rows: list[dict[str, Any]]) -> list[tuple[str, charts.Strip]]:
    """The charts above the table, for numbers that are known."""
    ends = ("Field low", "Field high")
    span = _strip(rows, [row["span"] for row in rows], ends, _number)
    found = [("Field, highest / lowest", span)]
    for name, write in (("CV after", _percent), ("CJV after", _number)):
        values = [row["numbers"][name] for row in rows]
        found.append((name, _strip(rows, values, (name,), write)))
    return [(title, chart) for title, chart in found if chart is not None]


def _strip(
    rows: list[dict[str, Any]],
    values: list[float | None],
    flags: Sequence[str],
    write: Callable[[float | None], str],
) -> charts.Strip | None:
    """A strip in which the scans stand out that have one of ``flags``."""
    scans = [
        (
            number,
            row["suffix"],
            value,
            not row["flags"].keys().isdisjoint(flags),
            f"{row['name']}: {write(value)}",
        )
        for number, (row, value) in enumerate(zip(rows, values, strict=True))
    ]
    return charts.strip(scans, percent=write is _percent)


def _parts(entries: dict[str, Any]) -> list[str]:
    """Of the name of a scan: sub-01, ses-1, run-2, T1w."""
    return str(entries["Source"]).rsplit("/", 1)[-1].split(".")[0].split("_")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _versions(records: Sequence[Record]) -> str:
    """Of n4ax, in the records; of the one at work where they do not say."""
    found = {str(record.entries.get("Version") or __version__) for record in records}
    return ", ".join(sorted(found)) or __version__


def _embedded(picture: Path) -> str | None:
    """A picture as a data URI; ``None`` where it is missing."""
    return _data_uri(picture.read_bytes()) if picture.exists() else None


def _data_uri(content: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")


def _size_of(picture: Path) -> tuple[int, int] | None:
    if not picture.exists():
        return None
    with Image.open(picture) as opened:
        return opened.size


def _thumbnail(picture: Path) -> dict[str, Any] | None:
    if not picture.exists():
        return None
    with Image.open(io.BytesIO(picture.read_bytes())) as opened:
        width, height = opened.size
        size = (max(round(width * _THUMBNAIL / height), 1), _THUMBNAIL)
        small = opened.convert("L").resize(size, Image.Resampling.BOX)
    return {
        "uri": _data_uri(webp(small, quality=55)),
        "width": size[0] // 2,
        "height": size[1] // 2,
    }


@cache
def _gradient() -> str:
    """The colours of a field as stops of a CSS gradient."""
    return ", ".join("#" + bytes(colour).hex() for colour in field_colours()[::15])


def _page(label: str) -> str:
    return quote(f"sub-{label}.html")


def _number(value: float | None) -> str:
    """Three or more digits of it."""
    if value is None:
        return _NOTHING
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:.{digits}f}".replace("-", "−")


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.1f} %"


def _seconds(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def _change(after: float | None, before: float | None) -> float | None:
    """How much more ``after`` is than ``before``, as a part of it."""
    return None if before is None or after is None or before <= 0 else after / before - 1
