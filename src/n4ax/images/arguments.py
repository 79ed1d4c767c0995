"""What users pass as an image, a mask or weights: paths are read, and what is no image is refused.

The checks here come before all others, so that a slip in a call is told in the words of the call.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from n4ax.errors import InputError

MaskWord = Literal["otsu", "all"]
"""``"otsu"``: the voxels above Otsu's threshold. ``"all"``: the whole image."""

_WORDS: dict[str, MaskWord] = {"otsu": "otsu", "all": "all", "none": "all"}
"""``none`` is what the command line called the whole image at first."""

_EXPECTED = (
    "expected an array, an image of nibabel, SimpleITK or ANTsPy, or the path of an image file"
)
_NIFTI = (".nii", ".nii.gz", ".hdr", ".img")
_SUFFIXES = (*_NIFTI, ".mgz", ".mgh")
"""What the names of image files end with."""


def read_word(text: str) -> MaskWord | None:
    """Find the word for a mask that a text stands for; ``None`` if it is something else."""
    return _WORDS.get(text)


def take_image(name: str, given: Any) -> Any:
    """Take an argument that must be an image: read it if it is a path.

    Parameters
    ----------
    name
        What messages call the argument.
    given
        What the user passed.

    Returns
    -------
    image or array
        An image of nibabel for a path, and the argument itself otherwise.

    Raises
    ------
    TypeError
        It is no image at all. The message says what to pass.
    OSError
        There is no such file.
    ValueError
        The file cannot be read as an image.
    """
    if isinstance(given, str | os.PathLike):
        return _read(name, Path(given))
    if given is None:
        raise TypeError(f"{name} is None; {_EXPECTED}")
    if isinstance(given, Mapping):
        keys = ", ".join(map(repr, list(given)[:5]))  # pyright: ignore[reportUnknownArgumentType]
        raise TypeError(f"{name} is a dictionary with the keys {keys}: pass one of its values")
    if isinstance(given, bytes | bytearray | set | frozenset) or hasattr(given, "__next__"):
        raise TypeError(f"{name} is of type {type(given).__name__}; {_EXPECTED}")  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(given, list | tuple) and not _is_made_of_numbers(given):
        raise TypeError(
            f"{name} is a {type(given).__name__} that is not made of numbers alone; {_EXPECTED}, "  # pyright: ignore[reportUnknownArgumentType]
            "or a list of several of these"
        )
    return given


def _is_made_of_numbers(values: Any) -> bool:
    """Whether a list is an array of numbers, perhaps of several axes."""
    try:
        return np.asarray(values).dtype.kind not in "USO"
    except ValueError:  # the lists in it have unequal lengths
        return False


def is_list_of_images(given: Any) -> bool:
    """Whether this is a list or tuple of images, and not of numbers.

    Text counts as an image if it has the name of an image file, and a path in any case.
    """
    return isinstance(given, list | tuple) and len(given) > 0 and all(map(_is_image, given))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def take_mask(given: Any) -> Any:
    """Take a mask: words stay, and paths are read.

    Raises
    ------
    ValueError
        It is text, and neither a word for a mask nor the name of an image file; or the file cannot
        be read.
    TypeError
        It is no image at all.
    """
    if given is None:
        return None
    if isinstance(given, str):
        word: MaskWord | None = read_word(given)
        if word is not None:
            return word
        if not given.lower().endswith(_SUFFIXES):
            raise InputError(
                '{mask} is {0!r}; expected an array, an image, the path of one, "otsu" or "all"',
                given,
            )
    return take_image("mask", given)


def take_weights(given: Any) -> Any:
    """Take weights, which are an image if they are given."""
    return None if given is None else take_image("weights", given)


def _is_image(one: Any) -> bool:
    if isinstance(one, str):
        return one.lower().endswith(_SUFFIXES)
    if isinstance(one, os.PathLike):
        return True
    shape = one.GetSize() if hasattr(one, "GetSize") else getattr(one, "shape", ())
    return len(shape) > 1


def _read(name: str, path: Path) -> Any:
    """Read an image file with nibabel."""
    if not path.exists():
        raise FileNotFoundError(f"{name} is {str(path)!r}, and there is no such file")
    if path.is_dir():
        raise IsADirectoryError(f"{name} is {str(path)!r}, which is a folder; expected a file")
    if path.name.lower().endswith(_NIFTI):
        from n4ax.images import nifti

        return nifti.read_image(path)
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        return nibabel.load(path)
    except (ImageFileError, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None
