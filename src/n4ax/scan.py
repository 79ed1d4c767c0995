"""An image file from its path to its correction, for the command line and the BIDS app."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image, Nifti1Pair

from n4ax.images import nifti
from n4ax.images.arguments import MaskWord, read_word
from n4ax.images.volumes import SPATIAL, take_volume
from n4ax.itk.space import Space, Spaces
from n4ax.level import compute_bias
from n4ax.pipeline import Inputs, Run, fit_image
from n4ax.result import N4Result
from n4ax.series import Estimate, check_volumes, correct_series
from n4ax.settings import N4Settings


class Scan(NamedTuple):
    """An image file and its content."""

    path: Path
    image: Nifti1Pair
    voxels: npt.NDArray[np.float32]

    @property
    def volumes(self) -> int:
        """Number of volumes: the length of the fourth axis, or 1."""
        return self.image.shape[3] if self.image.ndim > 3 else 1

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to mm, shape (4, 4)."""
        return nifti.read_affine(self.image)


class CorrectedScan(NamedTuple):
    """A corrected scan.

    Attributes
    ----------
    scan
        The image; for a series, the volume that the field was estimated on.
    corrected
        The corrected image, of the file's shape.
    log_bias
        The log field, of the file's shape. The field of a series has the shape of a volume, unless
        each volume has a field of its own.
    results
        One result, or one for each volume.
    """

    scan: Scan
    corrected: npt.NDArray[np.float32]
    log_bias: npt.NDArray[np.float32]
    results: list[N4Result]

    @property
    def settings(self) -> N4Settings:
        """The parameters of the estimation."""
        return self.results[0].settings

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The voxels in the mask, of the shape of ``scan``."""
        return self.results[0].mask


def read_scan(path: Path) -> Scan:
    """Read a NIfTI image, with its voxels as float32.

    Raises
    ------
    ValueError
        The file is missing, cannot be read or is not NIfTI. The message says which.
    """
    image = nifti.read_image(path)
    return Scan(path, image, nifti.read_voxels(image, path))


def correct_scan(
    settings: N4Settings,
    scan: Scan,
    mask: str,
    *,
    series: Estimate | Literal["4d"] | None = None,
    weights: Path | None = None,
    run: Run | None = None,
) -> CorrectedScan:
    """Correct an image that was read from a file.

    Parameters
    ----------
    settings
        The parameters of N4.
    scan
        The image.
    mask
        ``"otsu"``, ``"all"`` (the whole image) or the path of a mask on the image's grid.
    series
        For a 4-D image, what the field is estimated on; ``"4d"`` estimates one field that varies
        in space and time.
    weights
        Path of the confidence of each voxel.
    run
        How the work is to be done.

    Raises
    ------
    ValueError
        N4 cannot work with the input. The message says why.
    """
    is_series = check_volumes(settings, Inputs(scan.image), series)
    estimate = series if is_series and series != "4d" else None
    volume = scan if estimate is None else _first_volume(scan)
    place = nifti.read_space(volume.image)
    inside, place_of_mask = read_mask(mask, volume, place)
    confidence, place_of_weights = None, place
    if weights is not None:
        confidence, place_of_weights = _read_on_grid(weights, volume)
    inputs = Inputs(
        image=scan.voxels,
        mask=inside,
        weights=confidence,
        spacing=Spaces(place, place_of_mask, place_of_weights),
        affine=scan.affine,
    )
    if estimate is None:
        result = fit_image(settings, inputs, run)
        return CorrectedScan(scan, result.corrected, result.log_bias, [result])
    corrected = correct_series(settings, inputs, estimate, run)
    volume = volume._replace(voxels=corrected.volume)
    return CorrectedScan(volume, corrected.corrected, corrected.log_bias, corrected.results)


def make_corrected_image(scan: Scan, done: CorrectedScan, dtype: Any) -> Nifti1Image:
    """Make an image of the corrected voxels in a data type, with the scan's header."""
    truncate = done.settings.arithmetic == "itk"
    return nifti.replace_voxels(scan.image, done.corrected, dtype, truncate=truncate)


def make_bias_image(scan: Scan, done: CorrectedScan) -> Nifti1Image:
    """Make an image of the field that the scan was divided by, with the scan's header."""
    return nifti.replace_voxels(scan.image, compute_bias(done.log_bias, done.settings))


def _first_volume(scan: Scan) -> Scan:
    """Take the first volume of a series, for its grid."""
    return Scan(scan.path, take_volume(scan.image, SPATIAL, 0), scan.voxels[..., 0])


def read_mask(
    mask: str, scan: Scan, place: Space
) -> tuple[MaskWord | npt.NDArray[np.float32], Space]:
    """Read the mask, unless it is a word, and say where it lies."""
    word: MaskWord | None = read_word(mask)
    return _read_on_grid(Path(mask), scan) if word is None else (word, place)


def _read_on_grid(path: Path, scan: Scan) -> tuple[npt.NDArray[np.float32], Space]:
    return nifti.read_on_grid(path, scan.image, scan.path)
