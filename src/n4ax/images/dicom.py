"""Series of DICOM, read by ITK after it is checked that their slices make one volume."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_POSITION, _ORIENTATION, _DESCRIPTION = "0020|0032", "0020|0037", "0008|103e"
_SYNTAX = b"\x02\x00\x10\x00UI"
"""So begins the element that says how voxels are stored, which ITK does not give."""
_NOT_COMPRESSED = (b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2")
_BEGINNING = 2048
"""Bytes of a file that have this element."""
_MOST_COMPRESSED = 2000
"""Voxels that a compressed file may have for each of its bytes."""
NOTHING = "{} has no images and no series of DICOM; folders inside it are not searched"

_UNEVEN = 0.01
"""How far a distance between slices may differ from the usual one, relative to it."""


def read_series(path: Path, sitk: Any) -> Any:
    """Read a series of DICOM: the only one in a folder, or that of a file.

    Raises
    ------
    ValueError
        There is no series or there are several, or its slices do not make one volume.
    """
    folder = path if path.is_dir() else path.parent
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what ITK would say is said here
    try:
        names = _choose_files(path, folder, sitk)
        headers = [_read_header(name, sitk) for name in names]
        _check_sizes(names, headers)
        _check_positions(path, names, headers)
        return sitk.ReadImage(names)
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _choose_files(path: Path, folder: Path, sitk: Any) -> Sequence[str]:
    """The files of the series, in the order of their places."""
    reader = sitk.ImageSeriesReader
    series = [
        reader.GetGDCMSeriesFileNames(str(folder), one)
        for one in reader.GetGDCMSeriesIDs(str(folder))
    ]
    if not path.is_dir():
        own = [names for names in series if path.name in (Path(name).name for name in names)]
        if not own:
            raise ValueError(f"{path} is not part of a series of DICOM in its folder")
        return own[0]
    if not series:
        raise ValueError(NOTHING.format(folder))
    if len(series) > 1:
        examples = ", ".join(f"{Path(n[0]).name} ({_describe(n[0], sitk)})" for n in series)
        raise ValueError(
            f"{folder} has {len(series)} series of DICOM: name a file of one of them ({examples})"
        )
    return series[0]


def _read_header(name: str, sitk: Any) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    reader.ReadImageInformation()
    return reader


def _describe(name: str, sitk: Any) -> str:
    """The description of the series that a file belongs to."""
    header = _read_header(name, sitk)
    known = header.HasMetaDataKey(_DESCRIPTION)
    return header.GetMetaData(_DESCRIPTION).strip() if known else "without a description"


def _check_sizes(names: Sequence[str], headers: Sequence[Any]) -> None:
    """Refuse a file that cannot hold the voxels that its header asks for, before they are made."""
    for name, header in zip(names, headers, strict=True):
        size, voxels = Path(name).stat().st_size, math.prod(header.GetSize())
        if voxels > size * (1 if _is_uncompressed(name) else _MOST_COMPRESSED):
            raise ValueError(
                f"{name} has {size} bytes, and its header asks for {voxels} voxels: it may have "
                "been cut off"
            )


def _is_uncompressed(name: str) -> bool:
    """Whether the beginning of a file says that its voxels are not compressed."""
    with Path(name).open("rb") as file:
        start = file.read(_BEGINNING)
    _, found, rest = start.partition(_SYNTAX)
    length = int.from_bytes(rest[:2], "little")
    return bool(found) and rest[2 : 2 + length].strip(b"\0 ") in _NOT_COMPRESSED


def _check_positions(path: Path, names: Sequence[str], headers: Sequence[Any]) -> None:
    """Refuse slices that do not lie one after the other, at one distance from each other."""
    if not all(header.HasMetaDataKey(_POSITION) for header in headers):
        return
    directions = Counter(
        header.GetMetaData(_ORIENTATION) if header.HasMetaDataKey(_ORIENTATION) else ""
        for header in headers
    )
    if len(directions) > 1:
        raise ValueError(
            f"{path} is a series of DICOM with slices in {len(directions)} orientations, such as a "
            "localizer has; expected one volume"
        )
    points = np.array(
        [
            _read_numbers(name, header.GetMetaData(_POSITION), 3)
            for name, header in zip(names, headers, strict=True)
        ]
    )
    axes = _read_numbers(names[0], next(iter(directions)) or "1\\0\\0\\0\\1\\0", 6)
    places = np.sort(points @ np.cross(axes[:3], axes[3:]))
    steps = np.diff(places)
    if len(steps) == 0:
        return
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    if (steps <= _UNEVEN * usual).any():
        repeated = int(np.count_nonzero(places - places[0] <= _UNEVEN * usual))
        raise ValueError(
            f"{path} is a series of DICOM with {repeated} slices at one place, as of several "
            "volumes or echoes; expected one volume: convert it with dcm2niix"
        )
    uneven = np.nonzero(np.abs(steps - usual) > _UNEVEN * usual)[0]
    if len(uneven):
        at = int(uneven[0])
        raise ValueError(
            f"{path} is a series of DICOM whose slices {at + 1} and {at + 2} are {steps[at]:.2f} "
            f"mm apart, and most are {usual:.2f} mm apart: a slice may be missing"
        )


def _read_numbers(name: str, text: str, count: int) -> Any:
    """Read the numbers of a position or of an orientation."""
    try:
        numbers = np.array([float(part) for part in text.split("\\")])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{name} has {text!r} for its place in space; expected {count} numbers")
    return numbers
