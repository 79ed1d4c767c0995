"""The image files of the programs: which can be read and written, and how they appear together."""

import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from os.path import realpath
from pathlib import Path
from tempfile import TemporaryDirectory

from n4ax.images import names

_PACKED = (".gz", ".bz2", ".zst")
"""What nibabel unpacks, also behind names such as ``t1.img``."""

_SEVERAL_FILES = (*names.PAIRS, ".nhdr", ".mhd")
"""Images of a header and a file with the voxels, which are named after each other."""


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
        A format needs SimpleITK, which is not installed.
    OSError
        A folder does not exist or cannot be written to.
    """
    from n4ax.files import check_writable

    taken: set[str] = set()
    for path in outputs:
        if names.find_suffix(path) not in names.WRITTEN:
            raise ValueError(f"{flag} {path}: expected a name ending in {_list(names.WRITTEN)}")
        if names.find_suffix(path) in names.ITK:
            from n4ax.images.formats import load_itk

            load_itk(path)
        own = set(map(realpath, names.find_files(path)))
        if own & taken:
            raise ValueError(f"{flag} names {path} for both outputs: choose another name")
        taken |= own
        for file in names.find_files(path):
            check_writable(file)
    overwritten = {realpath(file) for path in kept for file in names.find_files(path)} & taken
    if overwritten:
        raise ValueError(f"{flag} {min(overwritten)} would overwrite the mask or the weights")


def write_images(images: Mapping[Path, Callable[[Path], None]]) -> None:
    """Write images, all of them or none.

    Parameters
    ----------
    images
        What writes the image into a file that it is given, by the file's final name.

    Raises
    ------
    OSError
        A folder cannot be written to, or the disk is full. No file is changed.
    """
    from n4ax.files import replace_files

    whole = [path for path in images if names.find_suffix(path) not in _SEVERAL_FILES]
    with ExitStack() as stack:
        parts: dict[Path, Path] = {}
        for path in (path for path in images if path not in whole):
            # The header may name the file with the voxels, so both are written by their last names.
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="n4ax-")))
            images[path](folder / path.name)
            parts |= {path.with_name(file.name): file for file in sorted(folder.iterdir())}
        places = stack.enter_context(replace_files([*whole, *parts]))
        for path, place in zip(whole, places, strict=False):
            images[path](place)
        for file, place in zip(parts.values(), places[len(whole) :], strict=True):
            shutil.copyfile(file, place)


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
