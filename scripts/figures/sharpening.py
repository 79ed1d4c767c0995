"""Pictures of the parameters of the histogram sharpening, the mask and the intensities.

Each function draws a picture and returns its caption.
"""

import nibabel as nib
import numpy as np

import n4ax
from scripts.figures.look import Sheet, make_difference_look, make_field_look, make_grey_look
from scripts.figures.spline import (
    AXIAL,
    CORONAL,
    EVERY,
    IN_MASK,
    SETUP,
    format_percent,
    measure_mean_difference,
)
from scripts.figures.volumes import (
    PACKAGED,
    Correction,
    correct,
    cut_view,
    load_image,
    make_brain_mask,
    measure_difference,
)

LOWEST = -50
"""The lowest of the intensities that are put into a head to show how they are treated."""


def draw_fwhm() -> str:
    """Draw the field for narrow and wide distributions of its values."""
    head, widths = load_image(PACKAGED), (0.05, 0.1, 0.15, 0.3, 0.6)
    found = [correct(head, fwhm=width, **EVERY) for width in widths]
    seen = cut_view(found[2], *CORONAL)
    look = make_field_look([seen], found[3])
    sheet = Sheet([seen], 5, notes=0.26, foot=0.0)
    for column, one in enumerate(found):
        sheet.show_field(0, column, one.field, **look)
    sheet.add_titles(0, [f"FWHM {width:g}" for width in widths], size=10)
    ranges = [np.percentile(one.field[one.mask], (5, 95)) for one in found]
    sheet.add_notes(0, [f"{low:.2f} to {high:.2f}" for low, high in ranges])
    sheet.add_field_bar(look)
    sheet.save("parameter-fwhm")
    listed = "; ".join(
        f"{low:.2f} to {high:.2f} at {width:g}"
        for width, (low, high) in zip(widths, ranges, strict=True)
    )
    return f"{SETUP} Field in Otsu's mask, 5th to 95th percentile: {listed}."


def draw_noise() -> str:
    """Draw the effect of the Wiener noise, over many powers of ten."""
    return _draw_differences("noise", "wiener", (0.0001, 0.001, 0.01, 0.1, 1.0), 2)


def draw_bins() -> str:
    """Draw the effect of few and many histogram bins."""
    return _draw_differences("bins", "nbins", (20, 50, 100, 200, 1000), 3)


def _draw_differences(name: str, keyword: str, values: tuple[float, ...], default: int) -> str:
    """Draw how other values of a parameter change the field, and the field of the default."""
    head = load_image(PACKAGED)
    found = [correct(head, **{keyword: value}, **EVERY) for value in values]
    usual = found[default]
    seen = cut_view(usual, *CORONAL)
    look, colours = make_difference_look(10.0), make_field_look([seen], usual)
    sheet = Sheet([seen], len(values), notes=0.26, foot=0.0)
    gaps = [measure_mean_difference(one, usual) for one in found]
    for column, one in enumerate(found):
        if one is usual:
            sheet.show_field(0, column, one.field, **colours)
        else:
            sheet.show_field(0, column, measure_difference(one, usual), **look)
    sheet.add_titles(0, [f"{name} {value:g}" for value in values], size=10)
    sheet.add_notes(0, [f"{format_percent(g)} off" if g else "default: the field" for g in gaps])
    sheet.add_colour_bar(look, "", (-10, -5, 0, 5, 10))
    sheet.save(f"parameter-{name}")
    listed = ", ".join(
        f"{format_percent(g)} at {v:g}" for v, g in zip(values, gaps, strict=True) if g
    )
    return f"{IN_MASK} to {keyword}={values[default]}: {listed}."


