"""A picture of what was tried: each setting by its criterion, or each image by its shading."""

import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from n4ax.auto import shading
from n4ax.figure import BACKGROUND, OUTLINE, TEXT, ignore_missing_glyphs
from n4ax.messages import make_one_line
from n4ax.settings import N4Settings
from n4ax.tuning.choice import Tuning

_COLOURS = ("#5ec4ff", "#ffd166", "#ef6f9a", "#9be564", "#c39bff")
_FAINT = "#7b838c"
_MARKERS = "o^sDv"
_SHIFT = 0.018  # between two points of one mesh, as a share of the length of its elements
_ROW = 13  # points between the rows of the scale
_RING: dict[str, Any] = {
    "marker": "o", "markersize": 15, "fillstyle": "none", "color": OUTLINE, "markeredgewidth": 2,
    "linestyle": "none",
}  # fmt: skip
_LEAST = 2.0  # percent, at the left end of the scale
_MOST_NAMES = 24
_LONGEST_NAME = 28


def draw(tuning: Tuning) -> bytes:
    """Draw what was tried, as the content of a PNG file."""
    figure = _draw_settings(tuning) if tuning.candidates else _draw_shading(tuning)
    content = io.BytesIO()
    with ignore_missing_glyphs():
        figure.savefig(content, format="png", facecolor=BACKGROUND)
    return content.getvalue()


