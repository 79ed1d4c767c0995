"""What all plots share: a colour for each peer, and how they are written."""

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
"""Distinct for the colour-blind, and in print."""

_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.hashsalt": "n4ax",  # the same file for the same numbers
}


def style() -> mpl.RcParams:
    """A context in which figures are drawn alike."""
    return mpl.rc_context(_STYLE)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG on white, which dark pages need."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white", metadata={"Date": None})
