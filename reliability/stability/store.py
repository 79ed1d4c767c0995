"""Outcomes that are kept on disk, so that a measurement can be continued."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from n4ax.files import replace_file
from reliability.stability.programs import Outcome


def obtain(folder: Path, words: list[str], make: Callable[[], Outcome]) -> Outcome:
    """Read an outcome from a folder; make it and write it first if it is not there.

    Parameters
    ----------
    folder
        The folder of all outcomes.
    words
        What tells this outcome from the others.
    make
        Makes the outcome.
    """
    *folders, name = [re.sub(r"[^a-z0-9.]+", "-", word.lower()) for word in words]
    path = folder.joinpath(*folders, f"{name}.npz")
    if path.exists():
        with np.load(path) as kept:
            return Outcome(kept["log_bias"], kept["corrected"], kept["iterations"].tolist())
    start = time.perf_counter()
    outcome = make()
    seconds = time.perf_counter() - start
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        np.savez(temporary, seconds=seconds, **outcome._asdict())
    return outcome


def add_seconds(folder: Path) -> float:
    """Add up how long it took to make all outcomes in a folder."""
    total = 0.0
    for path in folder.rglob("*.npz"):
        with np.load(path) as kept:
            total += float(kept["seconds"])
    return total
