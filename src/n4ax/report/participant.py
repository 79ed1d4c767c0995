"""What the page of a participant shows of a scan."""

from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from n4ax.images.planes import count_planes
from n4ax.report.charts import Convergence, Histogram, make_convergence, make_histogram
from n4ax.report.pictures import make_data_uri
from n4ax.report.records import Record

_PICTURES = ("before", "after", "field")


class ScanView(NamedTuple):
    """A scan as the template shows it."""

    stem: str
    name: str
    short_name: str
    """The name without the participant."""
    entries: dict[str, Any]
    measures: dict[str, Any]
    pictures: dict[str, str | None]
    """Data URIs by the name of the picture; ``None`` if a picture is missing."""
    size: tuple[int, int] | None
    """Width and height of the pictures in pixels."""
    cells: int
    """How many planes the pictures have side by side."""
    levels: list[tuple[int, str]]
    """The iterations of each resolution level, and why it stopped."""
    histogram: Histogram | None
    convergence: Convergence | None


def make_scan_view(record: Record) -> ScanView:
    """Prepare a scan for the page of its participant."""
    entries, measures = record.entries, record.entries["Measures"]
    parts = record.name_parts
    levels = max(len(entries["Iterations"]), len(entries["Convergence"]))
    stopped = (entries["Stopped"] + ["–"] * levels)[:levels]
    return ScanView(
        stem=record.stem,
        name=" · ".join(parts),
        short_name=" · ".join(parts[1:] or parts),
        entries=entries,
        measures=measures,
        pictures={name: _embed(record.picture_path(name)) for name in _PICTURES},
        size=_read_size(record.picture_path("before")),
        cells=count_planes(tuple(entries["Shape"])),
        levels=list(zip(entries["Iterations"], stopped, strict=False)),
        histogram=make_histogram(measures["Histogram"]),
        convergence=make_convergence(entries["Convergence"], stopped, entries["Threshold"]),
    )


def _embed(picture: Path) -> str | None:
    return make_data_uri(picture.read_bytes()) if picture.exists() else None


def _read_size(picture: Path) -> tuple[int, int] | None:
    if not picture.exists():
        return None
    with Image.open(picture) as opened:
        return opened.size
