"""The words by which the header of an image says that n4ax made it."""

import re
from pathlib import Path
from typing import Any

from nibabel.nifti1 import Nifti1Header, Nifti1Image

from n4ax.images.peek import read_header
from n4ax.version import __version__

_SIGNATURE = f"n4ax {__version__}: N4".encode()
_ANY = re.compile(rb"n4ax \S+: N4$")
_LETTERS = 79
"""So many letters has a description."""


def sign(image: Nifti1Image) -> Nifti1Image:
    """Say in the description of a header that n4ax made the image, if there is room."""
    before = _read(image.header)
    signed = b"; ".join([before, _SIGNATURE] if before else [_SIGNATURE])
    if not has_signature(image.header) and len(signed) <= _LETTERS:
        image.header["descrip"] = signed
    return image


def has_signature(header: Any) -> bool:
    """Whether a header of NIfTI says that n4ax made the image."""
    return _ANY.search(_read(header)) is not None


def is_signed(path: Path) -> bool:
    """Whether the header of a NIfTI file says that n4ax made the image."""
    header = read_header(path)
    return isinstance(header, Nifti1Header) and has_signature(header)


def _read(header: Any) -> bytes:
    return bytes(header["descrip"].item()).rstrip(b"\0 ")
