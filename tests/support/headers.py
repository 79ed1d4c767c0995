"""NIfTI-1 files with headers as given: nothing is checked or mended."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SROW = ((-3.0, 0.0, 0.0, 60.0), (0.0, 3.0, 0.0, -66.0), (0.0, 0.0, 3.5, -60.0))
"""The sform that :func:`write_raw` writes; its qform is the same."""

_FORMATS = {
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "intent_p1": (56, "f"),
    "intent_code": (68, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "cal_max": (124, "f"),
    "cal_min": (128, "f"),
    "toffset": (136, "f"),
    "descrip": (148, "80s"),
    "aux_file": (228, "24s"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "qoffset": (268, "3f"),
    "srow": (280, "12f"),
    "intent_name": (328, "16s"),
    "magic": (344, "4s"),
}
"""Where a field begins, and its format."""

_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64}


def write_raw(
    path: Path, voxels: npt.NDArray[Any], *, extension: bytes = bytes(4), **fields: Any
) -> Path:
    """Write a file with these voxels and fields, and return its path.

    If the name ends in ``.hdr``, the voxels go to the file that ends in ``.img``.
    """
    pair = path.suffix == ".hdr"
    given: dict[str, Any] = {
        "sizeof_hdr": 348,
        "dim": [voxels.ndim, *voxels.shape, *(1,) * (7 - voxels.ndim)],
        "datatype": _CODES[voxels.dtype.str[1:]],
        "bitpix": voxels.dtype.itemsize * 8,
        "pixdim": [-1, 3, 3, 3.5, 1, 0, 0, 0],
        "vox_offset": 0 if pair else 348 + len(extension),
        "scl_slope": 1,
        "xyzt_units": 10,
        "qform_code": 1,
        "sform_code": 1,
        "quatern": [0, 1, 0],
        "qoffset": [60, -66, -60],
        "srow": SROW,
        "magic": b"ni1" if pair else b"n+1",
    }
    header = bytearray(348)
    for name, value in (given | fields).items():
        start, form = _FORMATS[name]
        values = [value] if isinstance(value, bytes) else np.ravel(value).tolist()
        struct.pack_into("<" + form, header, start, *values)
    content = voxels.tobytes(order="F")
    if pair:
        path.write_bytes(bytes(header) + extension)
        path.with_suffix(".img").write_bytes(content)
    else:
        path.write_bytes(bytes(header) + extension + content)
    return path
