"""What ANTs does around N4: on which grid, what it restores outside the mask, how it rescales."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.ants.verbose import Report
from n4ax.itk.space import ITK_TOLERANCE, Space, Spaces, check_same_place
from n4ax.level import stretch_range
from n4ax.pipeline import N4Result, fit_image
from n4ax.settings import EngineName, N4Settings

_ULP = 2.0**-23  # of float32, at 1

Warn = Callable[[str], None]


class Volume(NamedTuple):
    """An image, a mask or weights.

    Attributes
    ----------
    name
        What a message calls it.
    voxels
        float32.
    space
        Where it lies; ``None`` where that is not known.
    sampled
        Where ITK takes it to lie when it chooses which voxels to take.
    """

    name: str
    voxels: npt.NDArray[np.float32]
    space: Space | None
    sampled: Space


class AntsResult(NamedTuple):
    """The images that ANTs writes, and what N4 found."""

    image: npt.NDArray[np.float32]
    result: N4Result

    @property
    def bias(self) -> npt.NDArray[np.float32]:
        """The multiplicative field; not rescaled, and not restored outside the mask."""
        return np.exp(self.result.log_bias)


def check_on_grid(given: Volume, scan: Volume, warn: Warn) -> Volume:
    """A mask or weights, which must lie on the grid of the image.

    Raises
    ------
    ValueError
        It has another shape, or lies elsewhere by more than a thousandth of a voxel.
    """
    if given.voxels.shape != scan.voxels.shape:
        raise ValueError(
            f"{given.name} has shape {given.voxels.shape} and {scan.name} has shape "
            f"{scan.voxels.shape}: resample one onto the other first"
        )
    if given.space is None or scan.space is None:
        return given._replace(sampled=scan.sampled)
    check_same_place(given.name, given.space, scan.name, scan.space)
    if given.space.describe_difference(scan.space, ITK_TOLERANCE) is not None:
        warn(f"the headers of {given.name} and {scan.name} differ slightly; the image's is used")
        return given._replace(sampled=scan.sampled)
    return given if scan.sampled == scan.space else given._replace(sampled=scan.sampled)


def correct_as_ants(
    settings: N4Settings,
    scan: Volume,
    mask: Volume | None,
    weights: Volume | None,
    *,
    rescale: bool,
    warn: Warn,
    verbose: bool = False,
    engine: EngineName | None = None,
    num_threads: int | None = None,
) -> AntsResult:
    """Estimate the field, divide by it, and treat the mask as ANTs does.

    Parameters
    ----------
    settings
        The parameters of N4, ``outside="keep"`` where there is a mask.
    scan, mask, weights
        On one grid; inside the mask where it is not 0. ``None`` is the whole image.
    rescale
        Stretch the corrected image to the input's range in the mask, where the mask is 1.
    warn
        Called with what a user should know.
    verbose
        Print what ANTs prints.
    engine, num_threads
        As for :func:`n4ax.n4`.

    Raises
    ------
    ValueError
        The input cannot be worked with; the message says why.
    """
    say = Report(scan.voxels.ndim, settings, verbose)
    say.masked(mask is not None)
    scan = _finite(scan, warn)
    mask, weights = (None if given is None else _finite(given, warn) for given in (mask, weights))
    low, high = _range(scan, mask)
    say.range(low, high)
    if low < 0 and not verbose:
        warn(
            f"{scan.name} has negative intensities, down to {low:g}, where it is corrected; N4 "
            "works on logarithms. Rescale it to positive values, such as 10 to 100, or leave them "
            "out of the mask"
        )
    if settings.spline_distance is not None:
        say.mesh(settings.spline_distance, scan.voxels.shape, scan.sampled.spacing)
    start = time.perf_counter()
    result: Any = fit_image(
        _not_shrunk_in_time(settings, scan.voxels.ndim),
        scan.voxels,
        "all" if mask is None else mask.voxels,
        weights=None if weights is None else weights.voxels,
        spacing=Spaces(*((given or scan).sampled for given in (scan, mask, weights))),
        engine=engine,
        num_threads=num_threads,
        progress=say.iteration if verbose else None,
        every_measure=False,
    )
    corrected = result.corrected
    if rescale and mask is not None:
        inside, where = mask.voxels != 0, _where_rescaled(mask.voxels)
        corrected = stretch_range(scan.voxels, corrected, inside, where)
    say.done(result, time.perf_counter() - start)
    return AntsResult(corrected, result)


def _finite(scan: Volume, warn: Warn) -> Volume:
    """NaN and infinite voxels as 0, which is how ANTs reads them from a file."""
    finite = np.isfinite(scan.voxels)
    bad = finite.size - np.count_nonzero(finite)
    if bad == 0:
        return scan
    warn(f"{scan.name} has {bad} NaN or infinite voxels, which are taken for 0, as by ANTs")
    return scan._replace(voxels=np.where(finite, scan.voxels, np.float32(0)))


def _range(scan: Volume, mask: Volume | None) -> tuple[float, float]:
    """Least and greatest intensity in the mask."""
    if mask is None:
        return float(scan.voxels.min()), float(scan.voxels.max())
    inside = mask.voxels != 0
    if not inside.any():
        raise ValueError(f"{mask.name} is empty: it has no voxel other than 0")
    values = scan.voxels[inside]
    return float(values.min()), float(values.max())


def _not_shrunk_in_time(settings: N4Settings, dimensions: int) -> N4Settings:
    """The settings with a shrink factor of 1 along a fourth axis, which is time."""
    if dimensions < 4 or not isinstance(settings.shrink_factor, int):
        return settings
    factors = (*(settings.shrink_factor,) * 3, 1)
    return N4Settings(**{**settings.keywords(), "shrink_factor": factors})


def _where_rescaled(mask: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where the mask is 1: other labels count for the range, and are left as they are."""
    return (mask >= 1 - 2 * _ULP) & (mask <= 1 + 4 * _ULP)
