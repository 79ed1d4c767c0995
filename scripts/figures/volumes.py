"""The heads that the pictures show, their correction, and the slices through them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

import n4ax
from n4ax.images.planes import turn_upright

ROOT = Path(__file__).parents[2]
PACKAGED = ROOT / "src" / "n4ax" / "data" / "head.nii.gz"
SHARED = ROOT.parent / "shared" / "data"
T1W = "t1w_head_memprage_3t_fnndsc_adi"

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Correction:
    """A correction, with all volumes turned so that their axes are right, anterior and superior.

    Attributes
    ----------
    before, after
        The image and the corrected image.
    log_field
        The log bias field minus its mean in the mask, since N4 leaves that level open.
    mask
        The mask of the estimation.
    sizes
        Voxel sizes in mm.
    result
        What ``n4ax.fit`` returned.
    """

    before: Volume
    log_field: Volume
    after: Volume
    mask: Mask
    sizes: tuple[float, ...]
    result: n4ax.N4Result

    @property
    def field(self) -> Volume:
        """The bias field, with a geometric mean of 1 in the mask."""
        return np.exp(self.log_field)

    @property
    def iterations(self) -> str:
        """The iterations of each level, as text."""
        return ", ".join(map(str, self.result.iterations))


class View(NamedTuple):
    """A slice through an upright volume, cropped to the head."""

    axis: int
    index: int
    crop: tuple[slice, slice]
    aspect: float
    """The height of a pixel over its width."""
    whole_head: Volume
    """The slice before cropping: 1 in the head and 0 outside, with a soft edge."""

    def cut(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The slice of a volume, with its top in the first row."""
        return np.take(volume, self.index, axis=self.axis)[self.crop].T[::-1]

    @property
    def head(self) -> Volume:
        return self.whole_head[self.crop].T[::-1]

    @property
    def shape(self) -> tuple[float, float]:
        """Width and height, in units of the width of a pixel."""
        width, height = (part.stop - part.start for part in self.crop)
        return width, height * self.aspect


def find_shared(name: str) -> Path | None:
    """The path of a volume of ``../shared``; ``None`` if it is not there."""
    path = SHARED / f"{name}.nii.gz"
    return path if path.exists() else None


@cache
def load_image(path: Path) -> nib.Nifti1Image:
    scan = nib.load(path)
    return nib.Nifti1Image(np.asarray(scan.dataobj, np.float32), scan.affine)


def correct(image: nib.Nifti1Image, mask: Any = None, **settings: Any) -> Correction:
    """Correct an image by ``n4ax.fit``; the mean in the mask is kept unless ``scale`` is given."""
    if mask is None:
        mask = np.asarray(n4ax.otsu_mask(np.asarray(image.dataobj)))
    result = n4ax.fit(image, mask, num_threads=1, **{"scale": "mean"} | settings)
    arrays = (image.dataobj, result.log_bias.dataobj, result.corrected.dataobj)
    before, log_field, after = (_turn_upright(image, array) for array in arrays)
    upright_mask = _turn_upright(image, mask) > 0.5
    sizes = turn_upright(_to_three_axes(image.dataobj), image.affine)[1]
    centred = log_field - log_field[upright_mask].mean()
    return Correction(before, centred, after, upright_mask, sizes, result)


def _to_three_axes(array: Any) -> Volume:
    return np.atleast_3d(np.asarray(array, np.float32))


def _turn_upright(image: nib.Nifti1Image, array: Any) -> Volume:
    return turn_upright(_to_three_axes(array), image.affine)[0]


def cut_view(found: Correction, axis: int, part: float) -> View:
    """Cut across ``axis`` at a fraction (0 to 1) of its length, and crop to the head."""
    index = min(int(part * found.mask.shape[axis]), found.mask.shape[axis] - 1)
    across, up = (size for number, size in enumerate(found.sizes) if number != axis)
    head = _find_head(
        *(np.take(v, index, axis=axis) for v in (found.before, found.mask)), across, up
    )
    crop = tuple(
        _find_extent((head > 0.5).any(axis=1 - number), round(5 / size))
        for number, size in enumerate((across, up))
    )
    return View(axis, index, crop, up / across, head)  # type: ignore[arg-type]


def _find_head(plane: Volume, mask: Mask, across: float, up: float) -> Volume:
    """The bright voxels and the mask, closed by 15 mm, filled, and smoothed."""
    sizes, edge = (across, up), 20.0
    bright = (plane > 0.4 * float(plane[mask].min())) | mask
    smooth = ndimage.gaussian_filter(bright.astype(float), (2 / across, 2 / up)) > 0.5
    widths = [(round(edge / size),) * 2 for size in sizes]
    away = ndimage.distance_transform_edt(~np.pad(_find_largest(smooth), widths), sizes)
    closed = ndimage.distance_transform_edt(away < 15, sizes) >= 15
    whole = ndimage.binary_fill_holes(closed)[tuple(slice(w, -w) for w, _ in widths)]
    return ndimage.gaussian_filter(whole.astype(np.float32), (1 / across, 1 / up))


def _find_extent(seen: Mask, margin: int) -> slice:
    """The range in which a line of voxels is seen, with a margin in voxels."""
    at = np.flatnonzero(seen)
    return slice(max(int(at[0]) - margin, 0), min(int(at[-1]) + margin + 1, len(seen)))


def _find_largest(mask: Mask) -> Mask:
    """The largest connected part of a mask."""
    labels, _ = ndimage.label(mask)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1


def make_brain_mask(image: nib.Nifti1Image) -> npt.NDArray[np.uint8]:
    """Make a rough brain mask of a T1w head: threshold, opening, largest part, closing.

    The sizes of the steps are in voxels, and fit the packaged head with its voxels of 2 mm.
    """
    found = n4ax.fit(image, num_threads=1)
    corrected = np.asarray(found.corrected.dataobj)
    tissue = np.asarray(n4ax.otsu_mask(np.asarray(image.dataobj))) > 0
    tissue &= corrected < np.percentile(corrected[tissue], 97)
    apart = ndimage.binary_erosion(tissue, iterations=2)
    grown = ndimage.binary_dilation(_find_largest(apart), iterations=2)
    closed = ndimage.binary_closing(np.pad(grown, 6), iterations=5)[6:-6, 6:-6, 6:-6]
    filled = ndimage.binary_fill_holes(closed).astype(np.float32)
    return (ndimage.gaussian_filter(filled, 1.5) > 0.5).astype(np.uint8)


def measure_difference(one: Correction, other: Correction) -> Volume:
    """The difference between two fields in per cent, apart from their levels."""
    log_ratio = one.log_field - other.log_field
    return 100 * np.expm1(log_ratio - log_ratio[other.mask].mean())
