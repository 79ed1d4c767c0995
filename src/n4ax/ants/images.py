"""The image files of the programs: which of them can be read and written."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from os.path import realpath
from pathlib import Path

from n4ax.images import names

_PACKED = (".gz", ".bz2", ".zst")
"""What nibabel unpacks, also behind names such as ``t1.img``."""


def check_inputs(inputs: Mapping[str, Path]) -> None:
    """Check that the files exist, and then that their names are those of images that are read.

    Parameters
    ----------
    inputs
        The files, by the options that name them.

    Raises
    ------
    ValueError
        A file is missing, is a folder, or has a format that is not read; the message says which
        program converts it.
    """
    for path in inputs.values():
        if not path.exists():
            raise ValueError(f"{path} does not exist, or is not a file")
    for flag, path in inputs.items():
        if path.is_dir():
            raise ValueError(
                f"{flag} {path} is a folder, or is not a file; expected an image file: for a "
                "folder of DICOM use n4ax correct, or convert it with dcm2niix"
            )
        if not path.is_file():
            raise ValueError(f"{path} does not exist, or is not a file")
        if not _can_be_read(path):
            raise ValueError(f"{flag} {path}: {_explain_conversion(path)}")


def check_outputs(flag: str, outputs: Sequence[Path], kept: Iterable[Path]) -> None:
    """Check that files can be written, and that none would overwrite another.

    Parameters
    ----------
    flag
        The option that names the outputs.
    outputs
        The files.
    kept
        Files that must not be overwritten.

    Raises
    ------
    ValueError
        A name does not end as one of the formats that are written, or two names are the same.
    ImportError
        A format needs a library that is not installed.
    OSError
        A folder does not exist or cannot be written to.
    """
    from n4ax.files import check_writable

    taken: set[str] = set()
    for path in outputs:
        if names.find_suffix(path) not in names.WRITTEN:
            raise ValueError(f"{flag} {path}: expected a name ending in {_list(names.WRITTEN)}")
        if names.find_suffix(path) not in (".nii", ".nii.gz"):
            from n4ax.images.formats import need_library

            need_library(path)
        own = set(map(realpath, names.find_files(path)))
        if own & taken:
            raise ValueError(f"{flag} names {path} for both outputs: choose another name")
        taken |= own
        for file in names.find_files(path):
            check_writable(file)
    overwritten = {realpath(file) for path in kept for file in names.find_files(path)} & taken
    if overwritten:
        raise ValueError(f"{flag} {min(overwritten)} would overwrite the mask or the weights")


def _can_be_read(path: Path) -> bool:
    inner = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    return bool(names.find_suffix(path) or names.find_suffix(inner) in (*names.NIFTI, *names.PAIRS))


def _explain_conversion(path: Path) -> str:
    """What n4ax reads, and the command that converts this image if there is one for its format."""
    if path.name.lower().endswith((".mif", ".mif.gz", ".mih")):
        stem = _cut(path, (".gz", ".mif", ".mih"))
        return f"convert it first: mrconvert {_quote(path)} {_quote(f'{stem}.nii.gz')}"
    if path.name.lower().endswith((".head", ".brik", ".brik.gz")):
        dataset = _cut(path, (".gz", ".head", ".brik"))
        made = path.with_name(Path(dataset).name.partition("+")[0] + ".nii.gz")
        return f"convert it first: 3dAFNItoNIFTI -prefix {_quote(made)} {_quote(dataset)}"
    return f"n4ax reads {_list(names.READ)}; convert it to NIfTI first"


def _cut(path: Path, endings: Iterable[str]) -> str:
    """A path without these endings, in small or capital letters."""
    text = str(path)
    for ending in endings:
        if text.lower().endswith(ending):
            text = text[: -len(ending)]
    return text


def _quote(path: object) -> str:
    return shlex.quote(str(path))


def _list(suffixes: Sequence[str]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
