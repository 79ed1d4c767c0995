"""The heads that are shown, their correction, and the slices that are cut through them."""

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
    """A correction, turned upright: axes to right, anterior, superior.

    Attributes
    ----------
    before, after
        The image and the corrected image.
    log_field
        The log bias field, less its mean in the mask, which N4 leaves open.
    inside
        The mask of the estimation.
    sizes
        Voxel sizes in mm.
    result
        As ``n4ax.fit`` gave it.
    """

    before: Volume
    log_field: Volume
    after: Volume
    inside: Mask
    sizes: tuple[float, ...]
    result: n4ax.N4Result

    @property
    def field(self) -> Volume:
        """The bias field, 1 on (geometric) average in the mask."""
        return np.exp(self.log_field)

    @property
    def iterations(self) -> str:
        return ", ".join(map(str, self.result.iterations))


class View(NamedTuple):
    """A slice through an upright volume, cropped to the head."""

    axis: int
    index: int
    crop: tuple[slice, slice]
    aspect: float
    """Height to width of a pixel."""
    whole_head: Volume
    """1 where the head is and 0 outside, with a soft edge; on the slice, not cropped."""

    def of(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The slice of a volume, first row uppermost."""
        return np.take(volume, self.index, axis=self.axis)[self.crop].T[::-1]

    @property
    def head(self) -> Volume:
        return self.whole_head[self.crop].T[::-1]

    @property
    def shape(self) -> tuple[float, float]:
        """Width and height, in pixels of the slice's width."""
        width, height = (part.stop - part.start for part in self.crop)
        return width, height * self.aspect


def shared(name: str) -> Path | None:
    """Where a volume of ``../shared`` lies, if this checkout has it."""
    path = SHARED / f"{name}.nii.gz"
    return path if path.exists() else None


@cache
def load(path: Path) -> nib.Nifti1Image:
    scan = nib.load(path)
    return nib.Nifti1Image(np.asarray(scan.dataobj, np.float32), scan.affine)


def correct(image: nib.Nifti1Image, mask: Any = None, **settings: Any) -> Correction:
    """By ``n4ax.fit``, the mean in the mask kept unless ``scale`` says otherwise."""
    if mask is None:
        mask = np.asarray(n4ax.otsu_mask(np.asarray(image.dataobj)))
    result = n4ax.fit(image, mask, num_threads=1, **{"scale": "mean"} | settings)
    arrays = (image.dataobj, result.log_bias.dataobj, result.corrected.dataobj)
    before, log_field, after = (_upright(image, array) for array in arrays)
    inside = _upright(image, mask) > 0.5
    sizes = turn_upright(_three_axes(image.dataobj), image.affine)[1]
    return Correction(before, log_field - log_field[inside].mean(), after, inside, sizes, result)


def _three_axes(array: Any) -> Volume:
    return np.atleast_3d(np.asarray(array, np.float32))


def _upright(image: nib.Nifti1Image, array: Any) -> Volume:
    return turn_upright(_three_axes(array), image.affine)[0]


def view(found: Correction, axis: int, part: float) -> View:
    """The slice across ``axis`` at a part (0 to 1) of its length, cropped to the head."""
    index = min(int(part * found.inside.shape[axis]), found.inside.shape[axis] - 1)
    across, up = (size for number, size in enumerate(found.sizes) if number != axis)
    head = _head(*(np.take(v, index, axis=axis) for v in (found.before, found.inside)), across, up)
    crop = tuple(
        _extent((head > 0.5).any(axis=1 - number), round(5 / size))
        for number, size in enumerate((across, up))
    )
    return View(axis, index, crop, up / across, head)  # type: ignore[arg-type]


def _head(plane: Volume, inside: Mask, across: float, up: float) -> Volume:
    """Bright voxels and the mask, closed by 15 mm, filled, and smoothed."""
    sizes, edge = (across, up), 20.0
    bright = (plane > 0.4 * float(plane[inside].min())) | inside
    smooth = ndimage.gaussian_filter(bright.astype(float), (2 / across, 2 / up)) > 0.5
    widths = [(round(edge / size),) * 2 for size in sizes]
    away = ndimage.distance_transform_edt(~np.pad(_largest(smooth), widths), sizes)
    closed = ndimage.distance_transform_edt(away < 15, sizes) >= 15
    whole = ndimage.binary_fill_holes(closed)[tuple(slice(w, -w) for w, _ in widths)]
    return ndimage.gaussian_filter(whole.astype(np.float32), (1 / across, 1 / up))


def _extent(seen: Mask, margin: int) -> slice:
    at = np.flatnonzero(seen)
    return slice(max(int(at[0]) - margin, 0), min(int(at[-1]) + margin + 1, len(seen)))


def _largest(mask: Mask) -> Mask:
    labels, _ = ndimage.label(mask)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1


def brain_mask(image: nib.Nifti1Image) -> npt.NDArray[np.uint8]:
    """A rough mask of the brain of a T1w head: threshold, opening, largest part, closing.

    Steps are in voxels, for those of 2 mm of the packaged head.
    """
    found = n4ax.fit(image, num_threads=1)
    corrected = np.asarray(found.corrected.dataobj)
    tissue = np.asarray(n4ax.otsu_mask(np.asarray(image.dataobj))) > 0
    tissue &= corrected < np.percentile(corrected[tissue], 97)
    apart = ndimage.binary_erosion(tissue, iterations=2)
    grown = ndimage.binary_dilation(_largest(apart), iterations=2)
    closed = ndimage.binary_closing(np.pad(grown, 6), iterations=5)[6:-6, 6:-6, 6:-6]
    filled = ndimage.binary_fill_holes(closed).astype(np.float32)
    return (ndimage.gaussian_filter(filled, 1.5) > 0.5).astype(np.uint8)


def difference(one: Correction, other: Correction) -> Volume:
    """By how much the field of ``one`` differs from the other's, level aside, in per cent."""
    inside = other.inside
    log_ratio = one.log_field - other.log_field
    return 100 * np.expm1(log_ratio - log_ratio[inside].mean())
