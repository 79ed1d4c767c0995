"""One picture that shows what a correction did: before, field and after in three planes."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unicodedata import east_asian_width

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from n4ax.images.planes import (
    Plane,
    find_field_window,
    find_grey_window,
    find_planes,
    find_sides,
    is_usable,
    turn_upright,
)
from n4ax.messages import PROCESS_WIDE

OUTLINE = "#ff8a00"
"""The colour of the line around the mask."""

BACKGROUND = "#111418"
TEXT = "#e8eaed"
"""The colours of what lies behind all pictures, and of the text in them."""
_LETTERS = "DejaVu Sans Mono"
"""A font that comes with matplotlib, in which I is more than a line."""
_DOT = "  ·  "
_COLUMNS = 110
"""Characters of a line above the picture."""
_WIDTH, _MARGIN, _LINE, _NAMES, _FOOT = 3.2, 0.1, 0.17, 0.32, 0.62
"""Inches: the width of a panel, the margin around all, the height of a line of text, of the names
of the panels, and of what is below them."""
_LEAST = 0.5
"""Inches that a panel has at least between two letters."""


class _Panel(NamedTuple):
    """A column of the picture: a volume, and the settings with which matplotlib shows it."""

    name: str
    volume: npt.NDArray[np.float32]
    look: dict[str, Any]


class _Scene(NamedTuple):
    """What is shown: three panels, and what is the same in all of them."""

    before: _Panel
    field: _Panel
    after: _Panel
    outlined: npt.NDArray[np.bool_] | None
    """The mask, if it is not the whole image."""
    planes: list[Plane]
    voxel_sizes: tuple[float, ...]
    has_sides: bool
    """Whether it is known where left and right are."""

    @property
    def panels(self) -> tuple[_Panel, _Panel, _Panel]:
        return self.before, self.field, self.after


def draw_figure(
    before: npt.NDArray[Any],
    log_bias: npt.NDArray[Any],
    after: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    title: str,
    mask_name: str = "",
) -> bytes:
    """Draw the planes through the middle of the mask.

    The mask is outlined on the image before, unless it is the whole image. The colours of the field
    have the values that the image is divided by, and white is their geometric mean in the mask.
    Letters say where the patient's left and right are; left is at the left.

    Parameters
    ----------
    before, log_bias, after : array
        Volumes of the same shape, with 2 axes or more. If they have more than 3 axes, the 3-D
        part that holds most of the mask is drawn. Voxels that are not finite are left blank.
    mask : array of bool
        Sets the centre of the planes and the grey levels. It has at least one voxel.
    affine : array, shape (4, 4)
        Maps voxel indices to mm; the planes are turned upright by it. If it is not finite or
        singular, the planes are shown as they are, without letters.
    title : str
        What stands above the picture.
    mask_name : str, optional
        What the mask is called there: ``"otsu"``, ``"all"`` or the name of a file.

    Returns
    -------
    bytes
        The content of a PNG file.
    """
    figure = make_figure(before, log_bias, after, mask, affine, title, mask_name)
    content = io.BytesIO()
    with ignore_missing_glyphs():
        figure.savefig(content, format="png", facecolor=BACKGROUND)
    return content.getvalue()


def make_figure(
    before: npt.NDArray[Any],
    log_bias: npt.NDArray[Any],
    after: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    title: str,
    mask_name: str = "",
) -> Figure:
    """Make the figure of matplotlib that :func:`draw_figure` draws; it takes the same."""
    finite = mask & np.isfinite(before)
    has_space = sum(n > 1 for n in before.shape[:3]) > 1
    turned = [
        turn_upright(_pick_volume(volume, finite, has_space), affine)
        for volume in (before, log_bias, after, finite, mask)
    ]
    (first, voxel_sizes), (log_field, _), (last, _), (upright_finite, _), (upright_mask, _) = turned
    inside = upright_finite > 0.5
    mean, swing = find_field_window(log_field[inside])
    colours = {"cmap": "RdBu_r", "vmin": mean - swing, "vmax": mean + swing}
    scene = _Scene(
        _Panel("before", first, _find_grey_look(first[inside])),
        _Panel("bias field", log_field, colours),
        _Panel("after", last, _find_grey_look(last[inside])),
        None if mask.all() else upright_mask > 0.5,
        find_planes(inside),
        voxel_sizes,
        has_sides=is_usable(affine) and has_space,
    )
    named = f"mask {mask_name}".strip()
    lines = _wrap(f"{title}{_DOT if title else ''}{named}, {np.count_nonzero(mask):,} voxels")
    ranges = "\n".join(
        f"field {_find_range(log_bias[where])} in the {name}"
        for name, where in (("image", ...), ("mask", mask))
    )
    with ignore_missing_glyphs():
        return _draw_scene(scene, lines, ranges)


def _draw_scene(scene: _Scene, lines: list[str], ranges: str) -> Figure:
    shape = scene.before.volume.shape
    heights = [_height_to_width(plane.measure(scene.voxel_sizes, shape)) for plane in scene.planes]
    head = _MARGIN + _LINE * len(lines) + _NAMES
    total = head + _WIDTH * sum(heights) + _FOOT
    width = 3 * _WIDTH + 2 * _MARGIN
    figure = Figure(figsize=(width, total), facecolor=BACKGROUND, dpi=120)
    FigureCanvasAgg(figure)  # which measures texts
    grid = figure.subplots(
        len(scene.planes),
        len(scene.panels),
        squeeze=False,
        gridspec_kw={"height_ratios": heights, "wspace": 0.02, "hspace": 0.02},
    )
    sides = {"left": _MARGIN / width, "right": 1 - _MARGIN / width}
    figure.subplots_adjust(**sides, bottom=_FOOT / total, top=1 - head / total)
    shown = {}
    for row, plane in zip(grid, scene.planes, strict=True):
        for cell, panel in zip(row, scene.panels, strict=True):
            shown[panel.name] = _show_plane(cell, panel, plane, scene)
    top = 1 - (_MARGIN + _LINE * len(lines)) / total
    for column, panel in enumerate(scene.panels):
        at = (_MARGIN + (column + 0.5) * _WIDTH) / width
        _write(figure, at, top - 0.08 / total, panel.name, size=13)
    title = _write(figure, 0.5, 1 - _MARGIN / total, "\n".join(lines), size=9)
    space = (width - 2 * _MARGIN) * figure.dpi
    while title.get_window_extent().width > space:
        title.set_fontsize(0.95 * title.get_fontsize())
    _draw_foot(figure, scene, shown[scene.field.name], ranges)
    return figure


def _draw_foot(figure: Figure, scene: _Scene, field: Any, ranges: str) -> None:
    """Explain, below the panels, the line around the mask and the colours of the field."""
    width, total = figure.get_size_inches()
    low, high = field.get_clim()
    below, above = (scene.field.volume < low).any(), (scene.field.volume > high).any()
    extend = ("both" if above else "min") if below else ("max" if above else "neither")
    place = ((_MARGIN + 1.1 * _WIDTH) / width, 0.41 / total, 0.8 * _WIDTH / width, 0.11 / total)
    bar = figure.colorbar(
        field, cax=figure.add_axes(place), orientation="horizontal", extend=extend
    )
    ticks = np.linspace(low, high, 5)
    # Three significant digits, without the point that would end 100.
    labels = [f"{np.exp(tick):#.3g}".rstrip(".") for tick in ticks]
    bar.set_ticks(ticks.tolist(), labels=labels)
    bar.ax.tick_params(colors=TEXT, labelsize=8, length=2, pad=1)
    bar.set_label("field (image is divided by it)", color=TEXT, fontsize=8, labelpad=1)
    bar.outline.set_edgecolor(TEXT)
    at = 0.52 / total
    if scene.outlined is not None:
        _write(figure, (_MARGIN + 0.5 * _WIDTH) / width, at, "outline: mask", color=OUTLINE)
    _write(figure, (_MARGIN + 2.5 * _WIDTH) / width, at, ranges)


def _write(
    figure: Figure, x: float, y: float, text: str, size: float = 8, color: str = TEXT
) -> Any:
    """Write a text whose top is in the middle of a place, in parts of the figure."""
    return figure.text(x, y, text, size=size, color=color, ha="center", va="top", parse_math=False)


def _show_plane(cell: Any, panel: _Panel, plane: Plane, scene: _Scene) -> Any:
    """Show a plane of a panel in a cell; return matplotlib's image, for the colour bar."""
    width, height = plane.measure(scene.voxel_sizes)
    image = cell.imshow(
        plane.cut(panel.volume), aspect=height / width, interpolation="bilinear", **panel.look
    )
    cell.set_axis_off()
    if scene.outlined is not None and panel is scene.before:  # the image after stays clear
        _outline(cell, plane.cut(scene.outlined))
    if scene.has_sides:
        _letter(cell, plane, _find_size(plane.measure(scene.voxel_sizes, panel.volume.shape)))
    return image


