"""Small files of FreeSurfer, NRRD, MetaImage and MINC, and ways in which their headers lie."""

import gzip
from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from reliability.fuzz.damage import damage

SUFFIXES = (".mgh", ".mgz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc")
TYPES = ("u1", "i2", "i4", "f4", "u2", "f8", "i1", "u4")
_OF_MGH = ("u1", "i2", "i4", "f4")
_EDGES = (
    "0", "1", "-1", "2", "nan", "inf", "1e400", "1e-320", "99999999999", "2147483647", "", " ",
    "4294967296", "x", "0 0 0", "3 3 3", "True", "False", "LOCAL", "raw", "gzip", "hex", "bzip2",
    "double", "float", "uchar", "short", "little", "big", "/dev/zero", "/dev/null", "../a", "a.img",
    "LIST", "(1,0,0)", "(1,0,0) (0,1,0) (0,0,1)", "(nan,0,0) (0,1,0) (0,0,1)", "none none none",
    "left-posterior-superior", "%03d 1 3 1", "domain domain domain", "vector domain domain",
)  # fmt: skip
_KEYS = {
    ".nrrd": ("dimension", "type", "sizes", "encoding", "endian", "byte skip", "line skip", "kinds",
              "space", "space directions", "space origin", "data file", "spacings", "axis mins"),
    ".mha": ("NDims", "ElementType", "DimSize", "CompressedData", "CompressedDataSize",
             "ElementDataFile", "HeaderSize", "BinaryDataByteOrderMSB", "ElementSpacing", "Offset",
             "TransformMatrix", "ElementNumberOfChannels", "BinaryData", "ObjectType",
             "ElementSize"),
}  # fmt: skip


def draw_array(random: Random, types: tuple[str, ...] = TYPES) -> Any:
    """Voxels of 2 to 4 axes."""
    shape = [random.choice((1, 2, 3, 4, 6)) for _ in range(random.choice((2, 3, 3, 3, 4)))]
    raw = np.frombuffer(random.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
    return (raw % 128).astype(random.choice(types))


def write_mgh(random: Random, path: Path) -> Any:
    """Write a valid file of FreeSurfer; return its voxels."""
    array = draw_array(random, _OF_MGH)
    array = array.reshape([*array.shape, *[1] * (3 - array.ndim)])
    array = array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array
    affine = np.diag([random.choice((1.0, 0.7)), -1.0, 2.0, 1.0])
    nib.MGHImage(array, affine).to_filename(path)
    return array


def write_itk(random: Random, path: Path) -> Any:
    """Write a valid file by ITK; return its voxels, in the order of the file."""
    array = draw_array(random)
    if path.suffix == ".mnc":  # ITK writes MINC with 3 axes
        array = array.reshape(*array.shape[:2], -1)
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing([random.choice((1.0, 0.5, 2.0)) for _ in range(array.ndim)])
    image.SetOrigin([random.choice((0.0, -3.5)) for _ in range(array.ndim)])
    sitk.WriteImage(image, str(path), useCompression=random.random() < 0.5)
    return array.T


def spoil(random: Random, path: Path) -> None:
    """Let a file lie, or damage it or the file of its voxels."""
    files = sorted(one for one in path.parent.iterdir() if one.is_file())
    chosen = path if random.random() < 0.7 else random.choice(files)
    content = chosen.read_bytes()
    family = {".nhdr": ".nrrd", ".mhd": ".mha"}.get(path.suffix, path.suffix)
    if family in _KEYS and chosen == path and random.random() < 0.7:
        content = change_line(random, content, family)
    elif path.suffix == ".mgz" and random.random() < 0.7:
        content = gzip.compress(damage(random, gzip.decompress(content)), 1)
    elif path.suffix == ".mgh" and random.random() < 0.5:
        content = change_number(random, content)
    else:
        content = damage(random, content)
    chosen.write_bytes(content)


def change_line(random: Random, content: bytes, family: str) -> bytes:
    """Give another value to a field of a header in text, leave it out, or write it twice."""
    end = content.find(b"\n\n") if family == ".nrrd" else content.find(b"ElementDataFile")
    end = len(content) if end < 0 else end
    head, rest = content[:end], content[end:]
    lines = head.split(b"\n")
    at = random.randrange(len(lines))
    between = ": " if family == ".nrrd" else " = "
    key = lines[at].split(between.strip().encode())[0].strip().decode(errors="replace")
    if random.random() < 0.3:
        key = random.choice(_KEYS[family])
    line = f"{key}{between}{random.choice(_EDGES)}".encode()
    choice = random.random()
    if choice < 0.6:
        lines[at] = line
    elif choice < 0.7:
        del lines[at]
    else:
        lines.insert(at, line)
    return b"\n".join(lines) + rest


def change_number(random: Random, content: bytes) -> bytes:
    """Put a number on the edge among the first numbers of a file of FreeSurfer."""
    at = 4 * random.randrange(8)
    value = random.choice((0, 1, 2, 3, 4, 10, -1, 2**31 - 1, -(2**31), 65536, 32767))
    return content[:at] + value.to_bytes(4, "big", signed=True) + content[at + 4 :]
