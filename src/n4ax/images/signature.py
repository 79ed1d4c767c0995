"""The words by which the header of an image says that n4ax made it."""

import re
from typing import Any

from nibabel.nifti1 import Nifti1Image

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


def _read(header: Any) -> bytes:
    return bytes(header["descrip"].item()).rstrip(b"\0 ")
