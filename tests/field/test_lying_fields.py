"""Files of a field whose parts do not belong together are refused before they are used."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4ax.saved_field import read_field
from reliability.fuzz.field_makers import make_field_file
from tests.support.headers import write_raw


def write_changed(path: Path, change: Any) -> None:
    """Write a field in NIfTI with another description."""
    content = make_field_file(0, ".nii")
    size, code = struct.unpack_from("<2i", content, 352)
    about = json.loads(content[360 : 352 + size].rstrip(b"\0"))
    text = change if isinstance(change, bytes) else json.dumps({**about, **change(about)}).encode()
    now = (8 + len(text) + 15) // 16 * 16
    header = bytearray(content[:352])
    struct.pack_into("<f", header, 108, 352 + now)
    extension = struct.pack("<2i", now, code) + text.ljust(now - 8, b"\0")
    path.write_bytes(bytes(header) + extension + content[352 + size :])


def change_axis(**values: Any) -> Any:
    return lambda about: {"axes": [{**about["axes"][0], **values}, *about["axes"][1:]]}


@pytest.mark.parametrize(
    "change",
    [
        lambda about: {"spline_order": float(about["spline_order"])},
        lambda about: {"shape": [float(n) for n in about["shape"]]},
        lambda about: {"axes_known": [1, 2]},
        change_axis(padding=[0, 2**40]),
        change_axis(padding=[0.0, 0.0]),
        change_axis(itk_position={"origin": 0.0, "step": float("nan"), "start": 0}),
        change_axis(itk_position={"origin": 0.0, "step": 1.0, "start": 10**30}),
    ],
)
def test_parts_that_cannot_be_used_are_refused(tmp_path: Path, change: Any) -> None:
    write_changed(tmp_path / "f.nii", change)
    with pytest.raises(ValueError, match=r"f\.nii is not a bias field"):
        read_field(tmp_path / "f.nii")


def test_comment_that_is_too_deep_is_no_field(tmp_path: Path) -> None:
    write_changed(tmp_path / "f.nii", b"[" * 50_000)
    with pytest.raises(ValueError, match=r"f\.nii"):
        read_field(tmp_path / "f.nii")


def test_place_beyond_single_precision_is_refused(tmp_path: Path) -> None:
    far = [[1e300, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    write_changed(tmp_path / "f.nii", lambda _: {"affine": far})
    with pytest.raises(ValueError, match=r"f\.nii is not a bias field .*affine has no inverse"):
        read_field(tmp_path / "f.nii")


@pytest.mark.parametrize("code", [2, 18, 32, 44])
def test_extensions_of_other_programs_do_not_hide_a_field(tmp_path: Path, code: int) -> None:
    extension = b"\1\0\0\0" + struct.pack("<ii", 16, code) + b"12345678"
    voxels = np.full((3, 4, 5), 2, np.float32)
    path = write_raw(tmp_path / "a.nii", voxels, extension=extension)
    assert read_field(path).spline is None
