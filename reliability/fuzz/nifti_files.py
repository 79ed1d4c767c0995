"""Small files of NIfTI-1, NIfTI-2 and Analyze: valid ones of every kind, and ones that lie."""

import math
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

KINDS = {1: Nifti1Header.template_dtype, 2: Nifti2Header.template_dtype}
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip
"""NIfTI's codes for the types of real numbers."""

WHOLE = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 128, 255, 352, 544, 1792, 2304, 32767, -1, -2, -32768,
    2**31 - 1, -(2**31), 2**32 + 1, 2**40, 2**62, 2**63 - 1, -(2**63),
)  # fmt: skip
REAL = (
    0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 4.0, 348.0, 352.0, 351.5, 356.0, 1e-45, 1e-38, 1e-20, 1e10,
    1e20, 3e38, 1e300, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TEXT = (b"", b"n+1", b"ni1", b"n+2", b"ni2", b"\xff\xfe", b"n4ax 1.0: N4", b"\0x", b"x" * 200)
FREE = ("data_type", "db_name", "descrip", "aux_file", "intent_name", "cal_max", "cal_min")
"""Fields that no reader may depend on."""


@dataclass
class Draft:
    """A file that is not put together yet."""

    header: npt.NDArray[Any]
    extensions: bytes
    voxels: npt.NDArray[Any]
    single: bool

    @property
    def gap(self) -> int:
        """Bytes from the end of the header to the voxels, in one file."""
        return 4 + len(self.extensions)

    def join(self) -> tuple[bytes, bytes]:
        """The content of the header's file and of the file of voxels, which may be the same."""
        flag = bytes([bool(self.extensions), 0, 0, 0])
        header = self.header.tobytes() + flag + self.extensions
        voxels = self.voxels.tobytes(order="F")
        return (header + voxels, b"") if self.single else (header, voxels)


def draft_nifti(random: Random, *, single: bool | None = None) -> Draft:
    """A valid file with an ordinary or unusual header."""
    version, order = random.choice((1, 1, 1, 2)), random.choice("<<>")
    single = random.random() < 0.85 if single is None else single
    header = np.zeros((), KINDS[version].newbyteorder(order))
    code = random.choice(list(TYPES))
    shape = _draw_shape(random)
    voxels = _draw_voxels(random, np.dtype(TYPES[code]).newbyteorder(order), shape)
    extensions = _draw_extensions(random, order) if random.random() < 0.3 else b""
    header["sizeof_hdr"] = header.dtype.itemsize
    header["magic"] = (b"n+" if single else b"ni") + str(version).encode()
    if version == 2:
        header["eol_check"] = (13, 10, 26, 10)
    header["dim"] = [len(shape), *shape, *[1] * (7 - len(shape))]
    header["datatype"], header["bitpix"] = code, voxels.dtype.itemsize * 8
    draft = Draft(header, extensions, voxels, single)
    header["vox_offset"] = header.dtype.itemsize + draft.gap if single else 0
    header["descrip"] = random.choice((b"", b"a scan", b"n4ax 1.0: N4"))
    _place(random, header)
    if random.random() < 0.4:
        header["scl_slope"] = random.choice((0.25, 2.0, -1.0, 0.0, 1.0, 0.0371, 1e-4))
        header["scl_inter"] = random.choice((0.0, -3.0, 1024.0, 0.1))
    return draft


def _draw_shape(random: Random) -> tuple[int, ...]:
    axes = random.choice((2, 3, 3, 3, 3, 3, 4))
    return tuple(random.choice((1, 2, 3, 4, 5, 6, 9)) for _ in range(axes))


def _draw_voxels(random: Random, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    raw = np.frombuffer(random.randbytes(math.prod(shape)), np.uint8).reshape(shape)
    if random.random() < 0.3:
        return (raw % 128).astype(dtype)
    spread = 10.0 ** random.randint(0, 5)
    wide = raw / 255.0 * spread
    if dtype.kind in "iu":
        wide = np.clip(wide, 0, min(np.iinfo(dtype).max, 2**31))
    return wide.astype(dtype)


def _draw_extensions(random: Random, order: str) -> bytes:
    """Extensions of the header, whose sizes are multiples of 16."""
    parts: list[bytes] = []
    for _ in range(random.choice((1, 1, 2))):
        size = 16 * random.randint(1, 8)
        code = random.choice((0, 4, 6, 6, 44, 40, 999))
        numbers = np.array([size, code], "i4").astype(f"{order}i4").tobytes()
        text = random.choice((b"{}", b"hello", b'{"a": 1}', random.randbytes(8)))
        parts.append(numbers + text[: size - 8].ljust(size - 8, b"\0"))
    return b"".join(parts)


def _place(random: Random, header: npt.NDArray[Any]) -> None:
    """Place an image by its sform, its qform, both or neither."""
    sizes = [random.choice((1.0, 0.9375, 2.0, 0.7, 3.3)) for _ in range(3)]
    header["pixdim"] = [random.choice((1.0, -1.0, 0.0)), *sizes, 2.5, 1, 1, 1]
    header["xyzt_units"] = random.choice((0, 2, 2, 10, 10, 1, 3, 18))
    header["qform_code"] = random.choice((0, 0, 1, 1, 2, 4))
    header["sform_code"] = random.choice((0, 1, 1, 2, 4))
    quaternion = random.choice(((0, 0, 0), (0, 0, 1), (0.5, 0.5, 0.5), (0.1, -0.2, 0.3)))
    for name, value in zip(("b", "c", "d"), quaternion, strict=True):
        header[f"quatern_{name}"] = value
    b, c, d = quaternion
    a = math.sqrt(max(1.0 - b * b - c * c - d * d, 0.0))
    turned = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    ) * np.array(sizes)
    for number, name in enumerate("xyz"):
        offset = random.choice((0.0, -90.0, 126.5, 17.25))
        header[f"qoffset_{name}"] = offset
        header[f"srow_{name}"] = [*turned[number], offset]


def change_header(random: Random, header: npt.NDArray[Any]) -> None:
    """Put values on the edge into some fields."""
    names = header.dtype.names or ()
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        name = random.choice(
            (*names, "dim", "dim", "datatype", "vox_offset", "scl_slope", "pixdim")
        )
        change_field(random, header, name)


def change_field(random: Random, header: npt.NDArray[Any], name: str) -> None:
    """Put a value on the edge into a field, or into one element of it."""
    field = header[name]
    kind = field.dtype
    if kind.kind == "S":
        value: Any = random.choice(TEXT)
    elif kind.kind == "f":
        with np.errstate(over="ignore"):
            value = np.array(random.choice(REAL)).astype(kind)
    else:
        info = np.iinfo(kind)
        value = min(max(random.choice(WHOLE), int(info.min)), int(info.max))
    if field.shape:
        field[random.randrange(len(field))] = value
    else:
        header[name] = value


def change_sizes(random: Random, draft: Draft) -> None:
    """Let the extensions lie about their sizes."""
    if len(draft.extensions) < 16:
        draft.extensions = random.choice((random.randbytes(16), bytes(16), b"\x10\0\0\0"))
        return
    lie = random.choice((0, 1, 7, 8, 15, 17, 2**31 - 1, -1, -(2**31), 2**20, len(draft.extensions)))
    order = ">" if draft.header.dtype["sizeof_hdr"].byteorder == ">" else "<"
    size = np.array(lie, "i4").astype(f"{order}i4").tobytes()
    draft.extensions = size + draft.extensions[4:]
