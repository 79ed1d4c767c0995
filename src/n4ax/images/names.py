"""What image files are called: the endings of their names, in small or capital letters."""

from pathlib import Path

NIFTI = (".nii.gz", ".nii")
PAIRS = (".hdr", ".img")
FREESURFER = (".mgz", ".mgh")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd", ".mnc")
DICOM = (".dcm", ".ima")

READ = (*NIFTI, *PAIRS, *FREESURFER, *ITK, *DICOM)
"""Images that are read. A series of DICOM is also read from its folder."""

WRITTEN = (*NIFTI, *FREESURFER, ".nrrd", ".mha", ".mnc")
"""Images that are written. The others are made of two files or more."""


def find_suffix(path: Path) -> str:
    """What the name of an image ends with, in small letters; empty if it is not known."""
    name = path.name.lower()
    return next((suffix for suffix in READ if name.endswith(suffix)), "")


def find_stem(path: Path) -> str:
    """The name of an image without what it ends with."""
    suffix = find_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.name


def name_result(path: Path, end: str) -> Path:
    """The name of an image's result: of the same format if that can be written, and packed."""
    suffix = find_suffix(path)
    written = suffix if suffix in WRITTEN and suffix != ".nii" else ".nii.gz"
    return path.with_name(f"{find_stem(path)}{end}{written}")


def find_files(path: Path) -> list[Path]:  # MERGE: take the other branch's
    """All files of an image: two for a pair of header and voxels, else the one that is named."""
    if find_suffix(path) not in PAIRS:
        return [path]
    return [path.with_suffix(suffix) for suffix in (".img", ".hdr")]
