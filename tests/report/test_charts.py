"""Outliers, and the charts as numbers."""

import numpy as np
import pytest

from n4ax.report import charts
from n4ax.report.outliers import measure_distances


def test_far_values_are_found_and_few_or_equal_ones_are_not() -> None:
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, None, 3.0]
    found = measure_distances(values)
    assert found[7] is None
    scores = [entry.score for entry in found if entry]
    assert scores[-1] > 3.5 > max(map(abs, scores[:-1]))
    middle = np.median([value for value in values if value])
    away = np.median([abs(value - middle) for value in values if value])
    assert scores[-1] == pytest.approx(0.6745 * (3 - middle) / away, rel=1e-3)
    assert measure_distances(values[:6]) == [None] * 6
    assert measure_distances([2.0] * 20) == [None] * 20
    one_of_many = measure_distances([2.0] * 19 + [3.0])[-1]
    assert one_of_many is not None
    assert one_of_many.score > 3.5


def test_charts_bridge_measures_that_were_not_computed() -> None:
    chart = charts.make_convergence(
        [[0.1, None, 0.02], [None]], ["converged", "iteration limit"], 0.001
    )
    assert chart is not None
    first = chart.levels[0]
    assert (first.path.count("M"), first.path.count("L")) == (1, 1)
    assert first.end is not None
    assert first.path.endswith(f"L{first.end[0]:g} {first.end[1]:g}")
    assert chart.levels[1].end is None
    assert [level.converged for level in chart.levels] == [True, False]
    assert charts.make_convergence([[None], []], ["converged", "converged"], 0.001) is None
    assert charts.make_convergence([[0.1, 1e-9]], ["converged"], 0) is not None
    nothing = {"Range": [None, None], "Before": [0] * 128, "After": [0] * 128}
    assert charts.make_histogram(nothing) is None
    assert charts.make_strip([charts.StripValue(0, "T1w", None, False, "")]) is None


def test_a_profile_is_drawn_around_1_and_named_at_its_ends() -> None:
    entry = {
        "Axis": "back to front",
        "Positions": [0, 10, 20, 30],
        "Unit": "mm",
        "Before": [0.5, None, 1.0, 2.0],
        "After": [0.9, None, 1.0, 1.1],
    }
    chart = charts.make_profile(entry)
    assert chart is not None
    assert chart.before.count("M") == chart.after.count("M") == 2  # broken where nothing is known
    assert chart.ends == ("back", "front")
    assert chart.level == next(tick.at for tick in chart.up if tick.text == "1")
    heights = [float(part.split()[1]) for part in chart.before[1:].replace("M", "L").split("L")]
    assert heights == sorted(heights, reverse=True)  # up is less in an SVG
    assert max(heights) < charts.HEIGHT - charts.BOTTOM
    assert min(heights) > 0
    plain = charts.make_profile(entry | {"Axis": "axis 2"})
    assert plain is not None
    assert plain.ends == ("", "")
    assert charts.make_profile(None) is None
    assert charts.make_profile(entry | {"Before": [None] * 4, "After": [None] * 4}) is None
    assert charts.make_profile(entry | {"Positions": [3] * 4}) is None
