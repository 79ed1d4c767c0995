"""ANTsPy's N4 functions, for images of ANTsPy, nibabel and SimpleITK, and for arrays."""

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.ants.arithmetic import choose_arithmetic
from n4ax.ants.steps import Request, Volume, Warn, correct_as_ants, find_otsu_mask, match_grid
from n4ax.ants.verbose import correct_and_print
from n4ax.errors import InputError
from n4ax.images.arguments import read_word, take_image
from n4ax.images.arrays import check_real, is_masked
from n4ax.images.libraries import make_like, open_image
from n4ax.inputs import Run
from n4ax.itk.space import Space, drop_last_ones
from n4ax.settings import (
    LARGEST,
    LEAST,
    Arithmetic,
    N4Settings,
    check_flag,
    read_number,
    read_numbers,
)

_MOST_BINS = 1 << 16
_CONVERGENCE: Mapping[str, Any] = MappingProxyType({"iters": [50, 50, 50, 50], "tol": 1e-7})


def n4_bias_field_correction(
    image: Any,
    mask: Any = None,
    rescale_intensities: bool = False,
    shrink_factor: int = 4,
    convergence: Mapping[str, Any] = _CONVERGENCE,
    spline_param: float | Sequence[int] | None = None,
    return_bias_field: bool = False,
    verbose: bool = False,
    weight_mask: Any = None,
    *,
    spacing: float | Sequence[float] | None = None,
    arithmetic: Arithmetic | None = None,
) -> Any:
    """Correct the bias field of an image as ``ants.n4_bias_field_correction`` does.

    Parameters
    ----------
    image : ANTsImage, nibabel image, SimpleITK image or array
        The image, with 2, 3 or 4 axes. The first axis of an array is ITK's x, as in ANTsPy and
        nibabel.
    mask : like image, "otsu" or "all", optional
        The field is estimated where the mask is not 0, and voxels where it is 0 keep their
        intensity. ``"otsu"`` is the mask above Otsu's threshold. By default, all voxels are used,
        as with ``"all"`` or ``"none"``.
    rescale_intensities : bool
        Stretch the result to the range of the input inside the mask, where the mask is 1.
    shrink_factor : int
        Estimate the field on every n-th voxel along each axis.
    convergence : mapping
        ``iters``, the largest number of iterations at each level, and ``tol``, the convergence
        measure at which a level ends.
    spline_param : number or sequence of int, optional
        Either the length of a mesh element at the first level in mm (cut to a whole number, as in
        ANTsPy), or the number of mesh elements along each axis. By default, the mesh has one
        element along each axis.
    return_bias_field : bool
        Return the multiplicative field instead of the corrected image.
    verbose : bool
        Print what ANTs prints.
    weight_mask : like image, optional
        Confidence in each voxel. Voxels with a weight of 0 or less are left out.
    spacing : float or sequence of float, optional
        Voxel size of an array in mm, one number or one per axis. By default, 1 mm.
    arithmetic : "limit" or "itk", optional
        ``"itk"`` gives what ANTsPy computes with the number of threads that
        ``ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS`` says, to the last bit; without that variable, with
        one thread for each processor. ``"limit"`` gives what it tends to with many threads. The
        default is that of the variable ``N4AX_ARITHMETIC``, else ``"limit"``.

    Returns
    -------
    image of the same kind, float32
        The corrected image, or the field.

    Raises
    ------
    ValueError
        The input cannot be used, or a parameter is out of range; the message says which.

    Examples
    --------
    >>> corrected = n4ax.ants.n4_bias_field_correction(image, mask, spline_param=200)
    """
    flags = {
        "rescale_intensities": rescale_intensities,
        "return_bias_field": return_bias_field,
        "verbose": verbose,
    }
    for name, value in flags.items():
        check_flag(name, value)
    messages: list[str] = []
    volume = _open_volume("image", image, spacing)
    inside = _open_mask(mask, volume, messages.append)
    weights = None
    if weight_mask is not None:
        weights = match_grid(
            _open_volume("weight_mask", weight_mask, None), volume, messages.append
        )
    settings = N4Settings(
        **_read_convergence(convergence),
        shrink_factor=shrink_factor,
        outside="keep",
        voxel_order="F",
        **_read_spline_param(spline_param, volume.voxels.ndim),
        **choose_arithmetic(arithmetic),
    )
    request = Request(volume, inside, weights, settings, rescale=rescale_intensities)
    correct = correct_and_print if verbose else correct_as_ants
    corrected = correct(request, Run(), messages.append)
    for message in messages:
        warnings.warn(message, stacklevel=2)
    return make_like(image, corrected.bias if return_bias_field else corrected.image)