def _outline(cell: Any, inside: npt.NDArray[np.bool_]) -> None:
    """Draw a line around the part of a plane that is in the mask, also along its edges."""
    if not inside.any():
        return
    padded = np.pad(inside, 1).astype(np.float32)
    rows, columns = (np.arange(-1, n + 1) for n in inside.shape)
    limits = cell.axis()
    cell.contour(columns, rows, padded, [0.5], colors=[OUTLINE], linewidths=0.7)
    cell.axis(limits)


def _letter(cell: Any, plane: Plane, size: tuple[float, float]) -> None:
    """Write at each side of a plane which side of the patient it is.

    A side is left out if the panel, whose size is in inches, has no room for two letters.
    """
    sides = find_sides(plane)
    width, height = size
    edge_x, edge_y = 0.09 / width, 0.1 / height
    places = []
    if width >= _LEAST:
        places += [(edge_x, 0.5, sides.left), (1 - edge_x, 0.5, sides.right)]
    if height >= _LEAST:
        places += [(0.5, 1 - edge_y, sides.top), (0.5, edge_y, sides.bottom)]
    look = {"color": TEXT, "size": 9, "family": _LETTERS, "ha": "center", "va": "center"}
    for x, y, letter in places:
        text = cell.text(x, y, letter, transform=cell.transAxes, **look)
        text.set_path_effects([withStroke(linewidth=2, foreground=BACKGROUND)])


