"""Series of volumes: one field from their mean or from some of them, or a field for each.

N4 on a 4-D array is something else: it fits a field that varies smoothly in time as well. So what
is meant has to be said: :func:`check_volumes`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from n4ax.errors import InputError
from n4ax.images.libraries import make_like, open_image
from n4ax.images.volumes import (
    SPATIAL,
    average_volumes,
    fill,
    find_volume_axis,
    get_shape,
    load_series,
    stack_volumes,
    take_volume,
)
from n4ax.inputs import Inputs, Run
from n4ax.pipeline import fit_image
from n4ax.result import N4Result
from n4ax.settings import N4Settings, is_whole_number

Estimate = Literal["mean", "first", "each"] | int | tuple[int, ...]
"""What the field is estimated on: the mean of all volumes, the first volume, each volume by itself,
the volume of a number, or the mean of the volumes of several numbers."""

Series = Estimate | Literal["b0", "4d"]
"""What users may ask for besides: ``"b0"``, the mean of the volumes without diffusion weighting;
and ``"4d"``, one field that varies in space and time."""

B0_THRESHOLD = 50.0
"""The largest b-value, in s/mm², that counts as no diffusion weighting. It is not 0, because some
scanners write small values such as 5 for volumes without weighting."""


class SeriesResult(NamedTuple):
    """A corrected series.

    Attributes
    ----------
    corrected
        The corrected series, of the library and shape of the series.
    volume
        The volume that the field was estimated on; with ``"each"`` the first volume.
    results
        The result for that volume; with ``"each"`` one result for each volume.
    log_bias
        The log field of a volume; with ``"each"`` a series of log fields.
    """

    corrected: Any
    volume: Any
    results: list[N4Result[Any]]
    log_bias: Any


def check_volumes(settings: N4Settings, inputs: Inputs, series: object) -> bool:
    """Check that it is said of a series what its field is estimated on, and of nothing else.

    Returns
    -------
    bool
        Whether the image is a series of more than one volume.

    Raises
    ------
    ValueError
        The image is a series and ``series`` is ``None``, or the other way round.
    """
    asked = series is not None
    axis = find_volume_axis(inputs.image, settings.voxel_order, asked)
    shape = get_shape(inputs.image)
    if axis is not None and not asked:
        raise InputError(
            "{image} has shape {0}, a series of {1} volumes: say with {series} what the field is "
            'estimated on, such as {series:"mean"}, {series:"first"}, {series:"each"} or '
            '{series:0}; {series:"4d"} fits one field that varies in space and time',
            shape,
            shape[axis],
        )
    if axis is None and asked and len(shape) <= SPATIAL:
        raise InputError(
            "{series} is {0!r}, and {image} has shape {1}: a series has an axis beyond the three "
            "of space",
            series,
            shape,
        )
    return axis is not None


def read_estimate(series: Any) -> Estimate:
    """Check what the field of a series is to be estimated on.

    Raises
    ------
    ValueError
        It is neither a word nor the number of a volume nor several numbers.
    """
    if isinstance(series, str) and series in ("mean", "first", "each"):
        return series  # type: ignore[return-value]
    if is_whole_number(series):
        return int(series)
    try:
        numbers = () if isinstance(series, str) else tuple(series)
    except TypeError:
        numbers = ()
    if not numbers or not all(map(is_whole_number, numbers)):
        hint = (
            ", which is for the path of an image with a .bval file beside it; pass the numbers of "
            "the volumes without diffusion weighting, such as {series:(0, 5)}"
            if isinstance(series, str) and series == "b0"
            else '; expected "mean", "first", "each", "4d", "b0", or numbers of volumes'
        )
        raise InputError("{series} is {0!r}" + hint, series)
    return tuple(map(int, numbers))


def correct_series(
    settings: N4Settings, inputs: Inputs, estimate: Estimate = "mean", run: Run | None = None
) -> SeriesResult:
    """Correct a series, whose shading stays the same or changes from volume to volume.

    Parameters
    ----------
    settings
        The parameters of N4.
    inputs
        ``image`` is an image or array of any library with one axis beyond the three of space; the
        mask has the shape of a volume, or is a word as for :func:`n4ax.n4`.
    estimate
        What the field is estimated on.
    run
        How the work is to be done.

    Raises
    ------
    ValueError
        There is no such volume, or N4 cannot work with the input.
    """
    axis = find_volume_axis(inputs.image, settings.voxel_order, asked=True)
    shape = get_shape(inputs.image)
    if axis is None or 0 in shape:
        raise InputError(
            "{series} is {0!r}, and {image} of shape {1} is no series", estimate, shape
        )
    if estimate == "each":
        return _correct_each(settings, inputs, axis, run)
    settings.check_shared()
    volume = find_volume(inputs.image, axis, estimate)
    result = fit_image(settings, replace(inputs, image=volume), run)
    mask = None if settings.outside == "divide" else result.mask
    threads = None if run is None else run.num_threads
    corrected = result.field.apply(
        inputs.image, mask, outside=settings.outside, num_threads=threads
    )
    return SeriesResult(corrected, volume, [result], result.log_bias)


def _correct_each(settings: N4Settings, inputs: Inputs, axis: int, run: Run | None) -> SeriesResult:
    settings.check_chosen("a series of volumes with fields of their own")
    image = inputs.image
    loaded = load_series(image)
    volumes = [take_volume(loaded, axis, t) for t in range(get_shape(image)[axis])]
    results = [fit_image(settings, replace(inputs, image=volume), run) for volume in volumes]

    def stack(images: list[Any]) -> Any:
        return make_like(image, stack_volumes([open_image(one).voxels for one in images], axis))

    corrected = stack([result.corrected for result in results])
    return SeriesResult(corrected, volumes[0], results, stack([r.log_bias for r in results]))


def find_volume(image: Any, axis: int, estimate: Estimate) -> Any:
    """Find the volume that the field of a series is to be estimated on.

    Parameters
    ----------
    image
        A series of any library.
    axis
        The axis along which its volumes lie.
    estimate
        What the field is estimated on, other than ``"each"``.

    Raises
    ------
    InputError
        There is no such volume.
    """
    count = get_shape(image)[axis]
    if estimate == "mean":
        return fill(take_volume(image, axis, 0), average_volumes(image, axis, None))
    numbers = estimate if isinstance(estimate, tuple) else (estimate,)
    numbers = tuple(number if isinstance(number, int) else 0 for number in numbers)
    for number in numbers:
        if not 0 <= number < count:
            raise InputError("{series} is {0}; the image has volumes 0 to {1}", number, count - 1)
    first = take_volume(image, axis, numbers[0])
    return first if len(numbers) == 1 else fill(first, average_volumes(image, axis, numbers))


def find_unweighted_volumes(
    bval: Path, volumes: int, threshold: float = B0_THRESHOLD
) -> tuple[int, ...]:
    """Find the volumes without diffusion weighting by a file of b-values (FSL's ``.bval``).

    Parameters
    ----------
    bval
        File with a b-value in s/mm² for each volume.
    volumes
        Number of volumes of the image.
    threshold
        The largest b-value that counts as no weighting, in s/mm².

    Returns
    -------
    tuple of int
        The numbers of these volumes, counted from 0.

    Raises
    ------
    ValueError
        The file is missing, does not hold one number for each volume, or every volume is weighted.
    """
    if not bval.exists():
        raise ValueError(
            f"{bval} does not exist; it tells which volumes are without diffusion weighting"
        )
    try:
        values = [float(word) for word in bval.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{bval} cannot be read as b-values: {error}") from None
    if len(values) != volumes:
        raise ValueError(f"{bval} has {len(values)} b-values and its image has {volumes} volumes")
    numbers = tuple(number for number, value in enumerate(values) if value <= threshold)
    if not numbers:
        raise InputError(
            "{0} has no b-value up to {1:g}, the least is {2:g}: raise {b0_threshold}",
            bval,
            threshold,
            min(values),
        )
    return numbers
