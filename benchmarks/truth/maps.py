"""The tissue maps of the ICBM152 template that nilearn ships, averaged to voxels of any size."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt

PADDING = 24.0
"""Air that is added on every side of the grid for a whole head, in mm."""

Floats = npt.NDArray[np.float32]


class Anatomy(NamedTuple):
    """The tissues of a brain on a grid; axes are x, y, z, from left, posterior and inferior."""

    tissues: Floats
    """Fractions of grey matter, white matter and fluid, of shape (3, x, y, z); they sum up to 1 in
    the brain and are 0 outside."""
    brain: npt.NDArray[np.bool_]
    affine: npt.NDArray[np.float64]
    """From voxels to mm; the template's centre is where MNI space has it."""


def find_map(name: str) -> Path:
    """The file of a map: ``"gm"``, ``"wm"``, or ``"t1"``, which is 0 outside the brain.

    Raises
    ------
    ModuleNotFoundError
        nilearn is not installed.
    """
    spec = find_spec("nilearn")  # found, and not imported, which takes a second
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the tissue maps come with nilearn: pip install nilearn")
    folder = Path(spec.origin).parent / "datasets" / "data"
    return folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"


@lru_cache(maxsize=1)
def load_maps() -> tuple[Floats, npt.NDArray[np.float64]]:
    """Grey matter, white matter and the brain at 1 mm, each 0 to 1, and the middle of the grid."""
    images = [nib.load(find_map(name)) for name in ("gm", "wm", "t1")]
    grey, white, template = (np.asarray(image.dataobj, np.float32) for image in images)
    middle = images[0].affine @ [*((np.array(grey.shape) - 1) / 2), 1]
    return np.stack([grey / 255, white / 255, np.float32(template > 0)]), middle[:3]


@lru_cache(maxsize=4)
def make_anatomy(
    spacing: tuple[float, float, float], size: tuple[float, float, float], padded: bool
) -> Anatomy:
    """Average the maps over the voxels of a grid.

    Parameters
    ----------
    spacing
        Voxel size in mm.
    size
        The size of the brain along each axis, as a multiple of the template's.
    padded
        Whether there is air around for a skull and a scalp.
    """
    maps, middle = load_maps()
    matrices = [
        weigh_voxels(count, stretch, voxel, PADDING if padded else 0.0)
        for count, stretch, voxel in zip(maps.shape[1:], size, spacing, strict=True)
    ]
    grey, white, inside = (average(one, matrices) for one in maps)
    brain = inside >= 0.5
    solid = grey + white
    excess = np.maximum(solid, 1)
    fluid = np.maximum(1 - solid, 0)
    tissues = np.stack([grey / excess, white / excess, fluid]) * brain
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = middle - np.array(spacing) * (np.array(brain.shape) - 1) / 2
    return Anatomy(tissues, brain, affine)


def weigh_voxels(count: int, given: float, wanted: float, padding: float) -> Floats:
    """The share of each given voxel in each wanted one along an axis, of shape (wanted, given).

    Both grids have the same middle. ``given`` and ``wanted`` are voxel sizes in mm, and ``padding``
    is added on both sides, in mm.
    """
    number = int(np.ceil((count * given + 2 * padding) / wanted))
    old = (np.arange(count + 1) - count / 2) * given
    new = (np.arange(number + 1) - number / 2) * wanted
    upper = np.minimum(new[1:, None], old[None, 1:])
    lower = np.maximum(new[:-1, None], old[None, :-1])
    return (np.maximum(upper - lower, 0) / wanted).astype(np.float32)


def average(volume: Floats, matrices: list[Floats]) -> Floats:
    """Average a volume over the voxels of another grid, by one matrix for each axis."""
    for matrix in matrices:  # each turn takes the first axis and puts it last
        volume = np.tensordot(volume, matrix, axes=(0, 1))
    return np.ascontiguousarray(volume)
