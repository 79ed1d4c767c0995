"""The names of images, and the names that follow from them: of masks, weights and results."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from n4ax.errors import InputError
from n4ax.images.names import DICOM, READ, find_stem, find_suffix
from n4ax.images.signature import is_signed
from n4ax.paths import is_file

_WORD = re.compile(r"\{(stem|folder)\}")


def find_images(given: Sequence[str]) -> list[Path]:
    """Find the images of a command line, each once.

    Parameters
    ----------
    given
        Names of images, of folders, and patterns with ``*`` and ``?``. A folder stands for all
        images in it; a folder without any holds a series of DICOM.

    Raises
    ------
    InputError
        There is no such image.
    """
    found = dict.fromkeys(path for word in given for path in _find(word, given))
    # The files of one series of DICOM are one image.
    series = {path.parent: path for path in reversed(found) if find_suffix(path) in DICOM}
    return [path for path in found if series.get(path.parent, path) == path or path.is_dir()]


def _find(word: str, given: Sequence[str]) -> list[Path]:
    path = Path(word)
    if word and path.is_dir():
        return _list_folder(path) or [path]
    if word and path.exists():
        return [path]
    if not glob.has_magic(word):
        raise _say_missing(word, given)
    names = sorted(glob.glob(word, recursive=True))
    if not names:
        raise InputError("{images} {0!r} fits no file", word)
    images = [Path(name) for name in names if _is_image(Path(name))]
    return images or [Path(name) for name in names]


def stands_for_many(word: str) -> bool:
    """Whether a word of the command line is a folder of images or a pattern, and not one image."""
    path = Path(word)
    if path.is_dir():
        return bool(_list_folder(path))
    return not path.exists() and glob.has_magic(word)


def leave_out_results(images: list[Path], suffix: str) -> list[Path]:
    """Leave out results of n4ax: by their names, or by what their headers say."""
    stems = {(path.parent, find_stem(path)) for path in images}

    def is_result(path: Path) -> bool:
        stem = find_stem(path)
        named = bool(suffix) and stem.endswith(suffix)
        return (named and (path.parent, stem.removesuffix(suffix)) in stems) or is_signed(path)

    return [path for path in images if not is_result(path)]


def _say_missing(word: str, given: Sequence[str]) -> InputError:
    """The error about a name that is no file. The last one may be meant as the result."""
    if not word:
        return InputError("{images} has an empty name")
    *others, last = given
    if word.isdecimal():
        return InputError(
            "{images} {0!r} does not exist; several labels are given as {mask_label:2,41}", word
        )
    if others and word == last and all(Path(other).exists() for other in others):
        return InputError(
            "{images} {0!r} does not exist. To write the result there: n4ax correct {1} -o {0}",
            word,
            others[0] if len(others) == 1 else "...",
        )
    return InputError("{images} {0!r} does not exist", word)


def _list_folder(folder: Path) -> list[Path]:
    """All images in a folder, each once; none if the folder holds DICOM."""
    paths = [path for path in sorted(folder.iterdir()) if _is_image(path)]
    if any(find_suffix(path) in DICOM for path in paths):
        return []
    return [path for path in paths if find_suffix(path) != ".hdr" or not _has_voxels(path)]


def _is_image(path: Path) -> bool:
    """Whether a file has the name of an image, and is no hidden one such as ``._a.nii``."""
    return find_suffix(path) in READ and not path.name.startswith(".") and path.is_file()


def _has_voxels(header: Path) -> bool:
    """Whether the other file of a pair lies beside a header."""
    return any(header.with_name(find_stem(header) + end).exists() for end in (".img", ".IMG"))


def has_words(text: str) -> bool:
    """Whether a name is a pattern, which has another name for each image."""
    return _WORD.search(text) is not None


def fill_in(pattern: str, image: Path) -> str:
    """Fill in ``{stem}``, the name of an image without its ending, and ``{folder}``, its folder."""
    values = {"stem": find_stem(image), "folder": str(image.parent)}
    return _WORD.sub(lambda found: values[found[1]], pattern)


def find_companion(option: str, pattern: str, image: Path) -> Path:
    """Find a file that belongs to an image, by its name or by a pattern for all images.

    Raises
    ------
    InputError
        There is no such file, or there are two. The message names the option, which is a parameter.
    """
    filled = fill_in(pattern, image)
    found = look_up(option, filled, image, beside=has_words(pattern))
    if found is None:
        raise InputError(f"{{{option}}} {{0}} does not exist{say_words(pattern)}", filled)
    return found


def look_up(option: str, name: str, image: Path, *, beside: bool) -> Path | None:
    """The file of a name: from the current folder, or ``beside`` the image.

    Raises
    ------
    InputError
        Two files fit, one beside the image and one from the current folder.
    """
    places = [image.parent / name, Path(name)] if beside else [Path(name)]
    there = [place for place in places if name and is_file(place)]
    if len(there) == 2 and not there[0].samefile(there[1]):
        raise InputError(
            f"{{{option}}} {{0}} may be {{1}} or {{2}}: begin the pattern with {{3}} for the first",
            name,
            there[0],
            there[1],
            "{folder}/",
        )
    return there[0] if there else None


def say_words(pattern: str) -> str:
    """What to add to a message about a pattern with words that do not exist."""
    if "{" not in _WORD.sub("", pattern):
        return ""
    return "; the words of patterns are {{stem}} and {{folder}}"