def abp_n4(
    image: Any,
    intensity_truncation: Sequence[float] = (0.025, 0.975, 256),
    mask: Any = None,
    usen3: bool = False,
    *,
    spacing: float | Sequence[float] | None = None,
    arithmetic: Arithmetic | None = None,
) -> Any:
    """Truncate intensities at two quantiles and correct the bias field, as ``ants.abp_n4`` does.

    Parameters
    ----------
    image : ANTsImage, nibabel image, SimpleITK image or array
        The image, as for :func:`n4_bias_field_correction`.
    intensity_truncation : (lower, upper, bins)
        The two quantiles, and the number of histogram bins to find them with. Voxels that are 0
        are not counted.
    mask : like image, "otsu" or "all", optional
        The field is estimated where the mask is not 0. By default, all voxels are used.
    usen3 : bool
        Must be false, because n4ax has no N3.
    spacing : float or sequence of float, optional
        Voxel size of an array in mm, one number or one per axis. By default, 1 mm.
    arithmetic : "limit" or "itk", optional
        As for :func:`n4_bias_field_correction`.

    Returns
    -------
    image of the same kind, float32
        The corrected image.

    Raises
    ------
    ValueError
        ``usen3`` is true, or the input cannot be used.
    """
    check_flag("usen3", usen3)
    if usen3:
        raise InputError("{usen3} is True, but n4ax has no N3: call ants.abp_n4 for it")
    lower, upper, bins = _read_truncation(intensity_truncation)
    voxels = _open_volume("image", image, spacing).voxels
    finite = np.isfinite(voxels)  # what is not will be read as 0, as in ANTs
    limits = find_quantiles(np.where(finite, voxels, np.float32(0)), lower, upper, bins)
    truncated = np.where(finite, np.clip(voxels, *limits), voxels)
    return n4_bias_field_correction(
        make_like(image, truncated), mask, spacing=spacing, arithmetic=arithmetic
    )


def find_quantiles(
    voxels: npt.NDArray[np.float32], lower: float, upper: float, bins: int
) -> tuple[float, float]:
    """Two quantiles of the voxels that are not 0, found as ANTs finds them.

    The bins of the histogram span the range of all voxels. Quantiles below 0.5 are counted from
    the lower end and others from the upper end, linearly within a bin.

    Raises
    ------
    ValueError
        The range is too narrow to be cut into so many bins.
    """
    low, high = float(voxels.min()), float(voxels.max())
    try:
        counts, edges = np.histogram(voxels[voxels != 0], bins=bins, range=(low, high))
    except ValueError:  # two edges would be the same number
        raise InputError(
            "{image} reaches from {0:g} to {1:g}, which is too narrow for {2} bins: give fewer in "
            "{intensity_truncation}",
            low,
            high,
            bins,
        ) from None
    shares = counts / max(1, counts.sum())

    def find_quantile(p: float) -> float:
        if p < 0.5:
            return _find_position(shares, edges, p)
        return _find_position(shares[::-1], edges[::-1], 1 - p)

    return find_quantile(lower), find_quantile(upper)


def _find_position(
    shares: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], p: float
) -> float:
    """The intensity at which the shares of the bins, added from the first on, reach ``p``."""
    reached = np.cumsum(shares)
    k = min(int(np.searchsorted(reached, p)), len(shares) - 1)
    before = reached[k] - shares[k]
    part = (p - before) / shares[k] if shares[k] else 0.0
    return float(edges[k] + part * (edges[k + 1] - edges[k]))


