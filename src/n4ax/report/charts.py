"""The charts of a report as numbers for SVG: paths, ticks and dots in the units of a view box.

The template ``charts.html`` draws them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from statistics import median
from typing import Any, NamedTuple

WIDTH, HEIGHT = 460, 220
"""Size of a histogram and of a chart of the convergence."""
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 22, 36
"""Their margins, which hold the texts of the ticks."""
STRIP, ROW = 380, 44
"""Width of a strip of dots, and the height of a row in it."""
_STEPS = (1, 2, 5, 10)
"""Ticks are at multiples of these, times a power of ten."""


class Tick(NamedTuple):
    """A labelled position on an axis."""

    at: float
    text: str


class Histogram(NamedTuple):
    """Two outlines over one axis."""

    before: str
    after: str
    ticks: list[Tick]


class Profile(NamedTuple):
    """Two curves along an axis of an image, around a level of 1."""

    before: str
    after: str
    across: list[Tick]
    up: list[Tick]
    level: float
    """The height of 1."""
    ends: tuple[str, str]
    """What of the patient is at the left and at the right; empty if it is not known."""


class Level(NamedTuple):
    """The curve of one resolution level."""

    number: int
    start: float
    middle: float
    path: str
    end: tuple[float, float] | None
    """The position of its last known value."""
    converged: bool


class Convergence(NamedTuple):
    """The stopping measure of iterations, on a logarithmic axis."""

    levels: list[Level]
    threshold: float | None
    across: list[Tick]
    up: list[Tick]


class StripValue(NamedTuple):
    """A value to be shown as a dot in a strip."""

    scan: int
    """The number of the scan in the table."""
    suffix: str
    value: float | None
    outlier: bool
    text: str


class Dot(NamedTuple):
    """A scan in a strip."""

    x: float
    y: float
    scan: int
    outlier: bool
    text: str


class Strip(NamedTuple):
    """A row of dots for each suffix, over one axis."""

    rows: list[tuple[str, float, float | None]]
    """The suffix, the height and the median of each row; of one or two dots there is no median."""
    dots: list[Dot]
    ticks: list[Tick]
    height: float


def make_histogram(entry: dict[str, Any] | None) -> Histogram | None:
    """A chart of a measured ``Histogram``; ``None`` if it is missing or empty."""
    if entry is None:
        return None
    (low, high), before, after = entry["Range"], entry["Before"], entry["After"]
    highest = max(*_smooth(before), *_smooth(after))
    if low is None or high is None or not (high > low and highest > 0):
        return None
    place = _make_scale(low, high, LEFT / 2, WIDTH - RIGHT)
    ticks = [Tick(_round(place(value)), _format(value)) for value in _choose_ticks(low, high, 6)]
    return Histogram(_outline(before, highest), _outline(after, highest), ticks)


def make_profile(entry: dict[str, Any] | None) -> Profile | None:
    """A chart of a measured ``Profile``; ``None`` if it has fewer than two values."""
    if entry is None:
        return None
    positions, curves = entry["Positions"], (entry["Before"], entry["After"])
    known = [value for curve in curves for value in curve if value is not None]
    low, high = min(positions), max(positions)
    if len(known) < 2 or not high > low:
        return None
    margin = max(max(known) - min(known), 0.1) * 0.06
    bottom, top = min(1.0, *known) - margin, max(1.0, *known) + margin
    across = _make_scale(low, high, LEFT, WIDTH - RIGHT)
    up = _make_scale(bottom, top, HEIGHT - BOTTOM, TOP / 2)
    before, after = (
        _draw_path(
            [
                None if value is None else (across(place), up(value))
                for place, value in zip(positions, curve, strict=True)
            ]
        )
        for curve in curves
    )
    first, _, last = entry["Axis"].partition(" to ")
    return Profile(
        before,
        after,
        [Tick(_round(across(value)), _format(value)) for value in _choose_ticks(low, high, 6)],
        [Tick(_round(up(value)), _format(value)) for value in _choose_ticks(bottom, top, 5)],
        _round(up(1.0)),
        (first, last) if last else ("", ""),
    )


def make_convergence(
    values: Sequence[Sequence[float | None]], stopped: Sequence[str], threshold: float | None
) -> Convergence | None:
    """A chart of the stopping measure of every iteration; ``None`` if no value is known.

    Parameters
    ----------
    values : sequence of sequences of float or None
        The measure of each iteration of each level; ``None`` where it was not computed.
    stopped : sequence of str
        Why each level stopped.
    threshold : float or None
        The convergence threshold, which is drawn as a line if it is above 0.
    """
    known = [value for level in values for value in level if value is not None and value > 0]
    if not known:
        return None
    limit = threshold if threshold and threshold > 0 else None
    ends = [*known, limit] if limit else known
    bottom, top = log10(min(ends)) - 0.1, log10(max(ends)) + 0.1
    count = max(sum(map(len, values)), 2)
    across = _make_scale(0.5, count + 0.5, LEFT, WIDTH - RIGHT)
    up = _make_scale(bottom, top, HEIGHT - BOTTOM, TOP)
    whole = [value for value in _choose_ticks(1, count, 7) if value == int(value) > 0]
    return Convergence(
        _make_levels(values, stopped, across, up),
        _round(up(log10(limit))) if limit else None,
        [Tick(_round(across(value)), _format(value)) for value in whole],
        [Tick(_round(up(log10(value))), _format(value)) for value in _list_decades(bottom, top)],
    )


def make_strip(scans: Sequence[StripValue]) -> Strip | None:
    """A chart with a dot per scan; ``None`` if no value is known.

    Parameters
    ----------
    scans : sequence of StripValue
        The values. Those that are ``None`` have no dot.
    """
    known = [(scan, scan.value) for scan in scans if scan.value is not None]
    if not known:
        return None
    values = [value for _, value in known]
    low, high = min(values), max(values)
    margin = (high - low) * 0.04 or abs(high) * 0.05 or 1.0
    suffixes = sorted({scan.suffix for scan, _ in known})
    left = 12 + 7.5 * min(max(map(len, suffixes)), 12)
    place = _make_scale(low - margin, high + margin, left, STRIP - RIGHT)
    rows, dots = [], []
    for number, suffix in enumerate(suffixes):
        middle = (number + 0.5) * ROW
        row = [(scan, place(value)) for scan, value in known if scan.suffix == suffix]
        places = [x for _, x in row]
        rows.append((suffix, middle, _round(median(places)) if len(places) > 2 else None))
        for (scan, x), up in zip(row, _spread_dots(places), strict=True):
            dots.append(Dot(_round(x), _round(middle + up), scan.scan, scan.outlier, scan.text))
    ticks = [
        Tick(_round(place(value)), _format(value))
        for value in _choose_ticks(low - margin, high + margin, 5)
    ]
    return Strip(rows, dots, ticks, ROW * len(suffixes) + 26)


def _outline(counts: Sequence[float], highest: float) -> str:
    """The path of a smoothed histogram, in which ``highest`` reaches the top."""
    smooth = _smooth(counts)
    bottom = HEIGHT - BOTTOM
    width = (WIDTH - LEFT / 2 - RIGHT) / len(smooth)
    return _draw_path(
        [
            (LEFT / 2 + (number + 0.5) * width, bottom - count / highest * (bottom - TOP))
            for number, count in enumerate(smooth)
        ]
    )


def _make_levels(
    values: Sequence[Sequence[float | None]],
    stopped: Sequence[str],
    across: Callable[[float], float],
    up: Callable[[float], float],
) -> list[Level]:
    levels = []
    done = 0
    for number, (level, reason) in enumerate(zip(values, stopped, strict=False)):
        places = [
            (across(done + i + 1), up(log10(value)))
            for i, value in enumerate(level)
            if value is not None and value > 0
        ]
        start, end = across(done + 0.5), across(done + len(level) + 0.5)
        last = places[-1] if places else None
        levels.append(
            Level(
                number + 1,
                start=_round(start),
                middle=_round((start + end) / 2),
                path=_draw_path(places),
                end=last and (_round(last[0]), _round(last[1])),
                converged=reason == "converged",
            )
        )
        done += len(level)
    return levels


def _spread_dots(places: Sequence[float], width: float = 6.0) -> list[float]:
    """How far each dot is moved up or down, so that dots at one place lie beside each other."""
    columns = [round(x / width) for x in places]
    members = Counter(columns)
    seen: Counter[int] = Counter()
    ups = []
    for column in columns:
        step = min(width, (ROW - 12) / max(members[column] - 1, 1))
        turn = seen[column]
        ups.append((1 if turn % 2 else -1) * ceil(turn / 2) * step)
        seen[column] += 1
    return ups


def _smooth(counts: Sequence[float]) -> list[float]:
    """Smooth by 1 2 1, twice, since whole-numbered intensities leave every other bin empty."""
    for _ in range(2):
        padded = [counts[0], *counts, counts[-1]]
        counts = [(a + 2 * b + c) / 4 for a, b, c in zip(padded, padded[1:], padded[2:])]  # noqa: B905
    return list(counts)


def _make_scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """The linear function that takes ``low`` to ``start`` and ``high`` to ``end``."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _draw_path(points: Sequence[tuple[float, float] | None]) -> str:
    """A line through the points, which is broken where a point is missing."""
    parts = []
    pen = "M"
    for point in points:
        if point is None:
            pen = "M"
        else:
            parts.append(f"{pen}{_round(point[0]):g} {_round(point[1]):g}")
            pen = "L"
    return "".join(parts)


def _choose_ticks(low: float, high: float, most: int) -> list[float]:
    """About ``most`` round values between two values, or fewer."""
    rough = (high - low) / most
    power = 10.0 ** floor(log10(rough))
    step = next(n * power for n in _STEPS if n * power >= rough * (1 - 1e-9))
    return [n * step for n in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _list_decades(bottom: float, top: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two logarithms; for many decades only powers."""
    digits = (1, 2, 5) if top - bottom < 2.5 else (1,)
    powers = range(floor(bottom), ceil(top) + 1)
    values = [digit * 10.0**power for power in powers for digit in digits]
    return [value for value in values if bottom <= log10(value) <= top]


def _round(value: float) -> float:
    """A coordinate to a tenth of a unit, which keeps the pages small."""
    return round(value, 1)


def _format(value: float) -> str:
    """A round value, without digits that it does not have."""
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e6 else text.replace("-", "−")
