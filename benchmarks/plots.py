"""Settings that all plots share: a colour for each peer, the style, and how files are written."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = {
    "SimpleITK": "#4d4d4d",
    "ANTs": "#4d4d4d",
    "ANTsPy": "#8c6d31",
    "n4ax 0.1.1": "#d95f02",
    "n4ax": "#1b6ca8",
    "n4ax by XLA": "#41a47a",
}
"""These colours can be told apart by colour-blind readers, and in print."""

_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.hashsalt": "n4ax",  # so that the same numbers give the same file
}


def style() -> mpl.RcParams:
    """A context that draws all figures in the same style."""
    return mpl.rc_context(_STYLE)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG on a white background, so that it is legible on dark pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white", metadata={"Date": None})
