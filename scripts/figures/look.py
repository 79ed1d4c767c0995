"""How the pictures look: dark, upright, and with one colour scale for all fields of a picture."""

from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from scripts.figures.volumes import ROOT, Correction, View

IMAGES = ROOT / "docs" / "images"
BACKGROUND = "#111418"
TEXT = "#e8eaed"
MUTED = "#9aa3ad"
BEFORE = "#f2a65a"
AFTER = "#6fc3df"
WIDTH = 8.0
"""Width of a picture in inches, at 200 pixels per inch."""
FIELD_COLOURS = "RdBu_r"


def make_field_look(views: Sequence[View], *shown: Correction) -> dict[str, Any]:
    """Colours for fields around 1, which reach as far as the fields do in the heads shown."""
    parts = [np.abs(seen.cut(f.log_field))[seen.head > 0.5] for seen in views for f in shown]
    swing = max(float(np.percentile(part, 99.5)) for part in parts)
    return {"cmap": FIELD_COLOURS, "norm": LogNorm(exp(-swing), exp(swing))}


def make_difference_look(most: float) -> dict[str, Any]:
    """Colours for a difference in per cent, from ``-most`` to ``most``."""
    return {"cmap": "PuOr_r", "norm": Normalize(-most, most)}


def make_grey_look(low: float, high: float) -> dict[str, Any]:
    return {"cmap": "gray", "norm": Normalize(low, high)}


class Sheet:
    """A picture with panels in rows, a colour bar on the right, and lines of text.

    Parameters
    ----------
    views
        The view that each row shows.
    columns
        How many panels a row has.
    title, notes
        Space in inches above each row for panel titles, and below each row for notes.
    foot
        Space in inches below all rows.
    bar
        Space in inches on the right for a colour bar.
    gap
        Space in inches between the panels.
    """

    def __init__(
        self,
        views: Sequence[View],
        columns: int,
        *,
        title: float | Sequence[float] = 0.34,
        notes: float = 0.0,
        foot: float = 0.05,
        bar: float = 0.75,
        gap: float = 0.06,
    ) -> None:
        titles = [title] * len(views) if isinstance(title, float) else list(title)
        self.views, self.bar = views, bar
        self.width = (WIDTH - bar - gap * (columns + 1)) / columns
        self.heights = [self.width * v.shape[1] / v.shape[0] for v in views]
        self.total = sum(self.heights) + sum(titles) + (notes + gap) * len(views) + foot
        self.figure = Figure(figsize=(WIDTH, self.total), facecolor=BACKGROUND, dpi=200)
        self.panels: list[list[Axes]] = []
        top = self.total
        for above, height in zip(titles, self.heights, strict=True):
            bottom = top - above - height
            lefts = [gap + column * (self.width + gap) for column in range(columns)]
            self.panels.append([self._add_axes(x, bottom, self.width, height) for x in lefts])
            top = bottom - notes - gap
        for cell in (cell for row in self.panels for cell in row):
            cell.set_axis_off()

    def _add_axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        return self.figure.add_axes(
            (left / WIDTH, bottom / self.total, width / WIDTH, height / self.total)
        )

    def show_image(self, row: int, column: int, volume: npt.NDArray[Any], **look: Any) -> Axes:
        """Show the slice of a volume in grey."""
        cell, seen = self.panels[row][column], self.views[row]
        cell.imshow(seen.cut(volume), aspect=seen.aspect, interpolation="lanczos", **look)
        return cell

    def show_field(
        self, row: int, column: int, field: npt.NDArray[Any], dim: float = 0.22, **look: Any
    ) -> Axes:
        """Show the slice of a field in colour, dimmed outside the head."""
        cell, seen = self.panels[row][column], self.views[row]
        colours = ScalarMappable(look["norm"], look["cmap"]).to_rgba(seen.cut(field))
        strength = (dim + (1 - dim) * seen.head)[..., np.newaxis]
        ground = np.array([int(BACKGROUND[n : n + 2], 16) / 255 for n in (1, 3, 5)])
        colours[..., :3] = strength * colours[..., :3] + (1 - strength) * ground
        cell.imshow(colours, aspect=seen.aspect, interpolation="bilinear")
        return cell

    def add_titles(self, row: int, texts: Sequence[str], size: float = 11) -> None:
        """Write a title above every panel of a row."""
        for cell, text in zip(self.panels[row], texts, strict=False):
            cell.set_title(text, color=TEXT, fontsize=size, pad=5)

    def add_notes(self, row: int, texts: Sequence[str], size: float = 8.5) -> None:
        """Write a note below every panel of a row."""
        for cell, text in zip(self.panels[row], texts, strict=False):
            cell.annotate(
                text, (0.5, 0), (0, -5), xycoords="axes fraction", textcoords="offset points",
                ha="center", va="top", color=MUTED, fontsize=size, linespacing=1.35,
            )  # fmt: skip

    def add_footnote(self, text: str, size: float = 8) -> None:
        self.figure.text(0.5, 0.07 / self.total, text, color=MUTED, fontsize=size,
                         ha="center", va="bottom", linespacing=1.4)  # fmt: skip

    def add_colour_bar(
        self, look: dict[str, Any], label: str, ticks: Sequence[float], rows: Sequence[int] = ()
    ) -> None:
        """Draw a colour bar on the right, beside some rows or all of them."""
        shown = [self.panels[row][0].get_position() for row in rows or range(len(self.panels))]
        low, high = min(p.y0 for p in shown), max(p.y1 for p in shown)
        most = min(high - low, 3.2 / self.total)
        middle = (low + high) / 2
        place = (1 - (self.bar - 0.08) / WIDTH, middle - 0.46 * most, 0.012, 0.92 * most)
        bar = self.figure.colorbar(ScalarMappable(**look), cax=self.figure.add_axes(place))
        per_cent = not isinstance(look["norm"], LogNorm)
        texts = [(f"{tick:+g} %" if tick else "0") if per_cent else f"{tick:.2f}" for tick in ticks]
        bar.set_ticks(list(ticks), labels=[t.replace("-", "\u2212") for t in texts], minor=False)
        bar.ax.minorticks_off()
        bar.ax.tick_params(colors=MUTED, labelsize=8, length=2)
        bar.set_label(label, color=MUTED, fontsize=8)
        bar.outline.set_edgecolor(MUTED)
        bar.outline.set_linewidth(0.5)

    def add_field_bar(
        self, look: dict[str, Any], rows: Sequence[int] = (), label: str = "bias field"
    ) -> None:
        swing = float(np.log(look["norm"].vmax))
        ticks = [exp(swing * part) for part in (-1, -0.5, 0, 0.5, 1)]
        self.add_colour_bar(look, label, ticks, rows)

    def save(self, name: str) -> Path:
        return save_figure(self.figure, name)


def style_axes(axes: Axes) -> None:
    """Give the axes of a curve the colours of the pictures."""
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(colors=MUTED, labelsize=8, length=2)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#3c434b")
    axes.grid(color="#2a3037", linewidth=0.6)
    axes.set_axisbelow(True)


def save_figure(figure: Figure, name: str) -> Path:
    """Write docs/images/NAME.webp, under 200 kB."""
    path = IMAGES / f"{name}.webp"
    for quality in (90, 84, 76, 66):
        figure.savefig(
            path, format="webp", facecolor=BACKGROUND,
            pil_kwargs={"quality": quality, "method": 6},
        )  # fmt: skip
        if path.stat().st_size < 200_000:
            return path
    raise SystemExit(f"{path.name} has {path.stat().st_size / 1e3:.0f} kB; the limit is 200 kB")
