"""The versions of the format of a saved field: 1 for ``.npz`` files, 2 for images of NIfTI."""

from typing import Any

from n4ax.errors import InputError

ARRAYS, IMAGE = 1, 2
"""The version of ``.npz`` files and that of images."""


def check_version(found: Any, known: int) -> None:
    """Refuse a version of the format that this version of n4ax does not know.

    Raises
    ------
    ValueError
        The message names both versions.
    """
    if isinstance(found, int) and found > known:
        raise InputError(
            "it has version {0} of the format, and this n4ax reads versions up to {1}: install a "
            "later n4ax",
            found,
            known,
        )
    if found != known:
        raise InputError("it has version {0!r} of the format; expected {1}", found, known)
