"""Pictures of the parameters of the histogram sharpening, of masks and of intensities."""

import nibabel as nib
import numpy as np

import n4ax
from scripts.figures.look import Sheet, difference_look, field_look, grey_look
from scripts.figures.spline import AXIAL, CORONAL, EVERY, IN_MASK, SETUP, mean_difference, per_cent
from scripts.figures.volumes import (
    PACKAGED,
    Correction,
    brain_mask,
    correct,
    difference,
    load,
    view,
)

LOWEST = -50
"""Of the intensities that are put on a head to show what becomes of them."""


def fwhm() -> str:
    """Narrow and wide distributions of the field."""
    head, widths = load(PACKAGED), (0.05, 0.1, 0.15, 0.3, 0.6)
    found = [correct(head, fwhm=width, **EVERY) for width in widths]
    seen = view(found[2], *CORONAL)
    look = field_look([seen], found[3])
    sheet = Sheet([seen], 5, notes=0.26, foot=0.0)
    for column, one in enumerate(found):
        sheet.field(0, column, one.field, **look)
    sheet.titles(0, [f"FWHM {width:g}" for width in widths], size=10)
    ranges = [np.percentile(one.field[one.inside], (5, 95)) for one in found]
    sheet.notes(0, [f"{low:.2f} to {high:.2f}" for low, high in ranges])
    sheet.field_bar(look)
    sheet.save("parameter-fwhm")
    listed = "; ".join(
        f"{low:.2f} to {high:.2f} at {width:g}"
        for width, (low, high) in zip(widths, ranges, strict=True)
    )
    return f"{SETUP} Field in Otsu's mask, 5th to 95th percentile: {listed}."


def noise() -> str:
    """The Wiener noise, over many powers of ten."""
    return _differences("noise", "wiener", (0.0001, 0.001, 0.01, 0.1, 1.0), 2)


def bins() -> str:
    """Few and many histogram bins."""
    return _differences("bins", "nbins", (20, 50, 100, 200, 1000), 3)


def _differences(name: str, keyword: str, values: tuple[float, ...], default: int) -> str:
    """What other values of a parameter change in the field, beside the default's field."""
    head = load(PACKAGED)
    found = [correct(head, **{keyword: value}, **EVERY) for value in values]
    usual = found[default]
    seen = view(usual, *CORONAL)
    look, colours = difference_look(10.0), field_look([seen], usual)
    sheet = Sheet([seen], len(values), notes=0.26, foot=0.0)
    gaps = [mean_difference(one, usual) for one in found]
    for column, one in enumerate(found):
        if one is usual:
            sheet.field(0, column, one.field, **colours)
        else:
            sheet.field(0, column, difference(one, usual), **look)
    sheet.titles(0, [f"{name} {value:g}" for value in values], size=10)
    sheet.notes(0, [f"{per_cent(g)} off" if g else "default: the field" for g in gaps])
    sheet.colour_bar(look, "", (-10, -5, 0, 5, 10))
    sheet.save(f"parameter-{name}")
    listed = ", ".join(f"{per_cent(g)} at {v:g}" for v, g in zip(values, gaps, strict=True) if g)
    return f"{IN_MASK} to {keyword}={values[default]}: {listed}."


def mask() -> str:
    """Otsu's mask, everything, and a brain mask."""
    head = load(PACKAGED)
    voxels = np.asarray(head.dataobj)
    masks = {
        "Otsu": np.asarray(n4ax.otsu_mask(voxels)),
        "all voxels": np.ones(voxels.shape, np.uint8),
        "brain": brain_mask(head),
    }
    found = [correct(head, given, **EVERY) for given in masks.values()]
    brain = found[2].inside
    seen = view(found[0], *CORONAL)
    levels = [one.log_field - one.log_field[brain].mean() for one in found]
    look = field_look([seen], found[0])
    sheet = Sheet([seen, seen], 3, title=[0.34, 0.34], notes=0.0, foot=0.26)
    values = found[0].before[found[0].inside]
    grey = grey_look(0.0, float(np.percentile(values, 99.5)))
    for column, (one, log_field) in enumerate(zip(found, levels, strict=True)):
        cell = sheet.image(0, column, one.before, **grey)
        cell.contourf(seen.of(one.inside), [0.5, 1.5], colors=["#f2a65a"], alpha=0.45)
        sheet.field(1, column, np.exp(log_field), dim=1.0, **look)
    sheet.titles(0, [f"mask: {name}" for name in masks])
    sheet.titles(1, ["its field"] * 3, size=10)
    gap = [100 * np.abs(np.expm1(one - levels[2]))[brain].mean() for one in levels[:2]]
    sheet.field_bar(look, rows=(1,))
    sheet.notes(1, [*(f"{per_cent(g)} off in the brain" for g in gap), ""])
    sheet.save("parameter-mask")
    return (
        f"{SETUP} The brain mask is a rough one. Within it the field differs from the brain mask's "
        f"by {per_cent(gap[0])} (mean) with Otsu's mask and {per_cent(gap[1])} with all voxels. "
        "Outside its mask a field is only extrapolated."
    )


