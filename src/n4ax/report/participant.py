"""What the page of a participant shows of a scan."""

from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from n4ax.images.planes import count_planes
from n4ax.report.charts import Convergence, Histogram, make_convergence, make_histogram
from n4ax.report.pictures import make_data_uri
from n4ax.report.records import Record

_PICTURES = ("before", "after", "field")


class Comparison(NamedTuple):
    """A row of the table that compares a scan before and after."""

    name: str
    before: float | None
    after: float | None
    kind: str
    """How the numbers are written: ``"percent"`` or ``"number"``."""
    judged: bool
    """Whether the change is shown as good or bad.

    Only a change of the CV is: the means follow the level of the field, and the CJV of classes
    that share no intensities says little about one image.
    """


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
    comparisons: list[Comparison]
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
        comparisons=_compare(measures),
        histogram=make_histogram(measures["Histogram"]),
        convergence=make_convergence(entries["Convergence"], stopped, entries["Threshold"]),
    )


def _compare(measures: dict[str, Any]) -> list[Comparison]:
    variation, joint = measures["CoefficientOfVariation"], measures["CoefficientOfJointVariation"]
    means = measures["ClassMeans"]

    def compare_tissues(name: str, entry: dict[str, Any], kind: str) -> list[Comparison]:
        return [
            Comparison(
                f"{name}, {tissue} tissue",
                entry["Before"][rank],
                entry["After"][rank],
                kind,
                judged=name == "CV",
            )
            for rank, tissue in enumerate(("darker", "brighter"))
        ]

    return [
        *compare_tissues("CV", variation, "percent"),
        Comparison("CJV of both", joint["Before"], joint["After"], "number", judged=False),
        *compare_tissues("Mean", means, "number"),
    ]


def _embed(picture: Path) -> str | None:
    return make_data_uri(picture.read_bytes()) if picture.exists() else None


def _read_size(picture: Path) -> tuple[int, int] | None:
    if not picture.exists():
        return None
    with Image.open(picture) as opened:
        return opened.size
