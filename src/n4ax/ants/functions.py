"""ANTsPy's functions, on its images, on nibabel's, and on arrays."""

import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.ants.steps import Volume, check_on_grid, correct_as_ants
from n4ax.images.libraries import make_like, open_image
from n4ax.itk.space import Space, drop_last_ones
from n4ax.settings import N4Settings

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
) -> Any:
    """Correct the bias field of an image as ``ants.n4_bias_field_correction`` does.

    Parameters
    ----------
    image : ANTsImage, nibabel image, SimpleITK image or array
        2, 3 or 4 axes. Of arrays the first axis is ITK's x, as in ANTsPy and nibabel.
    mask : like image, optional
        Voxels to use, where not 0; the others keep their intensity. By default all.
    rescale_intensities : bool
        Stretch the result to the range of the input, in the mask, where the mask is 1.
    shrink_factor : int
        Estimate on every n-th voxel.
    convergence : mapping
        ``iters``, most iterations of each level, and ``tol``, the convergence measure to stop at.
    spline_param : number or sequence of int, optional
        Length of a mesh element at the first level in mm (made a whole number, as by ANTsPy), or
        mesh elements per axis. By default one element along each axis.
    return_bias_field : bool
        Return the multiplicative field instead of the corrected image.
    verbose : bool
        Print what ANTs prints.
    weight_mask : like image, optional
        Confidence of each voxel; not above 0 leaves it out.
    spacing : float or one per axis, optional
        Voxel size in mm of an array; 1 by default.

    Returns
    -------
    image of the same kind, float32

    Raises
    ------
    ValueError
        The input cannot be worked with, or a parameter is out of range; the message says which.
    """
    said: list[str] = []
    scan = _scan("image", image, spacing)
    # ANTsPy passes a mask of ones where there is none.
    inside = scan._replace(voxels=np.ones_like(scan.voxels))
    if mask is not None:
        inside = check_on_grid(_scan("mask", mask, None), scan, said.append)
    confidence = None
    if weight_mask is not None:
        confidence = check_on_grid(_scan("weight_mask", weight_mask, None), scan, said.append)
    settings = N4Settings(
        iters=convergence["iters"],
        conv_threshold=float(f"{convergence['tol']:.10f}"),  # all the digits that ANTsPy passes
        shrink_factor=shrink_factor,
        outside="keep",
        voxel_order="F",
        **_spline(spline_param, scan.voxels.ndim),
    )
    corrected = correct_as_ants(
        settings,
        scan,
        inside,
        confidence,
        rescale=rescale_intensities,
        warn=said.append,
        verbose=verbose,
    )
    for message in said:
        warnings.warn(message, stacklevel=2)
    return make_like(image, corrected.bias if return_bias_field else corrected.image)


def abp_n4(
    image: Any,
    intensity_truncation: Sequence[float] = (0.025, 0.975, 256),
    mask: Any = None,
    usen3: bool = False,
    *,
    spacing: float | Sequence[float] | None = None,
) -> Any:
    """Truncate intensities at two quantiles and correct the bias field, as ``ants.abp_n4`` does.

    Parameters
    ----------
    image : ANTsImage, nibabel image, SimpleITK image or array
        As for :func:`n4_bias_field_correction`.
    intensity_truncation : (lower, upper, bins)
        Quantiles, of a histogram of the voxels that are not 0.
    mask : like image, optional
        Voxels to use.
    usen3 : bool
        ANTsPy's N3 instead of N4; there is none here.
    spacing : float or one per axis, optional
        Voxel size in mm of an array; 1 by default.

    Returns
    -------
    image of the same kind, float32

    Raises
    ------
    ValueError
        ``usen3`` is true, or the input cannot be worked with.
    """
    if usen3:
        raise ValueError("usen3 is True: n4ax has no N3; call ants.abp_n4 for it")
    if len(intensity_truncation) != 3:
        raise ValueError(
            f"intensity_truncation is {intensity_truncation!r}; expected (lower, upper, bins)"
        )
    lower, upper, bins = intensity_truncation
    scan = _scan("image", image, spacing)
    truncated = np.clip(scan.voxels, *_quantiles(scan.voxels, lower, upper, int(bins)))
    return n4_bias_field_correction(make_like(image, truncated), mask, spacing=spacing)


def _scan(name: str, image: Any, spacing: float | Sequence[float] | None) -> Volume:
    """Voxels, and where they lie."""
    scan = open_image(image, name)
    voxels = np.asarray(scan.voxels)
    if voxels.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {voxels.dtype}; expected real numbers")
    voxels = voxels.astype(np.float32)
    if scan.space is None:
        sizes = np.atleast_1d(1.0 if spacing is None else spacing)
        if len(sizes) not in (1, voxels.ndim):
            raise ValueError(f"spacing has {len(sizes)} values; {name} has {voxels.ndim} axes")
        sampled = Space.from_spacing(np.broadcast_to(sizes, voxels.ndim).tolist())
        return Volume(name, voxels, None, sampled)
    # As ANTs reads a file of one volume.
    shape = drop_last_ones(voxels.shape, least=3)
    space = scan.space.select_axes(range(len(shape)))
    return Volume(name, voxels.reshape(shape), space, space)


def _spline(parameter: float | Sequence[int] | None, ndim: int) -> dict[str, Any]:
    if parameter is None:
        return {"mesh": 1}
    values = np.atleast_1d(np.asarray(parameter, float))
    if len(values) == 1:
        return {"spline_distance": float(int(values[0]))}
    if len(values) != ndim:
        raise ValueError(
            f"spline_param is {parameter!r}; expected a distance in mm, or {ndim} mesh elements"
        )
    return {"mesh": tuple(int(value) for value in values)}


def _quantiles(
    voxels: npt.NDArray[np.float32], lower: float, upper: float, bins: int
) -> tuple[float, float]:
    """Quantiles of the voxels that are not 0, from a histogram over the range of all (ANTs).

    The lower one is counted from below and the upper from above, linearly within a bin.
    """
    low, high = float(voxels.min()), float(voxels.max())
    counts, edges = np.histogram(voxels[voxels != 0], bins=bins, range=(low, high))
    parts = counts / max(1, counts.sum())

    def counted(parts: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], p: float) -> float:
        reached = np.cumsum(parts)
        k = min(int(np.searchsorted(reached, p)), bins - 1)
        before = reached[k] - parts[k]
        share = (p - before) / parts[k] if parts[k] else 0.0
        return float(edges[k] + share * (edges[k + 1] - edges[k]))

    return tuple(
        counted(parts, edges, p) if p < 0.5 else counted(parts[::-1], edges[::-1], 1 - p)
        for p in (lower, upper)
    )  # type: ignore[return-value]
