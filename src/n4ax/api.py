"""The Python front door: :func:`n4` for a corrected array, :func:`fit` for everything."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy.typing as npt

from n4ax.contrasts import fit_together, is_several
from n4ax.images.arrays import is_traced
from n4ax.pipeline import Progress, choose_engine, fit_image
from n4ax.settings import (
    Convergence,
    EngineName,
    N4Settings,
    Nonfinite,
    NonPositive,
    Outside,
    PerAxis,
    Scale,
    VoxelOrder,
)


def n4(
    image: npt.ArrayLike,
    mask: npt.ArrayLike | Literal["otsu", "all"] | None = None,
    *,
    iters: Sequence[int] = (50, 50, 50, 50),
    over_relax: float = 1.0,
    conv_threshold: float = 0.001,
    convergence: Convergence = "itk",
    accelerate: bool = False,
    nbins: int = 200,
    fwhm: float = 0.15,
    wiener: float = 0.01,
    tiny: float | None = None,
    weights: npt.ArrayLike | None = None,
    mask_label: int | None = None,
    control_points: PerAxis | None = None,
    mesh: PerAxis | None = None,
    spline_order: int = 3,
    spline_distance: float | None = None,
    spacing: float | Sequence[float] | None = None,
    shrink_factor: PerAxis = 1,
    nonfinite: Nonfinite = "error",
    non_positive: NonPositive = "itk",
    scale: Scale = "itk",
    outside: Outside = "divide",
    voxel_order: VoxelOrder = "C",
    engine: EngineName | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    return_bias: bool = False,
) -> Any:
    """Correct the bias field of an image (N4, Tustison et al. 2010).

    The defaults are SimpleITK's, and so are the numbers.

    Parameters
    ----------
    image : image or array
        Intensities, 2, 3 or 4 axes (axes of length 1 do not count), any real dtype. NumPy, JAX
        and torch arrays, and through DLPack those of other libraries; images of nibabel,
        SimpleITK and ANTsPy, which bring their voxel size and order, and whose axes are x, y, z;
        ``xarray.DataArray``; dask and zarr arrays, of which only the samples are read for the
        estimation.
    mask : like image, "otsu" or "all", optional
        Of the image's shape; inside where it is not 0, or equals ``mask_label``. By default, as
        with ``"otsu"``, :func:`otsu_mask` of the image (of its samples, for dask and zarr).
    iters : sequence of int
        Most iterations at each level; the mesh doubles from one level to the next.
    over_relax : float
        Factor on every increment; 1 is N4. Above 1, at most about 1.8, takes fewer iterations.
    conv_threshold : float
        A level ends once the convergence measure is not above this; 0 runs all iterations.
    convergence : "itk" or "exact"
        The measure as ITK computes it, or the coefficient of variation that it stands for.
    accelerate : bool
        Come close to the outcome of all iterations in a fraction of the time; needs
        ``conv_threshold=0``. :meth:`N4Settings.fast` is SimpleITK's schedule so. By the CPU
        engine: XLA carries out every iteration.
    nbins : int
        Histogram bins.
    fwhm : float
        Full width at half maximum of the field's distribution, in log intensity.
    wiener : float
        Noise of the Wiener filter.
    tiny : float, optional
        Floor under the intensities before the logarithm. By default, as in ITK, an intensity
        that is not positive stays, unlogged, as it is.
    weights : array, optional
        Confidence of each voxel in the fit, of the image's shape; not above 0 leaves it out.
    mask_label : int, optional
        The one mask value that counts as inside.
    control_points, mesh : int or one per axis, optional
        B-spline control points, or mesh elements (control points less the order), at the first
        level. The default is 4 control points (order + 1 where that is more), as in SimpleITK.
    spline_order : int
        1 to 5.
    spline_distance : float, optional
        Length of a mesh element at the first level in mm, as in ANTs; needs ``spacing``.
    spacing : float or one per axis, optional
        Voxel size in mm; by default that of the image, if it says so.
    shrink_factor : int or one per axis
        Estimate on every n-th voxel; the result is at full resolution all the same.
    nonfinite : "error" or "exclude"
        What to do with NaN and infinite voxels in the mask.
    non_positive : "itk", "exclude" or "offset"
        What to do with intensities in the mask that have no logarithm: as ITK (0 counts as 1, a
        negative one as a far outlier), estimate without them, or raise the image until the least
        is 1 and lower it again after the correction.
    scale : "itk", "mean", "unit-field" or "minmax"
        Level of the result: as the field comes, the mean in the mask kept, the field's geometric
        mean in the mask made 1, or in the mask stretched to the input's range (ANTs' ``-r``).
    outside : "divide", "keep" or "zero"
        The corrected image outside the mask: divided by the field too, as in ITK, or as it was,
        or 0.
    voxel_order : "C" or "F"
        Which axis ITK would walk fastest: the last (``SimpleITK.GetImageFromArray``), or the
        first (arrays read from NIfTI files by nibabel). Never guessed from the memory layout. Of
        arrays; images know theirs.
    engine : "cpu", "xla" or None
        The compiled CPU engine, or XLA on any device of JAX's. ``None`` takes XLA where an array
        is on an accelerator, or JAX has a GPU, and the CPU engine otherwise.
    num_threads : int, optional
        Of the CPU engine; by default the processors that the process may use, at most 16. The
        result does not depend on it.
    progress : callable, optional
        Called after every iteration with level (from 0), iteration (from 1), iterations of
        that level at most, and convergence measure.
    return_bias : bool
        Also return the log bias field.

    Returns
    -------
    corrected : like image
        ``image / exp(log_bias)``, of the image's shape; float64 for a float64 image and
        float32 otherwise. Of the image's library, in its place and on its device: JAX arrays for
        JAX arrays, tensors for tensors, images with their header for images; for dask
        and zarr a dask array, divided block by block when it is asked for; else NumPy.
    log_bias : like image
        Only with ``return_bias``; float32, of the image's shape.

    Raises
    ------
    ValueError
        The input cannot be worked with, or a parameter is out of range; the message says which.

    Notes
    -----
    Time grows with the voxels in the mask and the iterations; memory, with the policies of the
    defaults, is under three times the float32 volume (eight times the masked part of it by XLA).
    With the defaults nothing is rescaled: the field's level is that of ITK's.

    Image, mask and weights may be traced by JAX: inside ``jax.jit`` and under ``jax.vmap``. Inside
    ``jit`` nothing about their values is checked, and the whole volume is worked on rather than
    the part in the mask. There is no derivative to the field.

    References
    ----------
    N. J. Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE Transactions on Medical
    Imaging 29(6), 2010, doi:10.1109/TMI.2010.2046908.

    Examples
    --------
    >>> import numpy as np, n4ax
    >>> x = np.linspace(0, 1, 32)
    >>> brain = np.where(np.hypot(*np.meshgrid(x - 0.5, x - 0.5)) < 0.3, 200.0, 100.0)
    >>> shaded = brain * (1 + 0.3 * x)
    >>> n4ax.n4(shaded, mask="all").shape
    (32, 32)
    """
    settings = N4Settings(
        iters=iters,
        over_relax=over_relax,
        conv_threshold=conv_threshold,
        convergence=convergence,
        accelerate=accelerate,
        nbins=nbins,
        fwhm=fwhm,
        wiener=wiener,
        tiny=tiny,
        mask_label=mask_label,
        control_points=control_points,
        mesh=mesh,
        spline_order=spline_order,
        spline_distance=spline_distance,
        shrink_factor=shrink_factor,
        nonfinite=nonfinite,
        non_positive=non_positive,
        scale=scale,
        outside=outside,
        voxel_order=voxel_order,
    )

    def alone(image: Any, mask: Any, weights: Any) -> tuple[Any, ...]:
        result = fit_image(
            settings,
            image,
            mask,
            weights=weights,
            spacing=spacing,
            engine=engine,
            num_threads=num_threads,
            progress=progress,
            every_measure=False,
        )
        return (result.corrected, result.log_bias) if return_bias else (result.corrected,)

    given = (image, mask, weights)
    if any(is_traced(array) for array in given):
        from n4ax.tracing import correct_traced

        choose_engine(engine, *given)
        outputs = correct_traced(settings, given, spacing, return_bias, alone)
    else:
        outputs = alone(*given)
    return outputs if return_bias else outputs[0]


def fit(
    image: npt.ArrayLike,
    mask: npt.ArrayLike | Literal["otsu", "all"] | None = None,
    *,
    iters: Sequence[int] = (50, 50, 50, 50),
    over_relax: float = 1.0,
    conv_threshold: float = 0.001,
    convergence: Convergence = "itk",
    accelerate: bool = False,
    nbins: int = 200,
    fwhm: float = 0.15,
    wiener: float = 0.01,
    tiny: float | None = None,
    weights: npt.ArrayLike | None = None,
    mask_label: int | None = None,
    control_points: PerAxis | None = None,
    mesh: PerAxis | None = None,
    spline_order: int = 3,
    spline_distance: float | None = None,
    spacing: float | Sequence[float] | None = None,
    shrink_factor: PerAxis = 1,
    nonfinite: Nonfinite = "error",
    non_positive: NonPositive = "itk",
    scale: Scale = "itk",
    outside: Outside = "divide",
    voxel_order: VoxelOrder = "C",
    engine: EngineName | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    affine: npt.ArrayLike | None = None,
    shared_field: bool = False,
) -> Any:
    """Estimate the bias field of an image, or of several, and correct it.

    As :func:`n4`, with everything that was found: the field as a spline, which can be saved and
    applied to other images, and how the iterations went.

    Parameters
    ----------
    image : image, array, or list of such
        As for :func:`n4`; or several images of a subject.
    mask, iters, ..., progress
        As for :func:`n4`. Of several images mask and weights are for all, or a list of one each.
    affine : array of shape (4, 4), optional
        Voxel indices to mm, kept with the field for :meth:`BiasField.evaluate_at`; by default
        that of the image, if it says so.
    shared_field : bool
        Estimate one field for several images, such as the echoes of one acquisition, jointly.

    Returns
    -------
    N4Result
        Of several images a list, one for each.

    Raises
    ------
    ValueError
        The input cannot be worked with, or a parameter is out of range; the message says which.
    """
    settings = N4Settings(
        iters=iters,
        over_relax=over_relax,
        conv_threshold=conv_threshold,
        convergence=convergence,
        accelerate=accelerate,
        nbins=nbins,
        fwhm=fwhm,
        wiener=wiener,
        tiny=tiny,
        mask_label=mask_label,
        control_points=control_points,
        mesh=mesh,
        spline_order=spline_order,
        spline_distance=spline_distance,
        shrink_factor=shrink_factor,
        nonfinite=nonfinite,
        non_positive=non_positive,
        scale=scale,
        outside=outside,
        voxel_order=voxel_order,
    )
    keywords: dict[str, Any] = {
        "weights": weights,
        "spacing": spacing,
        "affine": affine,
        "engine": engine,
        "num_threads": num_threads,
        "progress": progress,
    }
    if is_several(image):
        images: Any = image
        return fit_together(settings, images, mask, shared_field=shared_field, **keywords)
    if shared_field:
        raise ValueError("shared_field is True for one image: give a list of images")
    return fit_image(settings, image, mask, **keywords)
