"""Many images at once: :func:`n4_batch`."""

import os
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar, Unpack, overload

import numpy as np
import numpy.typing as npt

from n4ax.api.calls import BatchKeywords, choose_mask, choose_settings, list_parameters
from n4ax.batch import correct_each, correct_on_all_devices, one_per_image, stack_like
from n4ax.contrasts import about_image
from n4ax.engines.choice import choose_engine
from n4ax.errors import InputError
from n4ax.images.arguments import take_image, take_mask, take_weights
from n4ax.inputs import Inputs, Run
from n4ax.series import check_volumes
from n4ax.settings import EngineName, N4Keywords, N4Settings, Preset

Image = TypeVar("Image")
Array = npt.NDArray[np.floating[Any]]


@overload
def n4_batch(
    images: npt.NDArray[Any], masks: object = ..., **keywords: Unpack[BatchKeywords]
) -> Array: ...
@overload
def n4_batch(
    images: list[Image] | tuple[Image, ...], masks: object = ..., **keywords: Unpack[BatchKeywords]
) -> list[Image]: ...
@overload
def n4_batch(images: Image, masks: object = ..., **keywords: Unpack[BatchKeywords]) -> Image: ...


@list_parameters
def n4_batch(
    images: Any,
    masks: Any = None,
    *,
    settings: N4Settings | None = None,
    preset: Preset | None = None,
    weights: Any = None,
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
    images : array or sequence of images
        Images stacked along the first axis, or a sequence of images, arrays or paths, which may
        differ in shape.
    masks : array or sequence of masks, "otsu" or "all", optional
        One mask for each image, stacked or in a sequence; otherwise as for :func:`n4`.
    settings, preset
        As for :func:`n4`, without ``preset="auto"``: all images have the same settings.
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
    chosen = choose_settings(settings, preset, parameters)
    chosen.check_chosen("a batch")
    run = Run(engine, num_threads)
    single = [take_image(f"image {k}", image) for k, image in enumerate(_list_images(images))]
    if not single and hasattr(images, "dtype"):
        raise InputError("{images} has shape {0}; expected at least one image", images.shape)
    masks = choose_mask(masks, preset)
    each_mask = [take_mask(mask) for mask in one_per_image("masks", masks, len(single))]
    each_weight = [take_weights(one) for one in one_per_image("weights", weights, len(single))]
    inputs = [
        Inputs(image, mask, weight, spacing)
        for image, mask, weight in zip(single, each_mask, each_weight, strict=True)
    ]
    for number, one in enumerate(inputs):
        with about_image(number):
            check_volumes(chosen, one, None)
    given = (*single, *each_mask, *each_weight)
    if choose_engine(engine, *given, settings=chosen) == "xla":
        corrected = correct_on_all_devices(chosen, inputs)
    else:
        corrected = correct_each(chosen, inputs, replace(run, engine="cpu"))
    return stack_like(images, corrected)


def _list_images(images: Any) -> list[Any]:
    """List the images of a batch.

    Raises
    ------
    TypeError
        This is no batch of images.
    """
    if not isinstance(images, str | bytes | bytearray | os.PathLike | Mapping | Set):
        with suppress(TypeError):
            return list(images)
    raise TypeError(
        f"images is of type {type(images).__name__}; expected a list of images or an array of "  # pyright: ignore[reportUnknownArgumentType]
        "images stacked along the first axis"
    )
