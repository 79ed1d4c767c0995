"""ANTsPy's functions, on its images, on nibabel's, and on arrays."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.ants.report import Report
from n4ax.ants.steps import TOLERATED, corrected_as_ants
from n4ax.problem import Spaces
from n4ax.settings import N4Settings
from n4ax.space import Space

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
    image : ANTsImage, nibabel image or array
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
    scan = _scan("image", image, spacing)
    inside, confidence = (
        None if given is None else _on_grid(name, given, scan)
        for name, given in (("mask", mask), ("weight_mask", weight_mask))
    )
    settings = N4Settings(
        iters=convergence["iters"],
        conv_threshold=float(f"{convergence['tol']:.10f}"),  # all the digits that ANTsPy passes
        shrink_factor=shrink_factor,
        outside="divide" if inside is None else "keep",
        voxel_order="F",
        **_spline(spline_param, scan.voxels.ndim),
    )
    say = Report(scan.voxels.ndim, settings, verbose)
    seen = scan.voxels if inside is None else scan.voxels[inside.voxels != 0]
    if seen.size == 0:
        raise ValueError("mask is empty: it has no voxel other than 0")
    say.range(float(seen.min()), float(seen.max()))
    spaces = (scan.space if given is None else given.space for given in (scan, inside, confidence))
    corrected = corrected_as_ants(
        settings,
        scan.voxels,
        None if inside is None else inside.voxels,
        None if confidence is None else confidence.voxels,
        Spaces(*spaces),
        rescale=rescale_intensities,
        progress=say.iteration if verbose else None,
    )
    return _like(image, corrected.bias if return_bias_field else corrected.image)


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
    image : ANTsImage, nibabel image or array
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
    return n4_bias_field_correction(_like(image, truncated), mask, spacing=spacing)


class _Scan(NamedTuple):
    voxels: npt.NDArray[np.float32]
    space: Space


def _scan(name: str, image: Any, spacing: float | Sequence[float] | None) -> _Scan:
    """Voxels, and where they lie."""
    if hasattr(image, "direction") and hasattr(image, "numpy"):  # an ANTsImage
        rows = tuple(tuple(float(x) for x in row) for row in np.asarray(image.direction))
        space = Space(tuple(image.spacing), tuple(image.origin), rows)
        return _Scan(image.numpy().astype(np.float32), space)
    if hasattr(image, "dataobj"):
        from n4ax import nifti

        voxels = np.asarray(image.dataobj, np.float32)
        if hasattr(image.header, "get_sform"):
            return _Scan(voxels, nifti.space_of(image))
        return _Scan(voxels, Space.plain(image.header.get_zooms()))
    voxels = np.asarray(image)
    if voxels.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {voxels.dtype}; expected real numbers")
    sizes = np.broadcast_to(1.0 if spacing is None else spacing, voxels.ndim)
    return _Scan(voxels.astype(np.float32), Space.plain(sizes.tolist()))


def _on_grid(name: str, image: Any, scan: _Scan) -> _Scan:
    other = _scan(name, image, scan.space.spacing)
    if other.voxels.shape != scan.voxels.shape:
        raise ValueError(
            f"{name} has shape {other.voxels.shape} and image has shape {scan.voxels.shape}"
        )
    if not hasattr(image, "direction") and not hasattr(image, "dataobj"):
        return other._replace(space=scan.space)
    gap = other.space.differs_from(scan.space, TOLERATED)
    if gap is not None:
        raise ValueError(
            f"{name} and image do not occupy the same physical space: {gap}. Resample one onto "
            "the other, or copy the header if only that is wrong"
        )
    return other


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


def _like(image: Any, voxels: npt.NDArray[np.float32]) -> Any:
    """An image of the kind of ``image``."""
    if hasattr(image, "new_image_like") and hasattr(image, "direction"):
        return image.clone("float").new_image_like(voxels)
    if not hasattr(image, "dataobj"):
        return voxels
    if hasattr(image.header, "get_sform"):
        from n4ax import nifti

        return nifti.with_voxels(image, voxels)
    return type(image)(voxels, image.affine)


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
