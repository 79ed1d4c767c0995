"""The picture of settings that are chosen: fields of the defaults and of the choice."""

from matplotlib.colors import LogNorm

from scripts.figures.gallery import GALLERY, find_window
from scripts.figures.look import FIELD_COLOURS, Sheet
from scripts.figures.volumes import Correction, View, correct, cut_view, find_shared, load_image

TITLES = ("before", "field, defaults", "after", "field, chosen", "after")
LEFT_OUT = "gallery-uih"
"""The picture is large enough without this head."""
SWING = 1.5
"""The colours reach from this factor to its inverse."""


def draw_choice() -> str | None:
    """Draw the volumes of the gallery; return the caption, or ``None`` if they are absent."""
    rows: list[tuple[str, View, Correction, Correction]] = []
    for name, example in GALLERY.items():
        if name == LEFT_OUT:
            continue
        path = find_shared(example.volume)
        if path is None:
            continue
        image = load_image(path)
        defaults = correct(image, shrink_factor=example.shrink)
        rows.append(
            (name, cut_view(defaults, *example.slices[0]), defaults, correct(image, preset="auto"))
        )
    if not rows:
        return None
    titles = [0.36] + [0.0] * (len(rows) - 1)
    sheet = Sheet([view for _, view, *_ in rows], len(TITLES), title=titles, foot=0.2)
    look = {"cmap": FIELD_COLOURS, "norm": LogNorm(1 / SWING, SWING)}
    for row, (name, _, defaults, chosen) in enumerate(rows):
        grey = find_window(defaults, GALLERY[name].window)
        sheet.show_image(row, 0, defaults.before, **grey)
        for column, found in ((1, defaults), (3, chosen)):
            sheet.show_field(row, column, found.field, **look)
            sheet.show_image(row, column + 1, found.after, **grey)
    sheet.add_titles(0, TITLES, size=10)
    sheet.add_field_bar(look)
    sheet.add_footnote("Otsu masks, mean kept; the defaults on every n-th voxel", size=7.5)
    sheet.save("choice")
    sources = "; ".join(GALLERY[name].licence for name, *_ in rows)
    return f"The volumes of the gallery, with SimpleITK's defaults and preset auto. {sources}."