def _draw_settings(tuning: Tuning) -> Figure:
    """The criterion of each setting by the length of its finest mesh elements."""
    figure, axes = _make_figure(5.6)
    tried = list(zip(tuning.candidates, tuning.criteria, strict=True))[1:]
    widths = sorted({one.fwhm for one, _ in tried})
    counts = sorted({one.iters[0] for one, _ in tried})
    kinds = sorted({(one.fwhm, one.iters[0]) for one, _ in tried})
    for one, criterion in tried:
        width, count = one.fwhm, one.iters[0]
        at = _find_element(one) * (1 + _SHIFT * (kinds.index((width, count)) - len(kinds) // 2))
        colour, marker = _COLOURS[widths.index(width)], _MARKERS[counts.index(count)]
        axes.plot(at, criterion, marker, color=colour, markersize=8, zorder=3)
        if one == tuning.settings:
            axes.plot(at, criterion, zorder=4, **_RING)
    _draw_line(axes, tuning.leaves)
    axes.set_xscale("log")
    lengths = sorted({_find_element(one) for one, _ in tried})
    axes.set_xticks(lengths, [f"{length:.0f}" for length in lengths])
    axes.set_xticks([], minor=True)
    axes.set_xlim(lengths[0] * 0.88, lengths[-1] * 1.14)
    axes.set_xlabel("finest mesh elements in mm (shorter ones follow the image more closely)")
    axes.set_ylabel("unevenness of the tissues: after / before\n(below 1 they are more even)")
    keys = [_key(f"FWHM {width:g}", _COLOURS[n], "o") for n, width in enumerate(widths)]
    keys += [_key(f"{count} iterations", TEXT, _MARKERS[n]) for n, count in enumerate(counts)]
    keys += [] if tuning.leaves else [Line2D([], [], label="chosen", **_RING)]
    axes.legend(handles=keys, ncols=len(keys), loc="lower center", bbox_to_anchor=(0.5, 1.0),
                frameon=False, labelcolor=TEXT, fontsize=9, handletextpad=0.2)  # fmt: skip
    count = len(tuning.images)
    title = f"Which settings make the tissues even? ({count} image{'s' * (count > 1)})"
    figure.suptitle(title, color=TEXT, fontsize=13)
    return figure


def _draw_line(axes: Any, leaves: bool) -> None:
    """Draw the line of the images as they are, and write at its end what it means."""
    colour = OUTLINE if leaves else TEXT
    axes.axhline(1, color=colour, linewidth=2 if leaves else 1)
    axes.text(
        1.01, 1, "leave as\nit is" + "\n(chosen)" * leaves, fontsize=9, color=colour,
        transform=axes.get_yaxis_transform(), ha="left", va="center",
    )  # fmt: skip


def _draw_shading(tuning: Tuning) -> Figure:
    """The shading of each image on the scale from which the settings follow."""
    count = len(tuning.images)
    figure, axes = _make_figure(2.9 + 0.24 * min(count, _MOST_NAMES))
    ordered = sorted(tuning.images, key=lambda one: (one.trials[0].spread, one.name))
    spreads = [one.trials[0].spread for one in ordered]
    for place, spread in enumerate(spreads):  # an arrow stands for less than is shown
        axes.plot(max(spread, _LEAST), place, "o" if spread >= _LEAST else "<",
                  color=_COLOURS[0], markersize=8, zorder=3)  # fmt: skip
    axes.set_ylim(-0.8, count + 0.2)
    names = [_shorten(make_one_line(one.name)) for one in ordered]
    axes.set_yticks(range(count), names if count <= _MOST_NAMES else [""] * count)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    scale = [strength.spread for strength in shading.STRENGTHS]
    low = max(min(scale[0], *spreads), _LEAST) * 0.85
    high = max(scale[-1], *spreads) * 1.12
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    edge = _find_edge()
    axes.axvspan(low, edge, color=_FAINT, alpha=0.25, linewidth=0)
    axes.text(edge * 0.985, 0.97, "leave as\nit is", color=TEXT, fontsize=9, ha="right", va="top",
              transform=axes.get_xaxis_transform(), zorder=5)  # fmt: skip
    axes.axvline(max(tuning.spread, _LEAST), color=OUTLINE, linewidth=2)
    axes.text(
        max(tuning.spread, _LEAST), 1.01, f"{'median ' * (count > 1)}{tuning.spread:.1f} %",
        transform=axes.get_xaxis_transform(), color=OUTLINE, ha="center", va="bottom",
    )  # fmt: skip
    axes.set_xticks(scale, [""] * len(scale))
    axes.set_xticks([], minor=True)
    _write_scale(axes, tuning.reach)
    figure.suptitle("How strong is the shading?", color=TEXT, fontsize=13)
    return figure


def _write_scale(axes: Any, reach: float) -> None:
    """Write below the axis which settings belong to a spread, in rows with names."""
    look = {"textcoords": "offset points", "va": "top", "fontsize": 9, "annotation_clip": False}
    rows = ("field varies by", "iterations", "FWHM", "finest mesh")
    across = axes.get_xaxis_transform()
    for number, name in enumerate(rows):
        axes.annotate(name, (0, 0), (-6, -8 - _ROW * number), xycoords="axes fraction",
                      ha="right", color=_FAINT, **look)  # fmt: skip
    for one in shading.STRENGTHS:
        leaves = one.iterations < shading.FEWEST_ITERATIONS
        settings = (f"{one.iterations:g}", f"{one.fwhm:g}", f"{one.element * reach:.0f} mm")
        texts = [f"{one.spread:g} %", *(("0", "–", "–") if leaves else settings)]
        for number, text in enumerate(texts):
            axes.annotate(text, (one.spread, 0), (0, -8 - _ROW * number), xycoords=across,
                          ha="center", color=TEXT, **look)  # fmt: skip


def _find_edge() -> float:
    """The spread up to which images are left as they are."""
    first, second = shading.STRENGTHS[:2]
    iterations = shading.FEWEST_ITERATIONS - 0.5
    return float(
        np.interp(iterations, (first.iterations, second.iterations), (first.spread, second.spread))
    )


def _make_figure(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(9, height), facecolor=BACKGROUND, dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(colors=TEXT, which="both")
    axes.grid(color=_FAINT, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_color(_FAINT)
        spine.set_visible(side in ("left", "bottom"))
    axes.xaxis.label.set_color(TEXT)
    axes.yaxis.label.set_color(TEXT)
    return figure, axes


def _key(label: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=8, label=label)


def _find_element(settings: N4Settings) -> float:
    """The length of the finest mesh elements, in mm."""
    return (settings.spline_distance or 0.0) / 2 ** (len(settings.iters) - 1)


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"
