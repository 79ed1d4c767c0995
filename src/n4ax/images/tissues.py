"""Tissues that a user knows: from labels or maps of probabilities to the voxels of two tissues."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError

Inside = npt.NDArray[np.bool_]

SURE = 0.9
"""A sample belongs to a tissue with at least this share of it, or this probability."""
_LABELS = {
    # FreeSurfer gives each side of the brain labels of its own.
    frozenset((2, 3, 41, 42)): ((3, 42), (2, 41)),
}
_FEWEST = 50
"""A tissue of fewer samples says little about its evenness."""


def find_tissues(maps: Sequence[npt.NDArray[Any]], inside: Any) -> tuple[Inside, ...]:
    """Find the samples of the two largest tissues.

    Parameters
    ----------
    maps
        One image of labels, in which 0 is no tissue, or one map of probabilities for each tissue.
    inside
        The samples in the mask.

    Returns
    -------
    tuple of two arrays of bool
        Empty if there are no maps.

    Raises
    ------
    InputError
        The maps are neither, or they do not show two tissues in the mask.
    """
    if not maps:
        return ()
    found = [one & inside for one in (_split(maps[0]) if len(maps) == 1 else _cut(maps))]
    counts = [int(np.count_nonzero(one)) for one in found]
    order = sorted(range(len(found)), key=lambda number: -counts[number])[:2]
    if len(order) < 2 or counts[order[1]] < _FEWEST:
        raise InputError(
            "{tissues} have {0} voxels of the second largest tissue in {mask}; "
            "expected at least {1} of two tissues, such as grey and white matter",
            counts[order[1]] if len(order) > 1 else 0,
            _FEWEST,
        )
    return tuple(found[number] for number in sorted(order))


def _split(labels: npt.NDArray[Any]) -> list[Inside]:
    """The samples of each label of an image."""
    values = np.unique(labels[labels != 0])
    if labels.dtype.kind == "f" and (values != np.round(values)).any():
        raise InputError(
            "{tissues} is one image with values such as {0:.3g}; expected an image of labels, or "
            "several maps of probabilities",
            float(values[values != np.round(values)][0]),
        )
    whole = {int(value) for value in values if isfinite(value)}
    for known, groups in _LABELS.items():
        if known <= whole:
            return [np.isin(labels, group) for group in groups]
    return [labels == value for value in values]


def _cut(maps: Sequence[npt.NDArray[Any]]) -> list[Inside]:
    """The samples that surely belong to the tissue of each map."""
    most = [float(np.nanmax(one, initial=0)) for one in maps]
    if max(most) > 1 + 1e-3 or min(float(np.nanmin(one, initial=0)) for one in maps) < -1e-3:
        raise InputError(
            "{tissues} are {0} images with values up to {1:g}; expected maps of probabilities, "
            "from 0 to 1, or one image of labels",
            len(maps),
            max(most),
        )
    return [one >= SURE for one in maps]
