"""How much ITK's answer depends on its number of threads, in voxels of 8-bit images.

All answers are those of ``arithmetic="itk"``, which has the bits of SimpleITK (``python -m pytest
tests/arithmetic``), and are had in seconds instead of minutes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

import n4ax
from benchmarks.volumes import PACKAGED, T1W, Volume, compare_fields, load_volume, volume_exists

THREADS = (1, 2, 4, 8, 16, 32, 64)
LIMIT = "limit"
BRIGHTEST = 0.999
"""This quantile of an image becomes 255."""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Correct 8-bit images; ``rounds`` is not used, since the answers are the same every time."""
    del rounds
    names = [PACKAGED] if quick or not volume_exists(T1W) else [PACKAGED, T1W]
    return {"volumes": [measure_volume(load_volume(name)) for name in names]}


def measure_volume(volume: Volume) -> dict[str, Any]:
    """Compare the answers of all numbers of threads, and the default arithmetic, on one volume."""
    image = conform(volume.image)
    results: dict[str, n4ax.N4Result[npt.NDArray[Any]]] = {
        str(threads): n4ax.fit(image, volume.mask, arithmetic="itk", itk_threads=threads)
        for threads in THREADS
    }
    results[LIMIT] = n4ax.fit(image, volume.mask)
    last = results[str(THREADS[-1])]
    rows = [
        {
            "threads": name,
            "iterations": found.iterations,
            "voxels": {
                other: int(np.count_nonzero(cast(found) != cast(results[other])))
                for other in (str(THREADS[0]), str(THREADS[-1]))
            },
            "field": compare_fields(found.log_bias, last.log_bias, volume.mask),
        }
        for name, found in results.items()
    ]
    print(f"  {volume.name}: {[row['voxels'] for row in rows]}", flush=True)
    return volume.describe() | {"rows": rows}


def conform(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scale intensities to whole numbers from 0 to 255, as FastSurfer and FreeSurfer do."""
    top = float(np.quantile(image, BRIGHTEST))
    return np.clip(np.rint(image * (255 / top)), 0, 255).astype(np.float32)


def cast(found: n4ax.N4Result[npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    """Cast a corrected image to 8 bits as ITK does, clipped to their range first."""
    return np.clip(found.corrected, 0, 255).astype(np.uint8)


def draw(result: dict[str, Any], folder: Any) -> None:
    """Draw nothing: the table says it all."""
