"""The beginning of a file of NIfTI, which has its header."""

from typing import Any

from nibabel.nifti1 import Nifti1Image, Nifti1Pair
from nibabel.nifti2 import Nifti2Image, Nifti2Pair

from n4ax.images import headers

LENGTH: int = Nifti2Image.header_class.sizeof_hdr
"""Bytes of the longest header."""

_EOL_CHECK, _UNCHANGED = "eol_check", (13, 10, 26, 10)
"""A field of NIfTI-2: bytes that a program would change which takes the file for text."""


def parse_header(content: bytes, *, single: bool) -> tuple[Any, Any, Any] | None:
    """Read the header that a file begins with; ``None`` if it is not NIfTI.

    Parameters
    ----------
    content
        The first :data:`LENGTH` bytes of the file, or all if it has fewer.
    single
        Whether the voxels are in the same file.

    Returns
    -------
    tuple
        nibabel's class of such images; the header, mended; and the header as it is in the file.

    Raises
    ------
    ValueError
        The file is empty, only points to an image, or has a header that cannot be mended.
    """
    check_content(content)
    kinds = (Nifti1Image, Nifti2Image) if single else (Nifti1Pair, Nifti2Pair)
    kind = next((kind for kind in kinds if kind.header_class.may_contain_header(content)), None)
    if kind is None:
        return None
    header = kind.header_class(content[: kind.header_class.sizeof_hdr], check=False)
    stated = header.copy()
    headers.mend(header)
    # nibabel would complain of these on standard error.
    header["magic"] = header.single_magic if header.is_single else header.pair_magic
    if _EOL_CHECK in header:
        header[_EOL_CHECK] = _UNCHANGED
    return kind, header, stated


def check_content(content: bytes) -> None:
    """Refuse files that are empty or only point to an image, with a message that says so."""
    if not content:
        raise ValueError("the file is empty")
    if b"/annex/objects/" in content[:1000]:
        raise ValueError(
            "the file only points to an image that has not been downloaded: fetch it first, for "
            "example with datalad get"
        )
