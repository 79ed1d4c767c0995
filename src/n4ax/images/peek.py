"""What the header of an image says, read without the image."""

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.openers import ImageOpener

from n4ax.images import gzip, nifti
from n4ax.images.beginning import LENGTH, parse_header
from n4ax.images.grids import Grid
from n4ax.images.headers import read_offset, scale_affine
from n4ax.images.names import DICOM, FREESURFER, ITK, NIFTI, find_suffix

_ENOUGH = 4096
"""Bytes of a compressed file that hold its header, however the file was compressed."""


def read_header(path: Path) -> Any:
    """Read the header of a file of NIfTI or FreeSurfer; ``None`` for others, and if it fails."""
    suffix = find_suffix(path)
    kinds = (MGHHeader,) if suffix in FREESURFER else (Nifti1Header, Nifti2Header)
    if suffix not in (*FREESURFER, *NIFTI, ".hdr") or not path.is_file():
        return None  # Python 3.14 would complain of nibabel's opener of a file that is not there
    for kind in kinds:
        try:
            with ImageOpener(str(path)) as file:
                return kind.from_fileobj(file, check=False)
        # What is wrong with the file is told when it is read.
        except Exception:  # noqa: S112  # nosec B112
            continue
    return None


def read_shape(path: Path) -> tuple[int, ...] | None:
    """The shape of an image, by its header alone; ``None`` if that does not say it."""
    header = read_header(path)
    if header is None:
        return None
    try:
        shape = tuple(map(int, header.get_data_shape()))
    except Exception:  # as above
        return None
    return shape if min(shape, default=0) > 0 else None


def read_grid(path: Path) -> Grid | None:
    """Read the grid of an image from the beginning of its file, where that has a header.

    What the beginning does not say well is read from the whole file, so that an image that cannot
    be read fails as it does in :func:`n4ax.images.nifti.read_image`.

    Returns
    -------
    Grid or None
        ``None`` for images of ITK, such as NRRD and DICOM, which are not looked at.

    Raises
    ------
    ImportError
        The file needs a library that is not installed.
    ValueError
        The file is missing or cannot be read; the message says which.
    """
    suffix = find_suffix(path)
    if path.is_dir() or suffix in (*ITK, *DICOM):
        return None
    grid = None
    if suffix == ".nii.gz":
        grid = _read_compressed(path)
    elif suffix in FREESURFER:
        grid = _read_freesurfer(path)
    return grid or nifti.read_grid(nifti.read_image(path))


def _read_compressed(path: Path) -> Grid | None:
    """Read the grid of a file ``.nii.gz``; ``None`` if something is wrong with its header."""
    try:
        with path.open("rb") as file:
            start = gzip.decompress_start(file.read(_ENOUGH), LENGTH)
        parsed = parse_header(start, single=True)
        if parsed is None:
            return None
        _, header, stated = parsed
        read_offset(stated, header.sizeof_hdr, -1)
        affine = scale_affine(header, header.get_best_affine())
        return Grid(header.get_data_shape(), np.dtype(header.get_data_dtype()), affine)
    except (OSError, ValueError, gzip.ISAL_ERROR):
        return None


def _read_freesurfer(path: Path) -> Grid | None:
    header = read_header(path)
    try:
        shape = tuple(map(int, header.get_data_shape()))
        return Grid(shape, np.dtype(header.get_data_dtype()), header.get_affine())
    except Exception:  # what is wrong with the file is told when it is read
        return None
