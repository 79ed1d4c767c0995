"""One image, or several one by one: :func:`n4`, and :func:`fit` for everything that is found."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import numpy as np
import numpy.typing as npt

from n4ax.api.calls import (
    CallKeywords,
    choose_mask,
    choose_settings,
    list_parameters,
    take_all,
    take_series,
)
from n4ax.contrasts import about_image, fit_shared
from n4ax.errors import InputError
from n4ax.field import BiasField
from n4ax.inputs import Inputs, Run
from n4ax.method.solver import Progress
from n4ax.pipeline import fit_image
from n4ax.result import N4Result
from n4ax.series import Estimate, Series, correct_series
from n4ax.settings import EngineName, N4Keywords, N4Settings, Preset

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

Image = TypeVar("Image")
ImagePath = str | os.PathLike[str]
Array = npt.NDArray[np.floating[Any]]
"""float64 for a float64 image, and float32 for any other."""


@overload
def n4(
    image: ImagePath,
    mask: object = ...,
    *,
    return_bias: Literal[False] = ...,
    **keywords: Unpack[CallKeywords],
) -> "Nifti1Image": ...
@overload
def n4(
    image: ImagePath,
    mask: object = ...,
    *,
    return_bias: Literal[True],
    **keywords: Unpack[CallKeywords],
) -> tuple["Nifti1Image", "Nifti1Image"]: ...
@overload
def n4(
    image: npt.NDArray[Any],
    mask: object = ...,
    *,
    return_bias: Literal[False] = ...,
    **keywords: Unpack[CallKeywords],
) -> Array: ...
@overload
def n4(
    image: npt.NDArray[Any],
    mask: object = ...,
    *,
    return_bias: Literal[True],
    **keywords: Unpack[CallKeywords],
) -> tuple[Array, npt.NDArray[np.float32]]: ...
@overload
def n4(
    image: list[Image] | tuple[Image, ...],
    mask: object = ...,
    *,
    return_bias: Literal[False] = ...,
    **keywords: Unpack[CallKeywords],
) -> list[Image]: ...
@overload
def n4(
    image: list[Image] | tuple[Image, ...],
    mask: object = ...,
    *,
    return_bias: Literal[True],
    **keywords: Unpack[CallKeywords],
) -> tuple[list[Image], list[Image]]: ...
@overload
def n4(
    image: Image,
    mask: object = ...,
    *,
    return_bias: Literal[False] = ...,
    **keywords: Unpack[CallKeywords],
) -> Image: ...
@overload
def n4(
    image: Image,
    mask: object = ...,
    *,
    return_bias: Literal[True],
    **keywords: Unpack[CallKeywords],
) -> tuple[Image, Image]: ...
@list_parameters
def n4(
    image: Any,
    mask: Any = None,
    *,
    settings: N4Settings | None = None,
    preset: Preset | None = None,
    weights: Any = None,
    spacing: float | Sequence[float] | None = None,
    series: Series | Sequence[int] | None = None,
    init: BiasField | str | os.PathLike[str] | None = None,
    tissues: Any = None,
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
    image : image, array, path, or list of them
        Intensities, with 2 or 3 axes longer than 1 (or 4: see ``series``) and any real dtype. It
        can be an array of NumPy, JAX or torch, or of any other library that knows DLPack; an image
        of nibabel, SimpleITK or ANTsPy, which brings its voxel size and whose axes are x, y, z;
        the path of an image file, which nibabel reads; an ``xarray.DataArray``; or a dask or zarr
        array, of which the estimation reads only the samples. Voxels that a masked array of NumPy
        masks are left out of the estimation. Of a list, each image is corrected by itself.
    mask : like image, "otsu" or "all", optional
        Voxels to estimate the field on, in the image's shape. A voxel is inside where the mask is
        not 0, or equals ``mask_label``; a mask with values between 0 and 1 is refused. ``"all"``
        is the whole image. The default is ``"otsu"``: :func:`otsu_mask` of the image (for dask and
        zarr arrays, of the samples). With ``preset="ants"`` and ``"antspy"`` it is ``"all"``. For
        a list of images it is meant for all of them, or is a list with one for each.
    settings : N4Settings, optional
        All parameters at once; those that are given besides replace the ones in it.
    preset : "simpleitk", "ants", "antspy", "fast" or "auto", optional
        The settings that :class:`N4Settings` has a method of that name for, likewise. ``"auto"``
        chooses them for the image.
    weights : array, optional
        Confidence of each voxel in the fit, in the image's shape. A voxel that is not above 0 is
        left out.
    spacing : float or one per axis, optional
        Voxel size in mm. The default is that of the image, if the image says so.
    series : "mean", "first", "each", "b0", "4d", int or several int, optional
        What the field of a series of volumes is estimated on: the mean of all volumes, the first
        one, the volume of a number (from 0), or the mean of several. All volumes are divided by
        that field. With ``"each"`` every volume has a field of its own. ``"b0"`` is for the path
        of an image with a ``.bval`` file beside it: the mean of the volumes of a b-value up to
        50 s/mm². ``"4d"`` fits one field that varies smoothly in space and time. A series has a
        fourth axis of space and time: the last one if the first axis is x (images), else the
        first. A mask has the shape of one volume, but with ``"4d"`` that of the series.
    init : BiasField or path, optional
        A field to start from, such as that of an earlier run, or the path of a saved one. N4 works
        on the image divided by it, mask and histogram included, and what it finds is added: the
        field of the result is the whole one, and so is the correction. A field of another grid is
        taken where the voxels lie in space if both images say so, and stretched over the image if
        not. All images of a list and all volumes of a series start from the same field.
    tissues : image, array or path, or list of them, optional
        Where tissues are, in the image's shape: one image of labels, such as a segmentation by
        FreeSurfer, or several maps of probabilities. The two largest tissues count.
        ``preset="auto"`` chooses by them; without them it goes by how strong the shading is. The
        verdict measures how even they become. For a list of images, a list with one entry for
        each.
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
          ``over_relax=1.0``, ``accelerate=False``, ``adapt=False``: levels, iterations and when a
          level ends, and whether they are chosen for the image.
        - ``control_points``, ``mesh``, ``spline_distance`` (mm; needs ``spacing``),
          ``spline_order=3``: the mesh of the B-spline.
        - ``nbins=200``, ``fwhm=0.15``, ``wiener=0.01``: the sharpening of the histogram.
        - ``shrink_factor=1``, ``mask_label``, ``nonfinite="error"``, ``non_positive="itk"``,
          ``tiny``: which voxels are used, and how.
        - ``scale="itk"``, ``outside="divide"``: the level of the result, and its outside.
        - ``voxel_order="C"``: for arrays, which axis is ITK's x: the last
          (``SimpleITK.GetImageFromArray``), or with ``"F"`` the first (arrays that nibabel reads
          from NIfTI files). It is never guessed from the memory layout. Images know theirs.
        - ``arithmetic="limit"``, ``itk_version=5``, ``itk_threads``, ``itk_tool="simpleitk"``,
          ``itk_work_units``: whether the result is that of ITK to the last bit, and of which ITK.

    Returns
    -------
    corrected : like image
        ``image / exp(log_bias)``, in the image's shape; float64 for a float64 image and float32
        otherwise. It has the image's library, place and device: JAX arrays for JAX arrays, tensors
        for tensors, images with their header for images. A dask or zarr array gives a dask array,
        which is divided block by block when it is computed. Anything else gives a NumPy array.
        For a list of images, a list.
    log_bias : like image
        Only with ``return_bias``: the log bias field in the image's shape, float32; for a series
        with one field, in the shape of one volume.

    Raises
    ------
    ValueError
        N4 cannot work with the input, or a parameter is out of its range. The message says which.
    TypeError
        A parameter is unknown, or something that is no image is given for one.
    OSError
        There is no such file.

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
    chosen = choose_settings(settings, preset, parameters)
    run = Run(engine, num_threads, progress)
    inputs = take_all(
        image, choose_mask(mask, preset), weights, spacing, init=init, tissues=tissues
    )
    if not isinstance(inputs, list):
        estimate = take_series(series, image, chosen, inputs)
        return _correct_one(chosen, inputs, run, estimate, return_bias)
    corrected: list[Any] = []
    for number, (one, given) in enumerate(zip(inputs, image, strict=True)):
        with about_image(number):
            estimate = take_series(series, given, chosen, one)
            corrected.append(_correct_one(chosen, one, run, estimate, return_bias))
    return tuple(map(list, zip(*corrected, strict=True))) if return_bias else corrected


def _correct_one(
    settings: N4Settings, inputs: Inputs, run: Run, estimate: Estimate | None, return_bias: bool
) -> Any:
    """Correct one image, or one series by what its field is estimated on."""
    if inputs.are_traced:
        from n4ax.tracing import correct_traced

        outputs = correct_traced(settings, inputs, run, return_bias)
        return outputs if return_bias else outputs[0]
    if estimate is None:
        found = fit_image(settings, inputs, run)
    else:
        found = correct_series(settings, inputs, estimate, run)
    return (found.corrected, found.log_bias) if return_bias else found.corrected


@overload
def fit(
    image: ImagePath,
    mask: object = ...,
    *,
    affine: npt.ArrayLike | None = ...,
    shared_field: Literal[False] = ...,
    **keywords: Unpack[CallKeywords],
) -> "N4Result[Nifti1Image]": ...
@overload
def fit(
    image: npt.NDArray[Any],
    mask: object = ...,
    *,
    affine: npt.ArrayLike | None = ...,
    shared_field: Literal[False] = ...,
    **keywords: Unpack[CallKeywords],
) -> N4Result[Array]: ...
@overload
def fit(  # pyright: ignore[reportOverlappingOverload] - a list is an Image as well
    image: list[Image] | tuple[Image, ...],
    mask: object = ...,
    *,
    affine: npt.ArrayLike | None = ...,
    shared_field: bool = ...,
    **keywords: Unpack[CallKeywords],
) -> list[N4Result[Image]]: ...
@overload
def fit(
    image: Image,
    mask: object = ...,
    *,
    affine: npt.ArrayLike | None = ...,
    shared_field: Literal[False] = ...,
    **keywords: Unpack[CallKeywords],
) -> N4Result[Image]: ...


@list_parameters
def fit(
    image: Any,
    mask: Any = None,
    *,
    settings: N4Settings | None = None,
    preset: Preset | None = None,
    weights: Any = None,
    spacing: float | Sequence[float] | None = None,
    series: Series | Sequence[int] | None = None,
    init: BiasField | str | os.PathLike[str] | None = None,
    tissues: Any = None,
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
    image : image, array, path, or list of them
        As for :func:`n4`.
    mask, settings, preset, weights, spacing, series, init, tissues
        As for :func:`n4`.
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
        For several images, a list with one result for each; for a series with ``"each"``, a list
        with one result for each volume.

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
    chosen = choose_settings(settings, preset, parameters)
    run = Run(engine, num_threads, progress)
    others = {"init": init, "tissues": tissues, "shared_field": shared_field}
    inputs = take_all(image, choose_mask(mask, preset), weights, spacing, affine, **others)
    if shared_field and series is not None:
        raise InputError("{shared_field} is True, which works for volumes only: leave out {series}")
    if not isinstance(inputs, list):
        if shared_field:
            raise InputError("{shared_field} is True for a single image: give a list of images")
        return _fit_one(chosen, inputs, run, take_series(series, image, chosen, inputs))
    each: list[Estimate | None] = []
    for number, (one, given) in enumerate(zip(inputs, image, strict=True)):
        with about_image(number):
            each.append(take_series(series, given, chosen, one))
    if shared_field:
        return fit_shared(chosen, inputs, run)
    results: list[Any] = []
    for number, (one, estimate) in enumerate(zip(inputs, each, strict=True)):
        with about_image(number):
            results.append(_fit_one(chosen, one, run, estimate))
    return results


def _fit_one(settings: N4Settings, inputs: Inputs, run: Run, estimate: Estimate | None) -> Any:
    """Estimate the field of one image, or of one series; a list if each volume has its own."""
    if estimate is None:
        return fit_image(settings, inputs, run)
    found = correct_series(settings, inputs, estimate, run)
    return found.results if estimate == "each" else found.results[0].of_series(found.corrected)
