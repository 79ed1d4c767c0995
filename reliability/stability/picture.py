"""The picture of the significant bits of each program on each volume."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from reliability.stability.bits import MOST_BITS
from reliability.stability.programs import FAST, ITK_1, ITK_64, OURS

MARKS = {
    ITK_1: ("s", plots.COLOURS["SimpleITK"], "white"),
    ITK_64: ("s", plots.COLOURS["SimpleITK"], plots.COLOURS["SimpleITK"]),
    OURS: ("o", plots.COLOURS["n4ax"], plots.COLOURS["n4ax"]),
    FAST: ("o", plots.COLOURS["n4ax"], "white"),
}
"""The mark of each program, the colour of its rim, and that inside."""


def draw(result: dict[str, Any], folder: Path) -> None:
    """Plot the bits of the field: the median over the voxels, and a line down to the least."""
    volumes = result["volumes"]
    rules = list(result["thresholds"])
    with plots.style():
        figure = Figure(figsize=(9, 1.8 + 0.42 * len(volumes)))
        panels = figure.subplots(1, len(rules), sharex=True, sharey=True, squeeze=False)[0]
        for panel, rule in zip(panels, rules, strict=True):
            draw_rule(panel, rule, volumes)
        panels[0].set_yticks(range(len(volumes)), [volume["title"] for volume in volumes])
        panels[0].invert_yaxis()
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(MARKS), fontsize=8)
        plots.save(figure, folder / "stability.svg")


def draw_rule(panel: Any, rule: str, volumes: list[dict[str, Any]]) -> None:
    """Plot all programs that follow a rule."""
    rows = [volume["rules"][rule]["rows"] for volume in volumes]
    for place, (name, (mark, colour, inside)) in enumerate(MARKS.items()):
        known = [(n, row[name]["field"]) for n, row in enumerate(rows) if name in row]
        if not known:
            continue
        heights = [n + 0.17 * (place - 1.5) for n, _ in known]
        medians = [bits["median"] for _, bits in known]
        panel.hlines(heights, [bits["least"] for _, bits in known], medians, color=colour, lw=1)
        panel.plot(
            medians, heights, mark, color=colour, markerfacecolor=inside, markersize=5, label=name
        )
    panel.set(xlim=(0, MOST_BITS + 0.6), xticks=range(0, int(MOST_BITS) + 1, 4), title=rule)
    panel.set_xlabel("significant bits of the field")
