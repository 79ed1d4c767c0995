"""Files of a bias field, and ways in which they lie."""

import io
import json
import struct
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np

import n4ax

SHAPES = ((9, 8, 7), (8, 1, 9), (10, 11))
EDGES: tuple[Any, ...] = (
    0, 1, -1, 2, 4, 5, 6, 7, 8, 9, 10, 10**6, 2**31, 2**63, 10**30, 0.5, -0.0, 1e300, 1e-300, True,
    None, "", "F", "C", "itk", "limit", "simpleitk", "ants", "x" * 100, [], [1], [3, 3, 3], {},
    [[]], {"count": 3}, float("nan"), float("inf"), [None, None, None],
)  # fmt: skip


@cache
def make_field_file(number: int, suffix: str) -> bytes:
    """The file of a field of one of the shapes."""
    shape = SHAPES[number]
    values = np.random.default_rng(3).uniform(50, 100, shape).astype(np.float32)
    image = nib.Nifti1Image(values, np.diag([2.0, 1.5, 1.0, 1.0]))
    result = n4ax.fit(image, mask="all", shrink_factor=1, iters=(2,), num_threads=1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        result.field.save(path)
        return path.read_bytes()


def change_description(random: Random, content: bytes) -> bytes:
    """Change the text in the header of a field in NIfTI, and put the file together again."""
    size, code = struct.unpack_from("<2i", content, 352)
    about = json.loads(content[360 : 352 + size].rstrip(b"\0"))
    for _ in range(random.choice((1, 1, 2))):
        about = change_value(random, about)
    text = json.dumps(about).encode()
    if random.random() < 0.05:
        text = random.choice((b"{", b"[" * 5000, b'{"n4ax_bias_field": 2}', b"\xff\xfe", b"null"))
    size_now = (8 + len(text) + 15) // 16 * 16
    extension = struct.pack("<2i", size_now, code) + text.ljust(size_now - 8, b"\0")
    header = bytearray(content[:352])
    struct.pack_into("<f", header, 108, 352 + size_now)
    return bytes(header) + extension + content[352 + size :]


def change_value(random: Random, value: Any) -> Any:
    """Change something in a value of JSON: an entry, or an entry of an entry."""
    if isinstance(value, dict) and value:
        key = random.choice(list(value))
        if random.random() < 0.1:
            return {one: value[one] for one in value if one != key}
        return {**value, key: change_value(random, value[key])}
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        if random.random() < 0.2:
            return value[:at] + value[at + 1 :]
        return [*value[:at], change_value(random, value[at]), *value[at + 1 :]]
    return random.choice(EDGES)


def change_arrays(random: Random, content: bytes) -> bytes:
    """Change the arrays of a field in a file of NumPy."""
    with np.load(io.BytesIO(content)) as data:
        parts = dict(data)
    for _ in range(random.choice((1, 1, 2))):
        key = random.choice(list(parts))
        choice = random.random()
        if choice < 0.15:
            del parts[key]
        elif choice < 0.5:
            parts[key] = (
                np.array(random.choice(EDGES), dtype=object if choice < 0.2 else None)
                if choice < 0.2
                else _make_array(random)
            )
        else:
            parts[key] = _change_array(random, parts[key])
        if not parts:
            break
    written = io.BytesIO()
    np.savez(written, **parts)
    return written.getvalue()


def _make_array(random: Random) -> Any:
    value = random.choice(EDGES)
    try:
        array = np.array(value)
    except ValueError:  # lists of unequal lengths
        return np.zeros(0)
    return np.zeros(3) if array.dtype.kind == "O" else array


def _change_array(random: Random, array: Any) -> Any:
    choice = random.random()
    if choice < 0.3:
        kind = random.choice(("f8", "i2", "U3", "?", "c8", ">f4"))
        with np.errstate(all="ignore"):
            return array.astype(kind) if array.dtype.kind in "fiub" and kind != "c8" else array
    if choice < 0.6 and array.size and array.dtype.kind in "fiu":
        changed = array.copy()
        edges = (0, -1, 1, 2**31 - 1) if array.dtype.kind in "iu" else (0, -1, np.nan, np.inf, 1e30)
        changed.flat[random.randrange(array.size)] = random.choice(edges)
        return changed
    if choice < 0.8:
        return array[..., None]
    return array.ravel()[: random.randrange(array.size + 1)]
