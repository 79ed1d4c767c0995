"""What image files are called: the endings of their names, in small or capital letters."""

from pathlib import Path

NIFTI = (".nii.gz", ".nii.zst", ".nii")
PAIRS = (".hdr", ".img")
FREESURFER = (".mgz", ".mgh")
NRRD = (".nrrd", ".nhdr")
META = (".mha", ".mhd")
ITK = (*NRRD, *META, ".mnc")
DICOM = (".dcm", ".ima")

READ = (*NIFTI, *PAIRS, *FREESURFER, *ITK, *DICOM)
"""Images that are read. A series of DICOM is also read from its folder."""

WRITTEN = (".nii.gz", ".nii", *FREESURFER, *ITK, ".nii.zst", *PAIRS)
"""Images that are written, those of several files too; :func:`find_files` names their files."""

_OTHER_FILE = {".mhd": ".zraw", ".nhdr": ".raw.gz"}
"""Formats of ITK whose header is in a file of its own, and the ending of the file of voxels."""


def find_suffix(path: Path) -> str:
    """What the name of an image ends with, in small letters; empty if it is not known."""
    name = path.name.lower()
    return next((suffix for suffix in READ if name.endswith(suffix)), "")


def find_stem(path: Path) -> str:
    """The name of an image without what it ends with."""
    suffix = find_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.name


def find_files(path: Path) -> list[Path]:
    """All files that an image of this name is made of when it is written.

    Returns
    -------
    list of Path
        ``x.img`` and ``x.hdr`` for a pair of NIfTI, whichever is named. For ``x.mhd`` and
        ``x.nhdr`` that file and its file of voxels: ``x.zraw`` or ``x.raw.gz``. Otherwise ``path``
        alone. If the name ends in capital letters, so do all names.
    """
    suffix = find_suffix(path)
    if suffix in PAIRS:
        suffixes = (".img", ".hdr")
    elif suffix in _OTHER_FILE:
        suffixes = (suffix, _OTHER_FILE[suffix])
    else:
        return [path]
    given = path.name[-len(suffix) :]
    names = [one.upper() if given.isupper() else one for one in suffixes]
    files = [path.with_name(find_stem(path) + name) for name in names]
    # A name like x.Mhd keeps its letters.
    return [path if file.name.lower() == path.name.lower() else file for file in files]


def name_result(path: Path, end: str) -> Path:
    """The name of an image's result: of the same format if that is one packed file."""
    suffix = find_suffix(path)
    packed = suffix in WRITTEN and suffix != ".nii" and len(find_files(path)) == 1
    written = suffix if packed else ".nii.gz"
    named = path if path.name else path.resolve()  # as for the current folder
    return path.parent / f"{find_stem(named)}{end}{written}"
