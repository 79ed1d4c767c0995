"""Series of DICOM: slices whose headers lie, damaged files, and files that belong elsewhere."""

import warnings
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from reliability.fuzz.damage import damage
from reliability.fuzz.reading import is_read, read

SHARE = 0.05
SECONDS = 20.0

_SLICES = 3
_MOST_MEMORY = 4608
"""MiB. GDCM, by which ITK looks for the slices of a series, takes what the length of an element
says, up to 4 GiB, before anything of the file is known to n4ax."""
_NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel",
            "PixelRepresentation")  # fmt: skip
_TEXTS = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope",
          "RescaleIntercept", "SliceThickness", "SeriesInstanceUID", "InstanceNumber")  # fmt: skip
_EDGES = ("", "0", "nan", "inf", "-1", "1e400", "x", "1\\2", "1\\2\\3", "0\\0\\0", "nan\\nan\\nan",
          "1\\0\\0\\1\\0\\0", "1\\0\\0\\0\\1\\0", "0\\0\\0\\0\\0\\0", "0.5\\0.5", "1,5\\1,5",
          "9" * 60)  # fmt: skip


@cache
def make_slice(number: int) -> bytes:
    """The file of a slice."""
    made: Any = pydicom.Dataset()
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, f"1.2.3.{number + 1}"
    made.SeriesInstanceUID, made.StudyInstanceUID = "1.2.4", "1.2.5"
    made.Modality, made.InstanceNumber = "MR", number + 1
    made.PixelSpacing, made.SliceThickness = [1.0, 1.5], 2.0
    made.ImagePositionPatient = [0.0, 0.0, 2.0 * number]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.Rows, made.Columns, made.SamplesPerPixel = 4, 5, 1
    made.PhotometricInterpretation, made.PixelRepresentation = "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.RescaleSlope, made.RescaleIntercept = "1", "0"
    values = np.random.default_rng(number).integers(1, 900, (4, 5), np.uint16)
    made.PixelData = values.tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = MRImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    written = BytesIO()
    made.save_as(written, enforce_file_format=True)
    return written.getvalue()


def try_input(random: Random, folder: Path) -> str:
    """Read a series by its folder or by one of its files."""
    series = folder / "series"
    series.mkdir()
    contents = [make_slice(number) for number in range(_SLICES)]
    whole = random.random() < 0.1
    if not whole:
        for _ in range(random.choice((1, 1, 2))):
            at = random.randrange(_SLICES)
            contents[at] = _spoil(random, contents[at])
    for number, content in enumerate(contents):
        (series / f"{number}.dcm").write_bytes(content)
    if random.random() < 0.1:
        (series / "notes.txt").write_bytes(random.choice((b"", b"hello", contents[0])))
    names = [f"{number}.dcm" for number in range(_SLICES)]
    text = read(random.choice((series, series / "1.dcm")), *names, most=_MOST_MEMORY)
    assert is_read(text) or not whole, text
    return text


def _spoil(random: Random, content: bytes) -> bytes:
    if random.random() < 0.4:
        return damage(random, content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom tells of what was changed before
        data: Any = pydicom.dcmread(BytesIO(content), force=True)
        is_known = all(name in data for name in (*_NUMBERS, *_TEXTS))
    if not is_known:  # it was changed before
        return damage(random, content)
    if random.random() < 0.4:
        tag = _find_tag(random, data, _NUMBERS)
        number = random.choice((0, 1, 2, 3, 7, 8, 32, 64, 65535))
        return replace_element(content, tag, number.to_bytes(2, "little"))
    tag = _find_tag(random, data, _TEXTS)
    text = random.choice(_EDGES).encode()
    return replace_element(content, tag, text + b" " * (len(text) % 2))


def replace_element(content: bytes, tag: Any, value: bytes) -> bytes:
    """Put another value into an element of a file with explicit types and short lengths."""
    start = content.index(tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little"), 132)
    length = int.from_bytes(content[start + 6 : start + 8], "little")
    head = content[: start + 6] + len(value).to_bytes(2, "little")
    return head + value + content[start + 8 + length :]


def _find_tag(random: Random, data: Any, names: tuple[str, ...]) -> Any:
    """The tag of one of the elements that a file still has."""
    return data[random.choice([name for name in names if name in data])].tag