def _find_size(size: tuple[float, float]) -> tuple[float, float]:
    """Width and height in inches at which a plane of so many mm is shown."""
    width, height = size
    inches = min(_WIDTH / width, _WIDTH * _height_to_width(size) / height)
    return width * inches, height * inches


def _find_grey_look(voxels: npt.NDArray[np.float32]) -> dict[str, Any]:
    low, high = find_grey_window(voxels)
    return {"cmap": "gray", "vmin": low, "vmax": high}


def _find_range(log_bias: npt.NDArray[Any]) -> str:
    """The least and the greatest value of a field, as the command line prints them."""
    finite = log_bias[np.isfinite(log_bias)]
    if finite.size == 0:
        return "without finite values"
    return f"from {np.exp(finite.min()):.3f} to {np.exp(finite.max()):.3f}"


def _wrap(text: str) -> list[str]:
    """Break a text into lines, at its dots or, where there is none, in a long name."""
    lines = [""]
    for part in text.split(_DOT):
        joined = f"{lines[-1]}{_DOT}{part}" if lines[-1] else part
        if _count_columns(joined) <= _COLUMNS:
            lines[-1] = joined
            continue
        lines.append("")
        for letter in part:
            if _count_columns(lines[-1]) + 2 > _COLUMNS:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _count_columns(text: str) -> int:
    """How many columns a text takes; letters of some scripts take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


@contextmanager
def ignore_missing_glyphs() -> Iterator[None]:
    """Let a name above the picture be in a script that the font does not have."""
    with PROCESS_WIDE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def _pick_volume(
    volume: npt.NDArray[Any], mask: npt.NDArray[np.bool_], has_space: bool
) -> npt.NDArray[np.float32]:
    """The three axes to draw; of a volume with more axes, the part that holds most of the mask."""
    shape = volume.shape
    if not has_space:  # a line over time has no plane in its first three axes
        shape = tuple(n for n in shape if n > 1)
    parts = volume.reshape(*(*shape, 1)[:3], -1)
    voxels = mask.reshape(parts.shape).sum(axis=(0, 1, 2))
    return parts[..., int(voxels.argmax())].astype(np.float32)


def _height_to_width(size: tuple[float, float]) -> float:
    """The shape of a panel; a plane that is too tall or too flat for it gets margins."""
    width, height = size
    return min(max(height / width, 0.25), 1.6)
