"""Series of volumes: one field from their mean or from one of them, or a field for each."""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.images.otsu import otsu_mask
from n4ax.pipeline import N4Result, Progress, fit_image
from n4ax.settings import N4Settings

Estimate = Literal["mean", "first", "each"] | int | tuple[int, ...]
"""What the field is estimated on: the mean, the first volume, each by itself, volume N, or the mean
of several volumes."""


class SeriesResult(NamedTuple):
    """A corrected series.

    Attributes
    ----------
    corrected
        Shape of the series, float32.
    volume
        What the field was estimated on; with ``"each"`` the first volume.
    results
        What was found: one result, or with ``"each"`` one per volume.
    each
        Whether every volume has a field of its own.
    """

    corrected: npt.NDArray[np.float32]
    volume: npt.NDArray[np.float32]
    results: list[N4Result]
    each: bool

    @property
    def log_bias(self) -> npt.NDArray[np.float32]:
        """The field; with ``"each"`` the fields, along the last axis."""
        fields = [result.log_bias for result in self.results]
        return np.stack(fields, axis=-1) if self.each else fields[0]


def correct_series(
    settings: N4Settings,
    series: npt.NDArray[np.float32],
    mask: npt.NDArray[Any] | Literal["otsu", "all"] | None = None,
    *,
    estimate: Estimate = "mean",
    progress: Progress | None = None,
    **keywords: Any,
) -> SeriesResult:
    """Correct a series whose shading does not change, or changes from volume to volume.

    N4 on a 4-D array is another thing: a field that varies smoothly in time as well.

    Parameters
    ----------
    settings
        The parameters of N4.
    series
        Volumes along the fourth axis, float32.
    mask
        Of the shape of a volume, or a word as for :func:`n4ax.n4`.
    estimate
        Volume that the field is estimated on, or volumes, then on their mean; ``"each"`` estimates
        one for every volume.
    progress
        Called after every iteration, as for :func:`n4ax.n4`.
    **keywords
        Further ones of :func:`n4ax.pipeline.fit_with`.

    Raises
    ------
    ValueError
        There is no such volume, or the input cannot be worked with.
    """
    if series.ndim != 4 or 0 in series.shape:
        raise ValueError(f"image has shape {series.shape}; a series has 4 axes, volumes last")
    if estimate != "each":
        settings.check_shared()
    volume = _estimated_on(series, estimate)
    keywords["progress"] = progress
    if estimate == "each":
        volumes = [np.ascontiguousarray(series[..., t]) for t in range(series.shape[3])]
        results = [fit_image(settings, one, mask, **keywords) for one in volumes]
        corrected = np.stack([result.corrected for result in results], axis=-1)
        return SeriesResult(corrected, volume, results, each=True)
    result = fit_image(settings, volume, mask, **keywords)
    inside = None if settings.outside == "divide" else _inside(settings, volume, mask)
    corrected = np.empty(series.shape, np.float32, order="F")
    for t in range(series.shape[3]):
        one = np.ascontiguousarray(series[..., t])
        corrected[..., t] = result.field.apply(one, inside, outside=settings.outside)
    return SeriesResult(corrected, volume, [result], each=False)


def _estimated_on(series: npt.NDArray[np.float32], estimate: Estimate) -> npt.NDArray[np.float32]:
    if estimate == "mean":
        return series.mean(axis=3, dtype=np.float64).astype(np.float32)
    numbers = estimate if isinstance(estimate, tuple) else (estimate,)
    numbers = tuple(number if isinstance(number, int) else 0 for number in numbers)
    for number in numbers:
        if not 0 <= number < series.shape[3]:
            raise ValueError(f"series has volumes 0 to {series.shape[3] - 1}; there is no {number}")
    if len(numbers) == 1:
        return np.ascontiguousarray(series[..., numbers[0]])
    return series[..., list(numbers)].mean(axis=3, dtype=np.float64).astype(np.float32)


def _inside(
    settings: N4Settings,
    volume: npt.NDArray[np.float32],
    mask: npt.NDArray[Any] | Literal["otsu", "all"] | None,
) -> npt.NDArray[np.bool_]:
    if mask is None or isinstance(mask, str):
        whole = mask == "all"
        return np.ones(volume.shape, bool) if whole else otsu_mask(volume).astype(bool)
    return settings.inside(mask)
