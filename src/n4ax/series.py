"""Series of volumes: one field from their mean or from some of them, or a field for each."""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.pipeline import Inputs, Run, fit_image
from n4ax.result import N4Result
from n4ax.settings import N4Settings

Estimate = Literal["mean", "first", "each"] | int | tuple[int, ...]
"""What the field is estimated on: the mean of all volumes, the first volume, each volume by itself,
the volume of a number, or the mean of the volumes of several numbers."""

Volume = npt.NDArray[np.float32]


class SeriesResult(NamedTuple):
    """A corrected series.

    Attributes
    ----------
    corrected
        The corrected volumes along the fourth axis, float32.
    volume
        The volume that the field was estimated on; with ``"each"`` the first volume.
    results
        One result; with ``"each"`` one result for each volume.
    each
        Whether every volume has a field of its own.
    """

    corrected: Volume
    volume: Volume
    results: list[N4Result]
    each: bool

    @property
    def log_bias(self) -> Volume:
        """The log field; with ``"each"`` the log fields along the last axis."""
        fields = [result.log_bias for result in self.results]
        return np.stack(fields, axis=-1) if self.each else fields[0]


def correct_series(
    settings: N4Settings, inputs: Inputs, estimate: Estimate = "mean", run: Run | None = None
) -> SeriesResult:
    """Correct a series, whose shading stays the same or changes from volume to volume.

    N4 on a 4-D array is something else: it fits a field that varies smoothly in time as well.

    Parameters
    ----------
    settings
        The parameters of N4.
    inputs
        ``image`` is an array of float32 with the volumes along the fourth axis; the mask has the
        shape of a volume, or is a word as for :func:`n4ax.n4`.
    estimate
        What the field is estimated on.
    run
        How the work is to be done.

    Raises
    ------
    ValueError
        There is no such volume, or N4 cannot work with the input.
    """
    series: Volume = inputs.image
    if series.ndim != 4 or 0 in series.shape:
        raise InputError(
            "{image} has shape {0}; a series has 4 axes, the volumes along the last", series.shape
        )
    if estimate == "each":
        return _correct_each(settings, inputs, run)
    settings.check_shared()
    volume = _find_volume(series, estimate)
    result = fit_image(settings, replace(inputs, image=volume), run)
    mask = None if settings.outside == "divide" else result.mask
    corrected = np.empty(series.shape, np.float32, order="F")
    for t in range(series.shape[3]):
        one = np.ascontiguousarray(series[..., t])
        corrected[..., t] = result.field.apply(one, mask, outside=settings.outside)
    return SeriesResult(corrected, volume, [result], each=False)


def _correct_each(settings: N4Settings, inputs: Inputs, run: Run | None) -> SeriesResult:
    series: Volume = inputs.image
    volumes = [np.ascontiguousarray(series[..., t]) for t in range(series.shape[3])]
    results = [fit_image(settings, replace(inputs, image=volume), run) for volume in volumes]
    corrected = np.stack([result.corrected for result in results], axis=-1)
    return SeriesResult(corrected, volumes[0], results, each=True)


def _find_volume(series: Volume, estimate: Estimate) -> Volume:
    """Find the volume that the field is to be estimated on."""
    if estimate == "mean":
        return series.mean(axis=3, dtype=np.float64).astype(np.float32)
    numbers = estimate if isinstance(estimate, tuple) else (estimate,)
    numbers = tuple(number if isinstance(number, int) else 0 for number in numbers)
    for number in numbers:
        if not 0 <= number < series.shape[3]:
            raise InputError(
                "{series} is {0}; the image has volumes 0 to {1}", number, series.shape[3] - 1
            )
    if len(numbers) == 1:
        return np.ascontiguousarray(series[..., numbers[0]])
    return series[..., list(numbers)].mean(axis=3, dtype=np.float64).astype(np.float32)
