"""Small pictures of scans: the middle plane after correction, and of the field beside it."""

import io
from pathlib import Path

from PIL import Image

from n4ax.images.planes import count_planes
from n4ax.paths import read_bytes
from n4ax.report.pictures import encode_webp, make_data_uri
from n4ax.report.records import Record

_CELL = 72
"""Width and height of each half of a tile, in pixels."""


def make_tile(record: Record) -> str | None:
    """The tile of a scan as a data URI; ``None`` if there is no picture of it.

    Outputs of earlier versions have no tile. It is made from their larger pictures then.
    """
    tile = record.picture_path("tile")
    if tile.exists():
        return make_data_uri(read_bytes(tile))
    if not record.picture_path("after").exists():
        return None
    cells = count_planes(tuple(record.entries["Shape"]))
    drawn = Image.new("RGB", (2 * _CELL, _CELL))
    for half, name in enumerate(("after", "field")):
        plane = _read_first_plane(record.picture_path(name), cells)
        if plane is not None:
            left = half * _CELL + (_CELL - plane.width) // 2
            drawn.paste(plane, (left, (_CELL - plane.height) // 2))
    return make_data_uri(encode_webp(drawn, quality=55))


def _read_first_plane(path: Path, cells: int) -> Image.Image | None:
    if not path.exists():
        return None
    with Image.open(io.BytesIO(read_bytes(path))) as opened:
        width, height = opened.size
        plane = opened.convert("RGB").crop((0, 0, max(width // cells, 1), height))
    plane.thumbnail((_CELL, _CELL), Image.Resampling.BOX)
    return plane