def draw_mask() -> str:
    """Draw the fields with Otsu's mask, with all voxels and with a brain mask."""
    head = load_image(PACKAGED)
    voxels = np.asarray(head.dataobj)
    masks = {
        "Otsu": np.asarray(n4ax.otsu_mask(voxels)),
        "all voxels": np.ones(voxels.shape, np.uint8),
        "brain": make_brain_mask(head),
    }
    found = [correct(head, given, **EVERY) for given in masks.values()]
    brain = found[2].mask
    seen = cut_view(found[0], *CORONAL)
    levels = [one.log_field - one.log_field[brain].mean() for one in found]
    look = make_field_look([seen], found[0])
    sheet = Sheet([seen, seen], 3, title=[0.34, 0.34], notes=0.0, foot=0.26)
    values = found[0].before[found[0].mask]
    grey = make_grey_look(0.0, float(np.percentile(values, 99.5)))
    for column, (one, log_field) in enumerate(zip(found, levels, strict=True)):
        cell = sheet.show_image(0, column, one.before, **grey)
        cell.contourf(seen.cut(one.mask), [0.5, 1.5], colors=["#f2a65a"], alpha=0.45)
        sheet.show_field(1, column, np.exp(log_field), dim=1.0, **look)
    sheet.add_titles(0, [f"mask: {name}" for name in masks])
    sheet.add_titles(1, ["its field"] * 3, size=10)
    gap = [100 * np.abs(np.expm1(one - levels[2]))[brain].mean() for one in levels[:2]]
    sheet.add_field_bar(look, rows=(1,))
    sheet.add_notes(1, [*(f"{format_percent(g)} off in the brain" for g in gap), ""])
    sheet.save("parameter-mask")
    return (
        f"{SETUP} The brain mask is a rough one. Within it the field differs from the brain mask's "
        f"by {format_percent(gap[0])} (mean) with Otsu's mask and {format_percent(gap[1])} with "
        "all voxels. Outside its mask a field is only extrapolated."
    )


def draw_non_positive() -> str:
    """Draw the fields with zeros and negative intensities in the mask, treated in three ways."""
    head = load_image(PACKAGED)
    voxels = np.asarray(head.dataobj).copy()
    mask = np.asarray(n4ax.otsu_mask(voxels))
    clean = correct(head, mask, **EVERY)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(mask), 2 * mask.sum() // 100, False)
    flat = voxels.reshape(-1)
    half = len(chosen) // 2
    flat[chosen[:half]] = 0
    flat[chosen[half:]] = np.linspace(LOWEST, -1, len(chosen) - half)
    spoilt = nib.Nifti1Image(voxels, head.affine)
    ways = ("itk", "exclude", "offset")
    found = [correct(spoilt, mask, non_positive=way, scale="itk", **EVERY) for way in ways]
    seen = cut_view(clean, *AXIAL)
    look = make_field_look([seen], clean)
    sheet = Sheet([seen], 4, notes=0.26, foot=0.0)
    gaps = [measure_mean_difference(one, clean) for one in found]
    for column, one in enumerate([clean, *found]):
        sheet.show_field(0, column, one.field, **look)
    sheet.add_titles(0, ["without them", *(f'"{way}"' for way in ways)])
    sheet.add_notes(0, ["", *(f"{format_percent(gap)} off" for gap in gaps)])
    sheet.add_field_bar(look)
    sheet.save("parameter-non-positive")
    listed = ", ".join(f'{format_percent(g)} with "{w}"' for g, w in zip(gaps, ways, strict=True))
    return (
        f"1 % of the voxels in Otsu's mask were set to 0, 1 % to values from {LOWEST} to -1. "
        f"{IN_MASK} to the head without them: {listed}."
    )


def draw_outside() -> str:
    """Draw what happens to the voxels outside the mask."""
    head = load_image(PACKAGED)
    brain = make_brain_mask(head)
    ways = ("divide", "keep", "zero")
    found = [correct(head, brain, outside=way, **EVERY) for way in ways]
    seen = cut_view(found[0], 0, 0.5)
    grey = make_grey_look(0.0, float(np.percentile(found[0].after[found[0].mask], 99.5)))
    look = make_field_look([seen], found[0])
    sheet = Sheet([seen, seen], 3, notes=0.0, foot=0.0)
    for column, one in enumerate(found):
        cell = sheet.show_image(0, column, one.after, **grey)
        cell.contour(seen.cut(one.mask), [0.5], colors=["#f2a65a"], linewidths=1.0)
        with np.errstate(all="ignore"):
            factor = one.after / one.before
        factor[~(factor > 0)] = np.nan  # no colour where the result is 0
        sheet.show_field(1, column, factor, dim=0.0, **look)
    sheet.add_titles(0, [f'"{way}"' for way in ways], size=12)
    sheet.add_titles(1, ["after / before"] * 3, size=10)
    sheet.add_field_bar(look, rows=(1,), label="factor")
    sheet.save("parameter-outside")
    return _describe_outside(found)


def _describe_outside(found: list[Correction]) -> str:
    beside = ~found[0].mask & (found[0].before > 0)
    ratio = found[0].after[beside] / found[0].before[beside]
    low, high = np.percentile(ratio, (1, 99))
    return (
        f'{SETUP} A rough brain mask; within it the three are the same. Outside, "divide" changes '
        f"intensities by a factor of {low:.2f} to {high:.2f} (1st to 99th percentile of the voxels "
        'above 0), "keep" leaves what was there, "zero" clears it.'
    )
