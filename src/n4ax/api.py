"""The Python interface: :func:`n4`, :func:`fit` for everything that is found, :func:`n4_batch`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Literal, TypeVar, Unpack

import numpy.typing as npt

from n4ax.batch import correct_each, correct_on_all_devices, one_per_image, stack_like
from n4ax.contrasts import are_several, fit_each, fit_shared, list_inputs
from n4ax.engines.choice import choose_engine
from n4ax.errors import InputError
from n4ax.method.solver import Progress
from n4ax.pipeline import Inputs, Run, fit_image
from n4ax.settings import EngineName, N4Keywords, N4Settings

Function = TypeVar("Function", bound=Callable[..., Any])


def _list_parameters(function: Function) -> Function:
    """Show every parameter of N4Settings, with its default, in the signature of a function."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    further = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=N4Keywords.__annotations__[field.name],
        )
        for field in fields(N4Settings)
    ]
    setattr(function, "__signature__", signature.replace(parameters=[*own, *further]))  # noqa: B010
    return function


@_list_parameters
def n4(
    image: npt.ArrayLike,
    mask: npt.ArrayLike | Literal["otsu", "all"] | None = None,
    *,
    weights: npt.ArrayLike | None = None,
    spacing: float | Sequence[float] | None = None,
    engine: EngineName | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    return_bias: bool = False,
    **parameters: Unpack[N4Keywords],
) -> Any:
    """Correct the bias field of an image (N4, Tustison et al. 2010).

    The defaults are SimpleITK's, and so are the numbers.

    Parameters
    ----------
    image : image or array
        Intensities, with 2, 3 or 4 axes longer than 1 and any real dtype. It can be an array of
        NumPy, JAX or torch, or of any other library that knows DLPack; an image of nibabel,
        SimpleITK or ANTsPy, which brings its voxel size and whose axes are x, y, z; an
        ``xarray.DataArray``; or a dask or zarr array, of which the estimation reads only the
        samples.
    mask : like image, "otsu" or "all", optional
        Voxels to estimate the field on, in the image's shape. A voxel is inside where the mask is
        not 0, or equals ``mask_label``. ``"all"`` is the whole image. The default is the same as
        ``"otsu"``: :func:`otsu_mask` of the image (for dask and zarr arrays, of the samples).
    weights : array, optional
        Confidence of each voxel in the fit, in the image's shape. A voxel that is not above 0 is
        left out.
    spacing : float or one per axis, optional
        Voxel size in mm. The default is that of the image, if the image says so.
    engine : "cpu", "xla" or None
        The compiled CPU engine, or XLA on any device that JAX has. ``None`` chooses XLA if an
        array is on an accelerator or JAX has a GPU, and the CPU engine otherwise.
    num_threads : int, optional
        Number of threads of the CPU engine. The default is the number of processors that the
        process may use, at most 16. The result does not depend on it.
    progress : callable, optional
        Called after every iteration with the level (from 0), the iteration (from 1), the most
        iterations of that level, and the convergence measure.
    return_bias : bool
        Also return the log bias field.
    **parameters
        The parameters of :class:`N4Settings`, which explains each of them:

        - ``iters=(50, 50, 50, 50)``, ``conv_threshold=0.001``, ``convergence="itk"``,
          ``over_relax=1.0``, ``accelerate=False``: levels, iterations and when a level ends.
        - ``control_points``, ``mesh``, ``spline_distance`` (mm; needs ``spacing``),
          ``spline_order=3``: the mesh of the B-spline.
        - ``nbins=200``, ``fwhm=0.15``, ``wiener=0.01``: the sharpening of the histogram.
        - ``shrink_factor=1``, ``mask_label``, ``nonfinite="error"``, ``non_positive="itk"``,
          ``tiny``: which voxels are used, and how.
        - ``scale="itk"``, ``outside="divide"``: the level of the result, and its outside.
        - ``voxel_order="C"``: for arrays, which axis is ITK's x: the last
          (``SimpleITK.GetImageFromArray``), or with ``"F"`` the first (arrays that nibabel reads
          from NIfTI files). It is never guessed from the memory layout. Images know theirs.

    Returns
    -------
    corrected : like image
        ``image / exp(log_bias)``, in the image's shape; float64 for a float64 image and float32
        otherwise. It has the image's library, place and device: JAX arrays for JAX arrays, tensors
        for tensors, images with their header for images. A dask or zarr array gives a dask array,
        which is divided block by block when it is computed. Anything else gives a NumPy array.
    log_bias : like image
        Only with ``return_bias``: the log bias field in the image's shape, float32.

    Raises
    ------
    ValueError
        N4 cannot work with the input, or a parameter is out of its range. The message says which.
    TypeError
        A parameter is unknown.

    Notes
    -----
    The time grows with the number of voxels in the mask and the number of iterations. With the
    default policies, the memory stays under three times the float32 volume (with the XLA engine,
    under eight times its masked part). With the defaults nothing is rescaled: the level of the
    field is that of ITK's.

    Image, mask and weights may be traced by JAX, inside ``jax.jit`` and under ``jax.vmap``. Inside
    ``jit`` nothing about their values is checked, and the whole volume is worked on rather than
    its masked part. The field has no derivative.

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
    settings = N4Settings(**parameters)
    inputs = Inputs(image, mask, weights, spacing)
    run = Run(engine, num_threads, progress)
    if inputs.are_traced:
        from n4ax.tracing import correct_traced

        outputs = correct_traced(settings, inputs, run, return_bias)
        return outputs if return_bias else outputs[0]
    result = fit_image(settings, inputs, run)
    return (result.corrected, result.log_bias) if return_bias else result.corrected


@_list_parameters
def fit(
    image: npt.ArrayLike,
    mask: npt.ArrayLike | Literal["otsu", "all"] | None = None,
    *,
    weights: npt.ArrayLike | None = None,
    spacing: float | Sequence[float] | None = None,
    affine: npt.ArrayLike | None = None,
    shared_field: bool = False,
    engine: EngineName | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    **parameters: Unpack[N4Keywords],
) -> Any:
    """Estimate the bias field of an image, or of several images, and correct it.

    This does the same as :func:`n4` and gives everything that was found: the field as a spline,
    which can be saved and applied to other images, and how the iterations went.

    Parameters
    ----------
    image : image, array, or list of them
        As for :func:`n4`; or several images of one subject.
    mask, weights, spacing
        As for :func:`n4`. For several images, mask and weights are meant for all of them, or are
        lists with one for each.
    affine : array of shape (4, 4), optional
        Voxel indices to mm, kept with the field for :meth:`BiasField.evaluate_at`. The default is
        that of the image, if the image says so.
    shared_field : bool
        Estimate one field jointly for several images, such as the echoes of one acquisition.
    engine, num_threads, progress, **parameters
        As for :func:`n4`.

    Returns
    -------
    N4Result
        For several images, a list with one result for each.

    Raises
    ------
    ValueError
        N4 cannot work with the input, or a parameter is out of its range. The message says which.
    TypeError
        A parameter is unknown.

    Examples
    --------
    >>> import numpy as np, n4ax
    >>> image = np.random.default_rng(0).gamma(3, 40, (16, 16))
    >>> result = n4ax.fit(image, mask="all", iters=(3, 2), conv_threshold=0)
    >>> result.iterations
    [3, 2]
    """
    settings = N4Settings(**parameters)
    inputs = Inputs(image, mask, weights, spacing, affine)
    run = Run(engine, num_threads, progress, every_measure=True)
    if are_several(image):
        several = list_inputs(inputs)
        fit_several = fit_shared if shared_field else fit_each
        return fit_several(settings, several, run)
    if shared_field:
        raise InputError("{shared_field} is True for a single image: give a list of images")
    return fit_image(settings, inputs, run)


@_list_parameters
def n4_batch(
    images: npt.ArrayLike | Sequence[npt.ArrayLike],
    masks: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    *,
    weights: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    spacing: float | Sequence[float] | None = None,
    engine: EngineName | None = None,
    num_threads: int | None = None,
    **parameters: Unpack[N4Keywords],
) -> Any:
    """Correct the bias fields of many images, spread over all devices that JAX has.

    Every image is corrected as :func:`n4` corrects it alone, to the last bit. With the XLA engine,
    images with masks of similar extent go through one program, and each device works on a part of
    them. The CPU engine takes one image after the other.

    Parameters
    ----------
    images : array or sequence of arrays
        Images stacked along the first axis, or a sequence of images, which may differ in shape.
    masks : array or sequence of arrays, "otsu" or "all", optional
        One mask for each image, stacked or in a sequence; otherwise as for :func:`n4`.
    weights : array or sequence of arrays, optional
        Confidence of each voxel in the fit, for each image.
    spacing : float or one per axis, optional
        Voxel size of all images in mm.
    engine : "cpu", "xla" or None
        As for :func:`n4`.
    num_threads : int, optional
        Number of threads of the CPU engine.
    **parameters
        The parameters of :class:`N4Settings`, for all images.

    Returns
    -------
    array or list of arrays
        The corrected images, in the library of the input; stacked if the images were stacked.

    Raises
    ------
    ValueError
        N4 cannot work with an image, or a parameter is out of its range. The message says which.
    TypeError
        A parameter is unknown.

    Examples
    --------
    >>> import numpy as np, n4ax
    >>> images = np.random.default_rng(0).gamma(3, 40, (2, 16, 16))
    >>> n4ax.n4_batch(images, "all", iters=(3,)).shape
    (2, 16, 16)
    """
    settings = N4Settings(**parameters)
    single: list[Any] = list(images)  # type: ignore[arg-type]
    each_mask = one_per_image("masks", masks, len(single))
    each_weight = one_per_image("weights", weights, len(single))
    chosen = choose_engine(engine, *single, *each_mask, *each_weight)
    inputs = [
        Inputs(image, mask, weight, spacing)
        for image, mask, weight in zip(single, each_mask, each_weight, strict=True)
    ]
    if chosen == "xla":
        corrected = correct_on_all_devices(settings, inputs)
    else:
        corrected = correct_each(settings, inputs, Run(chosen, num_threads))
    return stack_like(images, corrected)
