"""Pictures of the parameters of the estimation: levels, spline, sampling and stopping.

Each function draws a picture and returns its caption.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter

from scripts.figures.look import (
    AFTER,
    BACKGROUND,
    BEFORE,
    MUTED,
    TEXT,
    Sheet,
    make_difference_look,
    make_field_look,
    make_grey_look,
    style_axes,
)
from scripts.figures.volumes import (
    PACKAGED,
    T1W,
    Correction,
    correct,
    cut_view,
    find_shared,
    load_image,
    measure_difference,
)

AXIAL = (2, 0.505)
CORONAL = (1, 0.46)
EVERY = {"conv_threshold": 0.0}
"""With this setting all iterations are run, so that only the parameter differs."""
SETUP = "Packaged head, 4 levels of 50, all iterations run."
IN_MASK = f"{SETUP} Mean difference of the field in Otsu's mask, level aside,"


def measure_mean_difference(one: Correction, other: Correction) -> float:
    """The mean difference between two fields in the mask in per cent, apart from their levels."""
    return float(np.abs(measure_difference(one, other)[other.mask]).mean())


def format_percent(value: float) -> str:
    return f"{value:.1f} %" if value >= 0.95 else f"{value:.2g} %"


def draw_iterations() -> str:
    """Draw the field after few and many iterations per level, and with few and many levels."""
    head = load_image(PACKAGED)
    counts, levels = (1, 5, 20, 50, 200), (1, 2, 3, 4, 5)
    rows = [
        [correct(head, iters=(count,) * 4, **EVERY) for count in counts],
        [correct(head, iters=(50,) * level, **EVERY) for level in levels],
    ]
    usual = rows[0][3]
    seen = cut_view(usual, *CORONAL)
    look = make_field_look([seen], usual)
    sheet = Sheet([seen, seen], 5, notes=0.26, foot=0.0)
    gaps = [[measure_mean_difference(one, usual) for one in row] for row in rows]
    for number, row in enumerate(rows):
        for column, one in enumerate(row):
            sheet.show_field(number, column, one.field, **look)
        sheet.add_notes(
            number, [f"{format_percent(g)} off" if g else "the default" for g in gaps[number]]
        )
    sheet.add_titles(0, [f"4 levels of {count}" for count in counts], 10)
    sheet.add_titles(1, [f"{n} level{'s' * (n > 1)} of 50" for n in levels], 10)
    sheet.add_field_bar(look)
    sheet.save("parameter-iterations")
    by_count = ", ".join(
        f"{format_percent(g)} with {n}" for n, g in zip(counts, gaps[0], strict=True) if g
    )
    by_level = ", ".join(
        f"{format_percent(g)} with {n}" for n, g in zip(levels, gaps[1], strict=True) if g
    )
    return (
        f"{IN_MASK} to this default. With other iterations of each level: {by_count}. "
        f"With other levels: {by_level}."
    )


def draw_spline_distance() -> str:
    """Draw fields from too stiff to so fine that they take up anatomy, and the corrected images."""
    head = load_image(PACKAGED)
    distances = (400, 200, 100, 50, 25)
    found = [correct(head, spline_distance=d, **EVERY) for d in distances]
    usual = found[1]
    seen = cut_view(usual, *AXIAL)
    look, grey = make_field_look([seen], found[2]), _find_window(usual, 0.45, 98)
    sheet = Sheet([seen, seen], 5, title=[0.34, 0.0], notes=0.0, foot=0.3)
    contrasts = [_measure_contrast(one, usual) for one in found]
    for column, one in enumerate(found):
        sheet.show_field(0, column, one.field, **look)
        sheet.show_image(1, column, one.after, **grey)
    sheet.add_titles(0, [f"{d} mm" for d in distances], size=11)
    sheet.add_notes(1, [f"white / grey {contrast:.2f}" for contrast in contrasts])
    sheet.add_field_bar(look, rows=(0,))
    sheet.save("parameter-spline-distance")
    listed = ", ".join(f"{c:.2f} at {d} mm" for d, c in zip(distances, contrasts, strict=True))
    return f"{SETUP} Otsu's mask. White over grey matter in the corrected image (means): {listed}."


def _find_window(found: Correction, low: float, high: float) -> dict[str, Any]:
    values = found.after[found.mask]
    return make_grey_look(low * float(np.median(values)), float(np.percentile(values, high)))


def _measure_contrast(found: Correction, usual: Correction) -> float:
    """The mean of white matter over that of grey matter, both found in the usual correction."""
    from n4ax import otsu_mask

    values = usual.after
    brain = usual.mask & (values < np.percentile(values[usual.mask], 97))
    white = np.zeros_like(brain)
    white[brain] = np.asarray(otsu_mask(values[brain])) > 0
    return float(found.after[white].mean() / found.after[brain & ~white].mean())


def draw_shrink() -> str:
    """Draw how shrinking changes the field."""
    path = find_shared(T1W) or PACKAGED
    head, factors = load_image(path), (1, 2, 4, 8)
    found = [correct(head, shrink_factor=factor, **EVERY) for factor in factors]
    full, seen = found[0], cut_view(found[0], *CORONAL)
    gaps = [measure_difference(one, full) for one in found[1:]]
    colours, look = make_field_look([seen], full), make_difference_look(10.0)
    sheet = Sheet([seen], 4, notes=0.62, foot=0.0)
    sheet.show_field(0, 0, full.field, **colours)
    for column, gap in enumerate(gaps, 1):
        sheet.show_field(0, column, gap, **look)
    sheet.add_titles(0, ["shrink 1: the field", *(f"shrink {f}: change" for f in factors[1:])])
    errors = [np.abs(gap[full.mask]) for gap in gaps]
    means = [float(e.mean()) for e in errors]
    most = [float(np.percentile(e, 99)) for e in errors]
    numbers = zip(factors[1:], means, most, strict=True)
    notes = [
        f"1 voxel in {factor**3}\nmean {format_percent(mean)}\n99 in 100 below "
        f"{format_percent(high)}"
        for factor, mean, high in numbers
    ]
    sheet.add_notes(0, ["every voxel", *notes])
    sheet.add_colour_bar(look, "", (-10, -5, 0, 5, 10))
    sheet.save("parameter-shrink")
    listed = ", ".join(
        f"{format_percent(m)} at {f} (99 in 100 voxels below {format_percent(h)})"
        for f, m, h in zip(factors[1:], means, most, strict=True)
    )
    sizes = " x ".join(f"{s:.3g}" for s in full.sizes)
    return (
        f"The T1w head of the gallery ({sizes} mm), Otsu mask, 4 levels of 50, all run. Mean "
        f"change of the field in the mask against shrink 1: {listed}."
    )


def draw_spline_order() -> str:
    """Draw the fields of several orders, and the kinks of low orders in the slope along a line."""
    head, orders = load_image(PACKAGED), (1, 2, 3, 4, 5)
    found = [correct(head, spline_order=order, mesh=4, iters=(100,), **EVERY) for order in orders]
    cubic = found[2]
    seen = cut_view(cubic, *AXIAL)
    look = make_field_look([seen], cubic)
    sheet = Sheet([seen], 5, notes=0.24, foot=1.75)
    for column, one in enumerate(found):
        sheet.show_field(0, column, one.field, **look)
    row = seen.cut(cubic.field).shape[0] // 2
    for cell in sheet.panels[0]:
        cell.axhline(row, color=BACKGROUND, linewidth=1, dashes=(3, 2))
    sheet.add_titles(0, [f"order {order}" for order in orders])
    gaps = [measure_mean_difference(one, cubic) for one in found]
    sheet.add_notes(0, [f"{format_percent(gap)} from 3" if gap else "the default" for gap in gaps])
    sheet.add_field_bar(look)
    axes = sheet.figure.add_axes((0.08, 0.42 / sheet.total, 0.83, 1.25 / sheet.total))
    for order, one, colour in ((1, found[0], BEFORE), (3, cubic, AFTER)):
        line = np.gradient(100 * seen.cut(one.log_field)[row], cubic.sizes[0])
        position = np.arange(len(line)) * cubic.sizes[0]
        axes.plot(position, line, color=colour, linewidth=2, label=f"order {order}")
    style_axes(axes)
    axes.set_xlabel("mm along the dashed line", color=MUTED, fontsize=8)
    axes.set_ylabel("slope, % / mm", color=MUTED, fontsize=8)
    axes.legend(frameon=False, labelcolor=TEXT, fontsize=8.5, loc="upper right")
    sheet.save("parameter-spline-order")
    listed = ", ".join(
        f"{format_percent(g)} at {o}" for o, g in zip(orders, gaps, strict=True) if g
    )
    return (
        "Packaged head, Otsu mask, one level of mesh 4, 100 iterations. Order 1 has kinks (its "
        "slope jumps), higher orders have none. Mean difference of the field in the mask to "
        f"order 3: {listed}."
    )


def draw_threshold() -> str:
    """Draw the fields for several thresholds, and where the levels stop."""
    head, values = load_image(PACKAGED), (0.01, 0.002, 0.001, 0.0001, 0.0)
    found = [correct(head, conv_threshold=value) for value in values]
    last = found[-1]
    seen = cut_view(last, *AXIAL)
    look = make_field_look([seen], last)
    sheet = Sheet([seen], 5, notes=0.5, foot=2.3)
    for column, one in enumerate(found):
        sheet.show_field(0, column, one.field, **look)
    sheet.add_titles(0, [f"threshold {v:g}" for v in values], size=10)
    gaps = [measure_mean_difference(one, last) for one in found]
    notes = [
        f"{one.iterations}\n{format_percent(gap) if gap else 'no difference'}"
        for one, gap in zip(found, gaps, strict=True)
    ]
    sheet.add_notes(0, [*notes[:-1], f"{last.iterations}\nall iterations"])
    sheet.add_field_bar(look)
    _draw_measure(sheet, last, values)
    sheet.save("parameter-threshold")
    listed = "; ".join(
        f"{v:g}: {one.iterations}, {format_percent(g) if g else 'none'}"
        for v, one, g in zip(values, found, gaps, strict=True)
    )
    return (
        "Packaged head, Otsu mask, 4 levels of at most 50. Iterations done, and mean difference of "
        f"the field in the mask to threshold 0: {listed}."
    )


def _draw_measure(sheet: Sheet, found: Correction, values: Sequence[float]) -> None:
    """Draw the convergence measure of every iteration, and the thresholds."""
    axes = sheet.figure.add_axes((0.09, 0.42 / sheet.total, 0.82, 1.8 / sheet.total))
    start = 0
    for level, measures in enumerate(found.result.convergence, 1):
        positions = np.arange(start + 1, start + 1 + len(measures))
        axes.plot(positions, measures, color=AFTER, linewidth=2)
        middle = start + len(measures) / 2
        axes.text(middle, 0.0002, f"level {level}", color=TEXT, fontsize=9, ha="center")
        start += len(measures)
        axes.axvline(start + 0.5, color="#3c434b", linewidth=0.8)
    for value in values[:-1]:
        axes.axhline(value, color=BEFORE, linewidth=1.2, dashes=(4, 2))
    style_axes(axes)
    axes.grid(visible=False)
    axes.set_yscale("log")
    axes.set_yticks(values[:-1], [f"{value:g}" for value in values[:-1]])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlim=(0, start + 1), ylim=(0.00007, 0.014))
    axes.set_xlabel("iteration", color=MUTED, fontsize=8.5)
    axes.set_ylabel("convergence measure", color=MUTED, fontsize=8.5)
