"""Which settings come closest to a known field: everybody's, judged on simulated brains.

The truth is in ``benchmarks/truth/``; this section runs it and shows its tables.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from benchmarks import plots
from benchmarks.truth import grid
from benchmarks.truth.goals import judge_goals
from benchmarks.truth.methods import AUTO, AUTO_BY_TISSUES, BEST, METHODS, SEARCHED, SETTINGS
from n4ax.auto import shading, tissues

LOOKS = {
    "nothing": ("0.6", "|"),
    "SimpleITK": (plots.COLOURS["SimpleITK"], "o"),
    "niPreps": (plots.COLOURS["ANTsPy"], "s"),
    "n4ax 0.1.1": (plots.COLOURS["n4ax 0.1.1"], "D"),
    "200 mm, 3 levels": (plots.COLOURS["n4ax"], "^"),
    "150 mm, 2 levels": (plots.COLOURS["n4ax by XLA"], "v"),
    AUTO: ("#c0396b", "P"),
    AUTO_BY_TISSUES: ("#8a4fb0", "*"),
    BEST: ("black", "x"),
}
"""The colour and the marker of the methods that are drawn."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Judge all methods; ``rounds`` is not used, since the answers are the same every time."""
    del rounds
    found, goals = {}, {}
    parts = grid.QUICK if quick else grid.PARTS
    for name, rows in grid.judge_parts(parts):
        found[name] = {
            "title": parts[name].title,
            "cases": len(rows),
            "strata": grid.summarise_strata(rows),
            "contrasts": grid.summarise_by(rows, "contrast"),
            "halves": grid.summarise_by(rows, "half"),
        }
        goals = goals or judge_goals(rows)
        medians = {way: one["median"] for way, one in grid.summarise(rows).items()}
        print(f"  {parts[name].title}: {len(rows)} cases, median errors in % {medians}", flush=True)
    return {
        "methods": [*METHODS, BEST],
        "settings": {name: write_settings(keywords) for name, keywords in SETTINGS.items()},
        "searched": len(SEARCHED),
        "tried": len(tissues.SEARCHED),
        "strengths": [one._asdict() for one in shading.STRENGTHS],
        "parts": found,
        "goals": goals,
    }


def write_settings(keywords: dict[str, Any]) -> str:
    """Settings as one would write them in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in keywords.items()) or "the defaults"


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draw the median errors in each stratum of the first part; a line ends at the worst."""
    strata = next(iter(result["parts"].values()))["strata"]
    names = [name for name in LOOKS if name in result["methods"]]
    figure, axis = plt.subplots(figsize=(8, 0.75 * len(strata) + 1.6))
    for number, name in enumerate(names):
        colour, marker = LOOKS[name]
        places = [row - 0.34 + 0.68 * number / len(names) for row in range(len(strata))]
        errors = [stratum["errors"][name] for stratum in strata]
        medians, worst = ([one[what] for one in errors] for what in ("median", "worst"))
        axis.hlines(places, medians, worst, color=colour, alpha=0.5, linewidth=1)
        axis.plot(medians, places, marker, color=colour, label=name, markersize=5)
    axis.set_yticks(range(len(strata)), [name_stratum(stratum) for stratum in strata])
    axis.set(xlabel="error of the log field, % (lines end at the worst case)", xlim=(0, None))
    axis.set_ylim(len(strata) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    plots.save(figure, folder / "quality-errors.svg")
    plt.close(figure)


def name_stratum(stratum: dict[str, Any]) -> str:
    """What a stratum is called in the plot."""
    if stratum["kind"] == "none":
        return "no field"
    return f"{stratum['kind']}, {stratum['strength']:g}"
