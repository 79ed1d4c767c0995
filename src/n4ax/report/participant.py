"""What the page of a participant shows of a scan."""

from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from n4ax.images.planes import Sides, count_planes, find_sides_by_name
from n4ax.paths import read_bytes
from n4ax.report.charts import (
    Convergence,
    Histogram,
    Profile,
    make_convergence,
    make_histogram,
    make_profile,
)
from n4ax.report.differences import Difference, list_differences
from n4ax.report.pictures import make_data_uri
from n4ax.report.records import Record
from n4ax.report.study import Study

_PLANES = ("before", "after", "field", "outline")
_SLICES = tuple(f"slices-{name}" for name in _PLANES)
_OF_THE_MASK = frozenset({"few-samples", "otsu-mask", "small-mask"})
"""Messages after which a reader wants to see the mask."""
_LITTLE = 0.05
"""A smaller change of the coefficient of joint variation says nothing."""


class PlaneView(NamedTuple):
    """A plane of a picture: its name, and what of the patient is at its sides."""

    name: str
    sides: Sides | None
    """``None`` if the file does not give directions."""


class ScanView(NamedTuple):
    """A scan as the template shows it."""

    stem: str
    name: str
    short_name: str
    """The name without the participant."""
    entries: dict[str, Any]
    measures: dict[str, Any]
    judged: bool
    """Whether the record tells its messages from other notes; older ones do not."""
    evenness: str
    """How the evenness of the tissues changed, in words; empty if it is not known."""
    differences: list[Difference]
    """Settings that are not those of the study."""
    pictures: dict[str, str | None]
    """Data URIs by the name of the picture; ``None`` if a picture is missing."""
    size: tuple[int, int] | None
    """Width and height in pixels of the pictures of planes."""
    slices_size: tuple[int, int] | None
    """Width and height of the pictures of slices; ``None`` if there are none."""
    outlined: bool
    """Whether the outline of the mask is shown at first."""
    planes: list[PlaneView]
    """The planes that the pictures have side by side."""
    levels: list[tuple[int, str]]
    """The iterations of each resolution level, and why it stopped."""
    histogram: Histogram | None
    profile: Profile | None
    convergence: Convergence | None


def make_scan_view(record: Record, study: Study) -> ScanView:
    """Prepare a scan for the page of its participant."""
    entries, measures = record.entries, record.entries["Measures"]
    parts = record.name_parts
    levels = max(len(entries["Iterations"]), len(entries["Convergence"]))
    stopped = (entries["Stopped"] + ["–"] * levels)[:levels]
    codes = {message["Code"] for message in entries["Messages"]}
    return ScanView(
        stem=record.stem,
        name=" · ".join(parts),
        short_name=" · ".join(parts[1:] or parts),
        entries=entries,
        measures=measures,
        judged=entries["Result"]
        is not None,  # the verdict and the result came into records together
        evenness=describe_evenness(
            measures["cjv_before"], measures["cjv_after"], found="uneven-tissues" in codes
        ),
        differences=list_differences(
            entries["Settings"], study.settings.get(entries["Suffix"], {})
        ),
        pictures={name: _embed(record.picture_path(name)) for name in _PLANES + _SLICES},
        size=_read_size(record.picture_path("before")),
        slices_size=_read_size(record.picture_path("slices-after")),
        outlined=not codes.isdisjoint(_OF_THE_MASK),
        planes=_list_planes(entries),
        levels=list(zip(entries["Iterations"], stopped, strict=False)),
        histogram=make_histogram(measures["Histogram"]),
        profile=make_profile(measures["Profile"]),
        convergence=make_convergence(entries["Convergence"], stopped, entries["Threshold"]),
    )


def describe_evenness(before: float | None, after: float | None, *, found: bool) -> str:
    """How the coefficient of joint variation changed, in words; nothing if that says nothing.

    Parameters
    ----------
    before, after : float or None
        The coefficients.
    found : bool
        Whether the verdict found the tissues less even. Where shading is strong, the coefficient
        may rise although they are not.
    """
    if before is None or after is None or before <= 0:
        return ""
    change = after / before - 1
    if abs(change) < _LITTLE:
        return "about as even as before"
    if change < 0:
        return f"more even by {-100 * change:.0f} %"
    return f"less even by {100 * change:.0f} %" if found else ""


def _list_planes(entries: dict[str, Any]) -> list[PlaneView]:
    names, count = entries["Measures"]["Planes"], count_planes(tuple(entries["Shape"]))
    if len(names) != count or not entries["Directions"]:
        names = [f"plane {number}" for number in range(1, count + 1)]
    return [PlaneView(name, find_sides_by_name(name)) for name in names]


def _embed(picture: Path) -> str | None:
    return make_data_uri(read_bytes(picture)) if picture.exists() else None


def _read_size(picture: Path) -> tuple[int, int] | None:
    if not picture.exists():
        return None
    with Image.open(picture) as opened:
        return opened.size