def non_positive() -> str:
    """Zeros and negative intensities in the mask, by each of the three ways."""
    head = load(PACKAGED)
    voxels = np.asarray(head.dataobj).copy()
    inside = np.asarray(n4ax.otsu_mask(voxels))
    clean = correct(head, inside, **EVERY)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(inside), 2 * inside.sum() // 100, False)
    flat = voxels.reshape(-1)
    half = len(chosen) // 2
    flat[chosen[:half]] = 0
    flat[chosen[half:]] = np.linspace(LOWEST, -1, len(chosen) - half)
    spoilt = nib.Nifti1Image(voxels, head.affine)
    ways = ("itk", "exclude", "offset")
    found = [correct(spoilt, inside, non_positive=way, scale="itk", **EVERY) for way in ways]
    seen = view(clean, *AXIAL)
    look = field_look([seen], clean)
    sheet = Sheet([seen], 4, notes=0.26, foot=0.0)
    gaps = [mean_difference(one, clean) for one in found]
    for column, one in enumerate([clean, *found]):
        sheet.field(0, column, one.field, **look)
    sheet.titles(0, ["without them", *(f'"{way}"' for way in ways)])
    sheet.notes(0, ["", *(f"{per_cent(gap)} off" for gap in gaps)])
    sheet.field_bar(look)
    sheet.save("parameter-non-positive")
    listed = ", ".join(f'{per_cent(g)} with "{w}"' for g, w in zip(gaps, ways, strict=True))
    return (
        f"1 % of the voxels in Otsu's mask were set to 0, 1 % to values from {LOWEST} to -1. "
        f"{IN_MASK} to the head without them: {listed}."
    )


def outside() -> str:
    """What becomes of voxels outside the mask."""
    head = load(PACKAGED)
    brain = brain_mask(head)
    ways = ("divide", "keep", "zero")
    found = [correct(head, brain, outside=way, **EVERY) for way in ways]
    seen = view(found[0], 0, 0.5)
    grey = grey_look(0.0, float(np.percentile(found[0].after[found[0].inside], 99.5)))
    look = field_look([seen], found[0])
    sheet = Sheet([seen, seen], 3, notes=0.0, foot=0.0)
    for column, one in enumerate(found):
        cell = sheet.image(0, column, one.after, **grey)
        cell.contour(seen.of(one.inside), [0.5], colors=["#f2a65a"], linewidths=1.0)
        with np.errstate(all="ignore"):
            factor = one.after / one.before
        factor[~(factor > 0)] = np.nan  # no colour where the result is 0
        sheet.field(1, column, factor, dim=0.0, **look)
    sheet.titles(0, [f'"{way}"' for way in ways], size=12)
    sheet.titles(1, ["after / before"] * 3, size=10)
    sheet.field_bar(look, rows=(1,), label="factor")
    sheet.save("parameter-outside")
    return _change_outside(found)


def _change_outside(found: list[Correction]) -> str:
    beside = ~found[0].inside & (found[0].before > 0)
    ratio = found[0].after[beside] / found[0].before[beside]
    low, high = np.percentile(ratio, (1, 99))
    return (
        f'{SETUP} A rough brain mask; within it the three are the same. Outside, "divide" changes '
        f"intensities by a factor of {low:.2f} to {high:.2f} (1st to 99th percentile of the voxels "
        'above 0), "keep" leaves what was there, "zero" clears it.'
    )