def _open_mask(mask: Any, image: Volume, warn: Warn) -> Volume:
    word = "all" if mask is None else read_word(mask) if isinstance(mask, str) else None
    if word == "all":  # ANTsPy passes a mask of ones if there is none
        return image._replace(voxels=np.ones_like(image.voxels))
    if word == "otsu":
        return find_otsu_mask(image)
    if isinstance(mask, str):
        raise InputError('{mask} is {0!r}; expected an image, "otsu" or "all"', mask)
    return match_grid(_open_volume("mask", mask, None), image, warn)


def _open_volume(name: str, image: Any, spacing: float | Sequence[float] | None) -> Volume:
    """Read the voxels of an image of any library, and where they lie in space."""
    if not isinstance(image, str | PathLike):  # ANTsPy takes no names of files
        image = take_image(name, image)
    opened = open_image(image, name)
    voxels = np.asarray(opened.voxels)
    check_real(name, voxels.dtype)
    if voxels.size == 0 or voxels.ndim < 2:
        raise InputError("{0} has shape {1}; expected 2, 3 or 4 axes", name, voxels.shape)
    if is_masked(opened.voxels) and np.ma.getmaskarray(opened.voxels).any():
        raise InputError(
            "{0} is a masked array: pass its data, and where it is not masked as {mask}", name
        )
    with np.errstate(over="ignore", under="ignore"):
        voxels = voxels.astype(np.float32)
    if opened.space is None:
        sampling_space = Space.from_spacing(_read_spacing(spacing, name, voxels.ndim))
        return Volume(name, voxels, None, sampling_space)
    # ANTs reads a file with one volume as a volume.
    shape = drop_last_ones(voxels.shape, least=3)
    space = opened.space.select_axes(range(len(shape)))
    return Volume(name, voxels.reshape(shape), space, space)


def _read_spline_param(parameter: float | Sequence[int] | None, ndim: int) -> dict[str, Any]:
    """The settings that ``spline_param`` stands for."""
    if parameter is None:
        return {"mesh": 1}
    values = read_numbers(parameter)
    if len(values) not in (1, ndim) or not all(1 <= value <= LARGEST for value in values):
        raise InputError(
            "{spline_param} is {0!r}; expected a distance of at least 1 mm, or {1} mesh elements",
            parameter,
            ndim,
        )
    if len(values) == 1:
        return {"spline_distance": float(int(values[0]))}
    return {"mesh": tuple(map(int, values))}


def _read_convergence(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that ``convergence`` stands for."""
    if not isinstance(given, Mapping) or not {"iters", "tol"} <= set(given):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            "{convergence} is {0!r}; expected a dictionary with 'iters' and 'tol'", given
        )
    threshold = read_number(given["tol"])
    if threshold is None or not threshold >= 0:
        raise InputError(
            "{convergence} has 'tol' {0!r}; expected a number of at least 0", given["tol"]
        )
    digits = f"{threshold:.10f}"  # all that ANTsPy passes
    return {"iters": given["iters"], "conv_threshold": float(digits)}


def _read_truncation(given: Sequence[float]) -> tuple[float, float, int]:
    """The two quantiles and the number of bins of ``intensity_truncation``."""
    numbers = read_numbers(given)
    if len(numbers) == 3:
        lower, upper, bins = numbers
        if 0 <= lower <= upper <= 1 and 1 <= bins <= _MOST_BINS and bins == int(bins):
            return lower, upper, int(bins)
    raise InputError(
        "{intensity_truncation} is {0!r}; expected (lower, upper, bins): two quantiles from 0 to "
        "1, and a whole number from 1 to {1}",
        given,
        _MOST_BINS,
    )


def _read_spacing(given: float | Sequence[float] | None, name: str, ndim: int) -> list[float]:
    """The voxel size of an array along each axis."""
    sizes = (1.0,) if given is None else read_numbers(given)
    if len(sizes) not in (1, ndim) or not all(LEAST <= size <= LARGEST for size in sizes):
        raise InputError(
            "{spacing} is {0!r}; expected one voxel size above 0, in mm, or one for each of the "
            "{1} axes of {2}",
            given,
            ndim,
            name,
        )
    return list(sizes) if len(sizes) == ndim else list(sizes) * ndim
