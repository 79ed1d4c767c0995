"""What the header of an image says, read without the image."""

from pathlib import Path
from typing import Any

from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.openers import ImageOpener

from n4ax.images.names import FREESURFER, NIFTI, find_suffix


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
        except Exception:  # what is wrong with the file is told when it is read
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
