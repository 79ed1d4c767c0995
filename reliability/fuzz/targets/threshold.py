"""Otsu's threshold of any array."""

from pathlib import Path
from random import Random

import numpy as np

import n4ax
from n4ax.errors import InputError
from reliability.fuzz.values import make_array

SHARE = 1.0
SECONDS = 10.0


def try_input(random: Random, _folder: Path) -> str:
    """Compute the mask; each is of the image's shape, or there is an error that says why not."""
    array = make_array(random)
    try:
        mask = n4ax.otsu_mask(array)
    except InputError as error:
        return str(error)
    assert mask.shape == array.shape
    return f"{np.count_nonzero(mask)} of {mask.size}"
