"""An image file from its path to its correction: what the command line and the BIDS app do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image, Nifti1Pair

from n4ax.images import nifti
from n4ax.images.otsu import otsu_mask
from n4ax.itk.space import Space, Spaces
from n4ax.pipeline import N4Result, Progress, fit_image
from n4ax.series import Estimate, correct_series
from n4ax.settings import EngineName, N4Settings

_MASK_WORDS: Mapping[str, Literal["otsu", "all"]] = {"otsu": "otsu", "none": "all"}
B0_THRESHOLD = 50.0
"""Largest b-value in s/mm² that counts as no diffusion weighting."""


class Scan(NamedTuple):
    """An image file, and what is in it."""

    path: Path
    image: Nifti1Pair
    voxels: npt.NDArray[np.float32]

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to mm, shape (4, 4)."""
        return nifti.read_affine(self.image)


class CorrectedScan(NamedTuple):
    """What was worked on, and what came of it.

    Attributes
    ----------
    scan
        The image, or of a series the volume that the field was estimated on.
    mask
        Voxels in the mask, or the word that says how they are found.
    corrected, log_bias
        Of the file's shape; the field of a series has the shape of a volume, unless there is one
        for each.
    results
        What was found: one, or one per volume.
    """

    scan: Scan
    mask: npt.NDArray[np.float32] | Literal["otsu", "all"]
    corrected: npt.NDArray[np.float32]
    log_bias: npt.NDArray[np.float32]
    results: list[N4Result]

    def inside(self) -> npt.NDArray[np.bool_]:
        """Where the mask is."""
        if not isinstance(self.mask, str):
            return self.results[0].settings.inside(self.mask)
        voxels = self.scan.voxels
        whole = self.mask == "all"
        return np.ones(voxels.shape, bool) if whole else otsu_mask(voxels).astype(bool)


def read_scan(path: Path) -> Scan:
    """Read a NIfTI image, voxels as float32.

    Raises
    ------
    ValueError
        It is missing, cannot be read or is not NIfTI; the message says which.
    """
    image = nifti.read_image(path)
    return Scan(path, image, nifti.read_voxels(image, path))


def correct_scan(
    settings: N4Settings,
    scan: Scan,
    mask: str,
    *,
    series: Estimate | None = None,
    weights: Path | None = None,
    engine: EngineName | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    every_measure: bool = False,
) -> CorrectedScan:
    """Correct an image that was read from a file.

    Parameters
    ----------
    settings
        The parameters of N4.
    mask
        ``"otsu"``, ``"none"`` (the whole image) or the path of a mask on the image's grid.
    series
        Of a 4-D image: what the field is estimated on; ``None`` is a field in space and time.
    weights
        Path of the confidence of each voxel.

    The other parameters are those of :func:`n4ax.pipeline.fit_with`.

    Raises
    ------
    ValueError
        The input cannot be worked with; the message says why.
    """
    volume = scan if series is None else _first_volume(scan)
    place = nifti.read_space(volume.image)
    inside: Any
    inside, place_of_mask = _MASK_WORDS.get(mask), place
    if inside is None:
        inside, place_of_mask = _on_grid(Path(mask), volume)
    confidence, place_of_weights = None, place
    if weights is not None:
        confidence, place_of_weights = _on_grid(weights, volume)
    keywords: dict[str, Any] = {
        "weights": confidence,
        "spacing": Spaces(place, place_of_mask, place_of_weights),
        "affine": scan.affine,
        "engine": engine,
        "num_threads": num_threads,
        "progress": progress,
        "every_measure": every_measure,
    }
    if series is None:
        result = fit_image(settings, scan.voxels, inside, **keywords)
        return CorrectedScan(scan, inside, result.corrected, result.log_bias, [result])
    found = correct_series(settings, scan.voxels, inside, estimate=series, **keywords)
    volume = volume._replace(voxels=found.volume)
    return CorrectedScan(volume, inside, found.corrected, found.log_bias, found.results)


def make_bias_image(scan: Scan, log_bias: npt.NDArray[np.float32]) -> Nifti1Image:
    """The field that the scan was divided by, as an image of its header."""
    return nifti.replace_voxels(scan.image, np.exp(log_bias))


def find_unweighted_volumes(
    bval: Path, scan: Scan, threshold: float = B0_THRESHOLD
) -> tuple[int, ...]:
    """The volumes without diffusion weighting, from a file of b-values (FSL's ``.bval``).

    Parameters
    ----------
    bval
        b-values in s/mm², one per volume.
    scan
        The image.
    threshold
        Largest b-value that counts as none, in s/mm².

    Returns
    -------
    tuple of int
        Their numbers, from 0.

    Raises
    ------
    ValueError
        It is missing, is not numbers or not as many as volumes, or every volume is weighted.
    """
    try:
        values = [float(word) for word in bval.read_text().split()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{bval} cannot be read as b-values: {error}") from None
    count = scan.image.shape[3] if scan.image.ndim > 3 else 1
    if len(values) != count:
        raise ValueError(f"{bval} has {len(values)} b-values and {scan.path} {count} volumes")
    volumes = tuple(number for number, value in enumerate(values) if value <= threshold)
    if not volumes:
        raise ValueError(
            f"{bval} has no b-value up to {threshold:g}, the least is {min(values):g}: raise "
            "--b0-threshold"
        )
    return volumes


def _first_volume(scan: Scan) -> Scan:
    """The first volume of a series, for its grid."""
    shape = scan.image.shape
    if len(shape) != 4:
        raise ValueError(f"series is for images of 4 axes, and {scan.path} has shape {shape}")
    return Scan(scan.path, scan.image.slicer[..., 0], scan.voxels[..., 0])  # type: ignore[arg-type]


def _on_grid(path: Path, scan: Scan) -> tuple[npt.NDArray[np.float32], Space]:
    return nifti.read_on_grid(path, scan.image, scan.path)
