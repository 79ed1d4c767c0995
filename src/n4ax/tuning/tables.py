"""What ``n4ax tune`` prints: tables of the images and of the best settings, and what was chosen."""

import textwrap
from collections.abc import Sequence

from n4ax.auto.choice import write_factors
from n4ax.messages import make_one_line
from n4ax.settings import N4Settings
from n4ax.tuning.choice import Tried, Tuning

_COLUMNS = 80
_LONGEST_NAME = 44
_MOST_SETTINGS = 5  # so many are shown, besides those that were chosen and the images as they are


def write_tables(tuning: Tuning) -> str:
    """The tables, and below them what was chosen and why, in lines of 80 columns."""
    parts = [_write_images(tuning)]
    if tuning.candidates:
        parts.append(_write_best(tuning))
    parts += [_wrap(text) for text in (tuning.sentence, *tuning.notes)]
    return "\n\n".join(parts)


def _write_images(tuning: Tuning) -> str:
    if not tuning.candidates:
        rows = [[*_name(one), f"{one.trials[0].spread:.1f} %"] for one in tuning.images]
        return _format([["image", "reach", "spread"], *rows])
    chosen = tuning.chosen
    rows = [
        [*_name(one), *(f"{one.trials[number].cjv:.3f}" for number in (0, chosen))]
        for one in tuning.images
    ]
    below = "CJV: coefficient of joint variation of the two tissues; less is more even."
    return f"{_format([['image', 'reach', 'CJV before', 'after'], *rows])}\n{below}"


def _name(one: Tried) -> list[str]:
    return [_shorten(make_one_line(one.name)), f"{one.reach:.0f} mm"]


def _write_best(tuning: Tuning) -> str:
    """The settings with the least criterion, and those that leave the images as they are."""
    ordered = sorted(range(len(tuning.candidates)), key=lambda n: (tuning.criteria[n], n))
    shown = [n for place, n in enumerate(ordered) if place < _MOST_SETTINGS or n == 0]
    rows = [
        [
            *_describe(tuning.candidates[n]),
            f"{tuning.criteria[n]:.3f}",
            "<- chosen" if n == tuning.chosen else "",
        ]
        for n in shown
    ]
    images = len(tuning.images)
    what = f"mean over {images} images" if images > 1 else "of the image"
    left = len(ordered) - len(shown)
    return (
        f"{_format([['spline distance', 'iterations', 'FWHM', 'criterion', ''], *rows])}\n"
        f"criterion: CJV after / before, {what}; {left} other settings are worse."
    )


def _describe(settings: N4Settings) -> list[str]:
    if not any(settings.iters):
        return ["leave as it is", "", ""]
    iterations = write_factors(settings.iters)
    return [f"{settings.spline_distance:g} mm", iterations, f"{settings.fwhm:g}"]


def _format(rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column starts at the left, the others end at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([
            row[0].ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)),
        ]).rstrip()
        for row in rows
    ]  # fmt: skip
    return "\n".join(lines)


def _shorten(name: str) -> str:
    """A name without its beginning, if it is too long for the table."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _wrap(text: str) -> str:
    return textwrap.fill(make_one_line(text), _COLUMNS, break_on_hyphens=False)
