"""The charts of a report as numbers for SVG: paths, ticks and dots in the units of a view box."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from statistics import median
from typing import Any, NamedTuple

WIDTH, HEIGHT = 460, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 22, 36
STRIP, ROW = 380, 44
"""Width of a strip of dots, and the height of a row in it."""
_STEPS = (1, 2, 5, 10)


class Tick(NamedTuple):
    """A place on an axis."""

    at: float
    text: str


class Histogram(NamedTuple):
    """Two outlines over one axis."""

    before: str
    after: str
    ticks: list[Tick]


class Level(NamedTuple):
    """What one resolution level did."""

    number: int
    start: float
    middle: float
    path: str
    end: tuple[float, float] | None
    """Its last known value."""
    converged: bool


class Convergence(NamedTuple):
    """The measure of every iteration, on a logarithmic axis."""

    levels: list[Level]
    threshold: float | None
    across: list[Tick]
    up: list[Tick]


class Dot(NamedTuple):
    """A scan in a strip."""

    x: float
    y: float
    scan: int
    outlier: bool
    text: str


class Strip(NamedTuple):
    """Dots in a row for each suffix, over one axis."""

    rows: list[tuple[str, float, float | None]]
    """Name, height and median of each; no median of one or two."""
    dots: list[Dot]
    ticks: list[Tick]
    height: float


def histogram(entry: dict[str, Any]) -> Histogram | None:
    """Of a ``Histogram`` as it is measured; ``None`` where there is nothing in it."""
    (low, high), before, after = entry["Range"], entry["Before"], entry["After"]
    highest = max(*_smoothed(before), *_smoothed(after))
    if low is None or high is None or not highest > 0:
        return None
    floor_ = HEIGHT - BOTTOM

    def outline(counts: Sequence[float]) -> str:
        steps = _smoothed(counts)
        width = (WIDTH - LEFT / 2 - RIGHT) / len(steps)
        points = [
            (LEFT / 2 + (number + 0.5) * width, floor_ - count / highest * (floor_ - TOP))
            for number, count in enumerate(steps)
        ]
        return _path(points)

    place = _scale(low, high, LEFT / 2, WIDTH - RIGHT)
    ticks = [Tick(_short(place(value)), _text(value)) for value in _round_values(low, high, 6)]
    return Histogram(outline(before), outline(after), ticks)


def convergence(
    values: Sequence[Sequence[float | None]], stopped: Sequence[str], threshold: float | None
) -> Convergence | None:
    """The stopping measure of every iteration; ``None`` where none is known."""
    known = [value for level in values for value in level if value is not None and value > 0]
    if not known:
        return None
    limit = threshold if threshold and threshold > 0 else None
    ends = [*known, limit] if limit else known
    bottom, top = log10(min(ends)) - 0.1, log10(max(ends)) + 0.1
    count = sum(map(len, values))
    across = _scale(0.5, max(count, 2) + 0.5, LEFT, WIDTH - RIGHT)
    up = _scale(bottom, top, HEIGHT - BOTTOM, TOP)
    levels = []
    done = 0
    for number, (level, reason) in enumerate(zip(values, stopped, strict=False)):
        places = [
            None if value is None or value <= 0 else (across(done + i + 1), up(log10(value)))
            for i, value in enumerate(level)
        ]
        start, end = across(done + 0.5), across(done + len(level) + 0.5)
        last = next((place for place in reversed(places) if place), None)
        rounded = last and (_short(last[0]), _short(last[1]))
        middle = _short((start + end) / 2)
        converged = reason == "converged"
        levels.append(Level(number + 1, _short(start), middle, _path(places), rounded, converged))
        done += len(level)
    whole = [value for value in _round_values(1, max(count, 2), 7) if value == int(value) > 0]
    return Convergence(
        levels,
        _short(up(log10(limit))) if limit else None,
        [Tick(_short(across(value)), _text(value)) for value in whole],
        [Tick(_short(up(log10(value))), _text(value)) for value in _decades(bottom, top)],
    )


def strip(
    scans: Sequence[tuple[int, str, float | None, bool, str]],
    percent: bool = False,
) -> Strip | None:
    """Dots of scans, each a number, suffix, value, whether it is an outlier, and its text.

    ``None`` where no value is known. The ticks may be written in percent.
    """
    known = [
        (scan, suffix, value, out, text)
        for scan, suffix, value, out, text in scans
        if value is not None
    ]
    if not known:
        return None
    values = [value for _, _, value, _, _ in known]
    low, high = min(values), max(values)
    margin = (high - low) * 0.04 or abs(high) * 0.05 or 1.0
    left = 12 + 7.5 * min(max(len(suffix) for _, suffix, *_ in known), 12)
    place = _scale(low - margin, high + margin, left, STRIP - RIGHT)
    suffixes = sorted({suffix for _, suffix, *_ in known})
    rows, dots = [], []
    for number, suffix in enumerate(suffixes):
        middle = (number + 0.5) * ROW
        of_row = [dot for dot in known if dot[1] == suffix]
        places = [place(value) for _, _, value, _, _ in of_row]
        usual = _short(median(places)) if len(places) > 2 else None
        rows.append((suffix, middle, usual))
        for (scan, _, _, out, text), x, up in zip(of_row, places, _swarm(places), strict=True):
            dots.append(Dot(_short(x), _short(middle + up), scan, out, text))
    ticks = [
        Tick(_short(place(value)), _text(100 * value) + " %" if percent else _text(value))
        for value in _round_values(low - margin, high + margin, 5)
    ]
    return Strip(rows, dots, ticks, ROW * len(suffixes) + 26)


def _swarm(places: Sequence[float], width: float = 6.0) -> list[float]:
    """How far above or below the middle of its row each dot is put, to lie beside the others."""
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


def _smoothed(counts: Sequence[float]) -> list[float]:
    """Twice by 1 2 1: whole-numbered intensities leave every other bin empty."""
    for _ in range(2):
        padded = [counts[0], *counts, counts[-1]]
        counts = [(a + 2 * b + c) / 4 for a, b, c in zip(padded, padded[1:], padded[2:])]  # noqa: B905
    return list(counts)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """A line through the points, broken where one is missing."""
    parts = []
    pen = "M"
    for point in points:
        if point is None:
            pen = "M"
        else:
            parts.append(f"{pen}{_short(point[0]):g} {_short(point[1]):g}")
            pen = "L"
    return "".join(parts)


def _round_values(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from low to high."""
    rough = (high - low) / most
    power = 10.0 ** floor(log10(rough))
    step = next(n * power for n in _STEPS if n * power >= rough * (1 - 1e-9))
    return [n * step for n in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _decades(bottom: float, top: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two logarithms; of many decades only the powers."""
    digits = (1, 2, 5) if top - bottom < 2.5 else (1,)
    powers = range(floor(bottom), ceil(top) + 1)
    values = [digit * 10.0**power for power in powers for digit in digits]
    return [value for value in values if bottom <= log10(value) <= top]


def _short(value: float) -> float:
    return round(value, 1)


def _text(value: float) -> str:
    """With no more digits than a round value has."""
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e6 else text.replace("-", "−")
