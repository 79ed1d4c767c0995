"""Two-dimensional sections: a field for each slice of a volume."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.masks import find_mask
from n4ax.inputs import Inputs, Run
from n4ax.itk.space import Spaces
from n4ax.pipeline import fit_image
from n4ax.result import N4Result
from n4ax.settings import N4Settings


class SlicesResult(NamedTuple):
    """A volume that was corrected slice by slice.

    Attributes
    ----------
    corrected, log_bias
        The corrected volume and the log field, float32, in the shape of the volume.
    mask
        The voxels that the fields were estimated in, of the shape of the volume.
    results
        One result for each slice that was corrected.
    """

    corrected: npt.NDArray[np.float32]
    log_bias: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    results: list[N4Result[Any]]


def correct_slices(settings: N4Settings, inputs: Inputs, run: Run | None = None) -> SlicesResult:
    """Correct each slice along the third axis by a field of its own.

    Otsu's mask is that of the whole volume. Slices in which fewer than two intensities are used
    stay as they are.

    Parameters
    ----------
    settings
        The parameters of N4, with the voxel order ``"F"``.
    inputs
        ``image``, ``mask`` and ``weights`` are arrays with three axes, and ``spacing`` says where
        they lie; the mask may be a word.
    run
        How the work is to be done.

    Raises
    ------
    InputError
        The image is no volume, or a slice cannot be corrected. The message names the slice.
    """
    settings.check_chosen("a volume of slices with fields of their own")
    volume = inputs.image
    if volume.ndim != 3:
        raise InputError(
            "{slicewise} is for volumes of three axes, and {image} has shape {0}", volume.shape
        )
    mask = find_mask(volume, inputs.mask, settings.mask_label)
    whole = settings.override(mask_label=None)
    corrected, log_bias = volume.astype(np.float32), np.zeros(volume.shape, np.float32)
    used, results = np.zeros(volume.shape, bool), []
    usable = _find_usable(settings, volume, mask, inputs.weights)
    for k in range(volume.shape[2]):
        values = volume[..., k][usable[..., k]]
        if values.size == 0 or values.min() == values.max():
            continue
        try:
            result = fit_image(whole, _take_slice(inputs, mask, k), run)
        except InputError as error:
            raise error.about(f"slice {k}") from None
        corrected[..., k], log_bias[..., k] = result.corrected, result.log_bias
        used[..., k] = result.mask
        results.append(result)
    if not results:
        raise InputError("no slice of {image} has two intensities in {mask}")
    return SlicesResult(corrected, log_bias, used, results)


def _find_usable(
    settings: N4Settings, volume: Any, mask: npt.NDArray[np.bool_], weights: Any
) -> npt.NDArray[np.bool_]:
    """The voxels that a field is estimated on: not those that the settings leave out."""
    usable = mask.copy()
    if settings.nonfinite == "exclude":
        usable &= np.isfinite(volume)
    if settings.non_positive == "exclude":
        usable &= volume > 0
    if weights is not None:
        usable &= weights > 0
    return usable


def _take_slice(inputs: Inputs, mask: npt.NDArray[np.bool_], number: int) -> Inputs:
    places = inputs.spacing
    flat = (
        Spaces(*(place.select_axes((0, 1)) for place in places))
        if isinstance(places, Spaces)
        else places
    )
    weights = None if inputs.weights is None else inputs.weights[..., number]
    return Inputs(np.ascontiguousarray(inputs.image[..., number]), mask[..., number], weights, flat)
