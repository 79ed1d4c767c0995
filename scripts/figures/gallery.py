"""The pictures of the README and of the gallery: real heads before and after, and their field."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MultipleLocator
from scipy import ndimage

from scripts.figures.look import (
    AFTER,
    BEFORE,
    Sheet,
    make_field_look,
    make_grey_look,
    style_axes,
)
from scripts.figures.volumes import (
    PACKAGED,
    T1W,
    Correction,
    View,
    Volume,
    correct,
    cut_view,
    find_shared,
    load_image,
)

BAND_MM, PERCENTILE = 24, 90
"""For the curves of the hero: the width of the band, and which percentile is its bright tissue."""
PACKAGED_NOTE = "Packaged head (every second voxel, face blanked): "


class Example(NamedTuple):
    """A volume of the gallery."""

    volume: str
    slices: tuple[tuple[int, float], ...]
    """For each slice, the axis across it (0 sagittal, 1 coronal, 2 axial) and the fraction of its
    length at which it is cut. Heads that are not defaced have one slice."""
    window: tuple[float, float]
    """Black as a fraction of the median in the mask, and white as one of the 99th percentile."""
    shrink: int
    what: str
    licence: str


GALLERY = {
    "gallery-t1w": Example(
        T1W,
        ((1, 0.44),),
        (0.35, 1.0),
        1,
        "T1-weighted head, 3 T Siemens Trio, MEMPRAGE (root mean square of the echoes)",
        "FNNDSC/data, dicom/adi_brain series 5, commit d2960f20, Apache-2.0; one missing slice of "
        "176 filled with the mean of its neighbours",
    ),
    "gallery-studyforrest": Example(
        "t1w_head_studyforrest_0p7mm",
        ((2, 0.66), (1, 0.46), (0, 0.5)),
        (0.15, 0.95),
        4,
        "T1-weighted head of the studyforrest data, 0.7 mm, defaced",
        "datalad/example-dicom-structural, commit f077bcc8, PDDL (public domain)",
    ),
    "gallery-uih": Example(
        "t1w_head_gre_3t_uih_0p5mm",
        ((1, 0.46),),
        (0.1, 1.0),
        4,
        "T1-weighted head, 3 T UIH uMR 770, gradient echo, 1 x 0.5 x 0.5 mm, 37.7 million voxels",
        "neurolabusc/dcm_qa_uih, commit d729bdd7, t1_gre_fsp_3d_sag, BSD-2-Clause",
    ),
    "gallery-flair": Example(
        "flair_head_ms_3mm",
        ((2, 0.66), (1, 0.5), (0, 0.42)),
        (0.1, 1.0),
        2,
        "FLAIR of a patient with multiple sclerosis, slices of 3 mm, defaced",
        "muschellij2/open_ms_data, longitudinal/raw/patient12, commit 65704901, CC BY; "
        "Lesjak et al. 2016, Neuroinformatics 14, 403-420",
    ),
    "gallery-epi7t": Example(
        "epi_7t_layerfmri_oblique_sclslope",
        ((2, 0.3), (2, 0.5), (2, 0.7)),
        (0.2, 0.9),
        1,
        "Mean EPI of the upper brain, 0.8 x 0.8 x 1.28 mm, oblique; 7 T by the authors' scripts, "
        "the header does not say",
        "layerfMRI/repository, across_day_moco, commit 93f10233, BSD-3-Clause",
    ),
    "gallery-brain2d": Example(
        "brain_2d_rss8ch_sigpy",
        ((2, 0.5),),
        (0.1, 1.0),
        1,
        "One slice of a brain from the k-space of 8 coils, root sum of squares, uncorrected",
        "mikgroup/sigpy-mri-tutorial, cartesian_ksp.npy, commit b21dcdcf, BSD-3-Clause",
    ),
}


def find_window(found: Correction, parts: tuple[float, float]) -> dict[str, Any]:
    """The grey levels for before and after, from the intensities of both in the mask."""
    values = np.concatenate([found.before[found.mask], found.after[found.mask]])
    return make_grey_look(
        parts[0] * float(np.median(values)), parts[1] * float(np.percentile(values, 99))
    )


def describe_settings(found: Correction) -> str:
    """Describe the settings of a correction and its outcome."""
    settings = found.result.settings
    levels = len(settings.iters)
    used = (
        f"Otsu mask, {levels} levels of at most {settings.iters[0]}, "
        f"threshold {settings.conv_threshold:g}, shrink {settings.shrink_factor}, mean kept"
    )
    low, high = np.percentile(found.field[found.mask], (1, 99))
    span = f"{low:.2f} to {high:.2f} (1st to 99th percentile)"
    return f"{used}; {found.iterations} iterations; field {span}"


def draw_example(name: str) -> str | None:
    """Draw a picture of the gallery; return its caption, or ``None`` if its volume is absent."""
    chosen = GALLERY[name]
    path = find_shared(chosen.volume)
    note, shrink = "", chosen.shrink
    if path is None:
        if chosen.volume != T1W:
            return None
        path, note, shrink = PACKAGED, PACKAGED_NOTE, 1
    found = correct(load_image(path), shrink_factor=shrink)
    views = [cut_view(found, axis, part) for axis, part in chosen.slices]
    titles = [0.36] + [0.0] * (len(views) - 1)
    sheet = Sheet(views, 3, title=titles, foot=0.26)
    grey, colours = find_window(found, chosen.window), make_field_look(views, found)
    for row in range(len(views)):
        sheet.show_image(row, 0, found.before, **grey)
        sheet.show_field(row, 1, found.field, **colours)
        sheet.show_image(row, 2, found.after, **grey)
    sheet.add_titles(0, ("before", "bias field", "after"), size=12)
    sheet.add_field_bar(colours)
    line = describe_settings(found)
    sheet.add_footnote(line, size=7.5)
    sheet.save(name)
    return f"{note}{chosen.what}. Settings: {line}. Source: {chosen.licence}."


def draw_hero() -> str:
    """Draw the picture of the README, a slice and the tissue along a band; return its caption."""
    path = find_shared(T1W) or PACKAGED
    found = correct(load_image(path))
    seen = cut_view(found, 2, 0.505)
    sheet = Sheet([seen], 3, title=0.5, foot=1.75, bar=0.0, gap=0.1)
    grey = make_grey_look(*_find_tissue_window(found, seen))
    sheet.show_image(0, 0, found.before, **grey)
    sheet.show_field(0, 1, found.field, dim=0.0, **make_field_look([seen], found))
    sheet.show_image(0, 2, found.after, **grey)
    sheet.add_titles(0, ("before", "bias field", "after"), size=19)
    _draw_profiles(sheet, seen, found)
    sheet.save("hero")
    note = "" if path != PACKAGED else PACKAGED_NOTE
    return (
        f"{note}{GALLERY['gallery-t1w'].what}. One window for before and after. The curves: "
        f"brightness along the band ({PERCENTILE}th percentile over {BAND_MM} mm), each against "
        f"its mean. Settings: {describe_settings(found)}. Source: {GALLERY['gallery-t1w'].licence}."
    )


def _find_tissue_window(found: Correction, seen: View) -> tuple[float, float]:
    mask = seen.cut(found.mask)
    values = np.concatenate([seen.cut(v)[mask] for v in (found.before, found.after)])
    low, high = np.percentile(values, (2, 94))
    return 0.72 * float(low), float(high)


def _draw_profiles(sheet: Sheet, seen: View, found: Correction) -> None:
    """Draw the tissue along a band before and after, and mark the band in the slices."""
    middle = round(0.58 * seen.cut(found.before).shape[0])
    half = BAND_MM / found.sizes[1] / 2
    rows = slice(round(middle - half), round(middle + half) + 1)
    axes = sheet.figure.add_axes((0.125, 0.05 / sheet.total, 0.85, 1.42 / sheet.total))
    for volume, colour, column in ((found.before, BEFORE, 0), (found.after, AFTER, 2)):
        curve = _measure_bright_tissue(seen, volume, found, rows)
        position = np.arange(len(curve)) * found.sizes[0]
        axes.plot(position, curve, color=colour, linewidth=4, solid_capstyle="round")
        cell = sheet.panels[0][column]
        for row in (rows.start, rows.stop):
            cell.axhline(row, color=colour, linewidth=1.6, dashes=(3, 2))
        cell.title.set_color(colour)
    style_axes(axes)
    axes.yaxis.set_major_locator(MultipleLocator(20))
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{value:+.0f} %".replace("-", "\u2212") if value else "mean"
    )
    axes.margins(y=0.12)
    axes.tick_params(bottom=False, labelbottom=False, labelsize=14)
    axes.grid(visible=False, axis="x")


def _measure_bright_tissue(seen: View, volume: Volume, found: Correction, rows: slice) -> Volume:
    """The brightness along a band relative to its mean, in per cent."""
    mask = seen.cut(found.mask)
    seen_columns = np.flatnonzero(mask[rows].any(axis=0))
    values = np.where(mask, seen.cut(volume), np.nan)[rows, :]
    columns = values[:, seen_columns[0] : seen_columns[-1] + 1]
    known = np.flatnonzero(~np.isnan(columns).all(axis=0))
    curve = np.nanpercentile(columns[:, known], PERCENTILE, axis=0)
    curve = np.interp(np.arange(columns.shape[1]), known, curve)
    curve = ndimage.gaussian_filter1d(curve, 4 / found.sizes[0])
    return 100 * (curve / curve.mean() - 1)
