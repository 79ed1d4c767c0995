"""What ANTs does around N4: it reads NaN as 0, estimates the field, and rescales the result."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.otsu import find_foreground
from n4ax.inputs import Inputs, Run
from n4ax.itk.space import ITK_TOLERANCE, Space, Spaces, check_same_place
from n4ax.level import compute_bias, find_ends, stretch_range
from n4ax.pipeline import fit_image
from n4ax.result import N4Result
from n4ax.settings import N4Settings

_ULP = 2.0**-23  # of float32, at 1

Warn = Callable[[str], None]
"""Called with a sentence that the user should read."""


class Volume(NamedTuple):
    """An image, a mask or weights.

    Attributes
    ----------
    name
        What messages call it.
    voxels
        Intensities, float32.
    space
        Where the volume lies in space; ``None`` if that is unknown.
    sampling_space
        Where ITK places the volume when it chooses which voxels to take.
    """

    name: str
    voxels: npt.NDArray[np.float32]
    space: Space | None
    sampling_space: Space


@dataclass(frozen=True, eq=False)
class Request:
    """An image to correct, and how to correct it.

    Attributes
    ----------
    image
        The image.
    mask
        The field is estimated where the mask is not 0; ``None`` for the whole image.
    weights
        Confidence in each voxel; ``None`` if all voxels count the same.
    settings
        The parameters of N4, with ``outside="keep"`` if there is a mask.
    rescale
        Stretch the corrected image to the input's range inside the mask, where the mask is 1.
    """

    image: Volume
    mask: Volume | None
    weights: Volume | None
    settings: N4Settings
    rescale: bool


class AntsResult(NamedTuple):
    """The corrected image as ANTs writes it, and the result of N4."""

    image: npt.NDArray[np.float32]
    result: N4Result

    @property
    def bias(self) -> npt.NDArray[np.float32]:
        """The multiplicative field, which is neither rescaled nor changed outside the mask."""
        return compute_bias(self.result.log_bias, self.result.settings)


def find_otsu_mask(image: Volume) -> Volume:
    """Make a mask of the voxels above Otsu's threshold; NaN and infinite voxels count as 0.

    Raises
    ------
    ValueError
        No voxel is above the threshold.
    """
    finite = np.where(np.isfinite(image.voxels), image.voxels, np.float32(0))
    foreground = find_foreground(finite).astype(np.float32)
    if not foreground.any():
        raise InputError("{0} has no voxel above its Otsu threshold: give a mask", image.name)
    return image._replace(name="the Otsu mask", voxels=foreground)


def match_grid(given: Volume, image: Volume, warn: Warn) -> Volume:
    """Check that a mask or weights lie on the grid of the image, and decide how to sample them.

    Raises
    ------
    ValueError
        The shapes differ, or the positions differ by more than a thousandth of a voxel.
    """
    if given.voxels.shape != image.voxels.shape:
        raise InputError(
            "{0} has shape {1} and {2} has shape {3}: resample one onto the other first",
            given.name,
            given.voxels.shape,
            image.name,
            image.voxels.shape,
        )
    on_image_grid = given._replace(sampling_space=image.sampling_space)
    if given.space is None or image.space is None:
        return on_image_grid
    check_same_place(given.name, given.space, image.name, image.space)
    if given.space.describe_difference(image.space, ITK_TOLERANCE) is not None:
        warn(
            f"the headers of {given.name} and {image.name} differ slightly; the image's header "
            "is used"
        )
        return on_image_grid
    return given if image.sampling_space == image.space else on_image_grid


def correct_as_ants(
    request: Request,
    run: Run,
    warn: Warn,
    show_range: Callable[[float, float], None] | None = None,
) -> AntsResult:
    """Correct an image as ANTs does.

    Parameters
    ----------
    request
        The image and how to correct it. Mask and weights have passed :func:`match_grid`.
    run
        How the work is to be done.
    warn
        Called with each warning.
    show_range
        Called before the estimation with the least and the greatest intensity inside the mask.
        Without it, ``warn`` is called if intensities are negative.

    Raises
    ------
    ValueError
        The input cannot be used; the message says why.
    """
    request = _read_nonfinite_as_zero(request, warn)
    low, high = _find_range(request.image, request.mask)
    if show_range is not None:
        show_range(low, high)
    elif low < 0:
        _warn_of_negatives(request.image, low, warn)
    result = _estimate(request, run)
    return AntsResult(_rescale(request, result.corrected), result)


def _read_nonfinite_as_zero(request: Request, warn: Warn) -> Request:
    """Replace NaN and infinite voxels by 0, as ANTs does when it reads a file."""
    image, mask, weights = (
        None if volume is None else _replace_nonfinite(volume, warn)
        for volume in (request.image, request.mask, request.weights)
    )
    return replace(request, image=image, mask=mask, weights=weights)


def _replace_nonfinite(volume: Volume, warn: Warn) -> Volume:
    finite = np.isfinite(volume.voxels)
    count = finite.size - np.count_nonzero(finite)
    if count == 0:
        return volume
    warn(f"{volume.name} has {count} NaN or infinite voxels, which are read as 0, as in ANTs")
    return volume._replace(voxels=np.where(finite, volume.voxels, np.float32(0)))


def _find_range(image: Volume, mask: Volume | None) -> tuple[float, float]:
    """Least and greatest intensity inside the mask."""
    if mask is None:
        return float(image.voxels.min()), float(image.voxels.max())
    inside = mask.voxels != 0
    if not inside.any():
        raise InputError("{0} is empty: every voxel is 0", mask.name)
    low, high = find_ends(image.voxels, inside)
    return float(low), float(high)


def _warn_of_negatives(image: Volume, low: float, warn: Warn) -> None:
    warn(
        f"{image.name} has negative intensities (down to {low:g}) where it is corrected, but N4 "
        "works on logarithms. Rescale the image to positive values, such as 10 to 100, or leave "
        "the negative voxels out of the mask"
    )


def _estimate(request: Request, run: Run) -> N4Result:
    image, mask, weights = request.image, request.mask, request.weights
    inputs = Inputs(
        image=image.voxels,
        mask="all" if mask is None else mask.voxels != 0,
        weights=None if weights is None else weights.voxels,
        spacing=Spaces(*((given or image).sampling_space for given in (image, mask, weights))),
    )
    return fit_image(_keep_time_unshrunk(request.settings, image.voxels.ndim), inputs, run)


def _keep_time_unshrunk(settings: N4Settings, dimensions: int) -> N4Settings:
    """The settings with a shrink factor of 1 along a fourth axis, which is time."""
    if dimensions < 4 or not isinstance(settings.shrink_factor, int):
        return settings
    return replace(settings, shrink_factor=(*(settings.shrink_factor,) * 3, 1))


def _rescale(request: Request, corrected: Any) -> Any:
    """The corrected image, stretched to the range of the input if the request says so."""
    if not request.rescale or request.mask is None:
        return corrected
    labels = request.mask.voxels
    # Voxels with other labels count towards the range, but only those with label 1 are changed.
    is_one = (labels >= 1 - 2 * _ULP) & (labels <= 1 + 4 * _ULP)
    return stretch_range(request.image.voxels, corrected, labels != 0, is_one)
