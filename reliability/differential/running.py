"""Programs of n4ax on a problem: how numbers are written, how they run, and what they wrote."""

from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np

from n4ax.errors import InputError
from reliability.differential.given import Given
from reliability.fuzz.calls import call_program


def join(value: int | Sequence[int], ndim: int = 1) -> str:
    """Numbers as programs take them, ``4x3x2``; one number is that of all axes."""
    numbers = [value] * ndim if isinstance(value, int) else value
    return "x".join(map(str, numbers))


def run(main: Any, words: list[str], given: Given, environment: Any = None) -> None:
    """Run a program; what it refuses is raised.

    Raises
    ------
    InputError
        The status was not 0.
    """
    said = call_program(main, words, given.folder, environment)
    if said.status:
        raise InputError("{0}", said.err)


def load_voxels(given: Given, name: str) -> Any:
    """The voxels of a file that a program has written."""
    return np.asarray(nib.load(given.folder / name).dataobj)  # type: ignore[attr-defined]
