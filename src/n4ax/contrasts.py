"""Several images of one subject: a field for each, or one field that they share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from n4ax.errors import InputError
from n4ax.itk.space import check_same_place
from n4ax.method.problem import Problem
from n4ax.pipeline import (
    Inputs,
    PosedImage,
    Run,
    fit_image,
    make_result,
    pose_image,
)
from n4ax.result import N4Result
from n4ax.settings import N4Settings


def are_several(image: Any) -> bool:
    """Whether this is a list or tuple of images, and not of numbers."""
    return isinstance(image, list | tuple) and len(image) > 0 and all(map(_is_image, image))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _is_image(one: Any) -> bool:
    shape = one.GetSize() if hasattr(one, "GetSize") else getattr(one, "shape", ())
    return len(shape) > 1


def list_inputs(inputs: Inputs) -> list[Inputs]:
    """Make the inputs of each image of several.

    Parameters
    ----------
    inputs
        ``image`` is a list of images. ``mask`` and ``weights`` are meant for all of them, or are
        lists with one entry for each.

    Raises
    ------
    ValueError
        A list has another length than the list of images.
    """
    count = len(inputs.image)
    masks = _one_each("mask", inputs.mask, count)
    weights = _one_each("weights", inputs.weights, count)
    return [
        replace(inputs, image=image, mask=mask, weights=weight)
        for image, mask, weight in zip(inputs.image, masks, weights, strict=True)
    ]


def fit_each(settings: N4Settings, images: Sequence[Inputs], run: Run) -> list[N4Result]:
    """Estimate a field for each of several images.

    Raises
    ------
    ValueError
        N4 cannot work with an image. The message says with which one, and why.
    """
    results: list[N4Result] = []
    for number, inputs in enumerate(images):
        with _about(number):
            results.append(fit_image(settings, inputs, run))
    return results


def fit_shared(settings: N4Settings, images: Sequence[Inputs], run: Run) -> list[N4Result]:
    """Estimate one field that several images share, with the CPU engine.

    The field is fitted to what sharpening leaves of every image, and each image has a histogram of
    its own. The iterations end when the field changes little on the voxels of the first image.

    Returns
    -------
    list of N4Result
        One for each image. All have the same lattice and the same iterations.

    Raises
    ------
    ValueError
        N4 cannot work with an image, or the images do not have one grid in one place.
    """
    if run.engine == "xla":
        raise InputError('{engine} is "xla"; a shared field is estimated by the CPU engine')
    posed: list[PosedImage] = []
    for number, inputs in enumerate(images):
        with _about(number):
            posed.append(pose_image(settings, inputs, "cpu"))
    _check_one_grid(posed)
    problems: list[Problem] = [one.pose.problem for one in posed]
    from n4ax.engines.cpu.estimation import estimate

    state = estimate(problems, posed[0].settings, run.progress, run.every_measure, run.num_threads)
    return [make_result(one, state, run.num_threads) for one in posed]


@contextmanager
def _about(number: int) -> Iterator[None]:
    """Say in an error which of the images it is about."""
    try:
        yield
    except InputError as error:
        raise error.about(f"image {number}") from None
    except ValueError as error:
        raise ValueError(f"image {number}: {error}") from None


def _one_each(name: str, given: Any, count: int) -> list[Any]:
    """Give each image its mask or its weights."""
    one_each = isinstance(given, list | tuple) and all(
        item is None or isinstance(item, str) or _is_image(item)
        for item in given  # pyright: ignore[reportUnknownVariableType]
    )
    if not one_each:
        return [given] * count
    if len(given) != count:
        raise InputError(
            f"{{{name}}} has {{0}} entries for {{1}} images: give one for all, or one for each",
            len(given),
            count,
        )
    return list(given)


def _check_one_grid(images: list[PosedImage]) -> None:
    first, *others = images
    for number, other in enumerate(others, 1):
        if other.settings.voxel_order != first.settings.voxel_order:
            raise ValueError(
                f"image {number} and image 0 have their axes in another order (x first, z first): "
                "give both from one library"
            )
        if other.volume.shape != first.volume.shape:
            raise ValueError(
                f"image {number} has shape {other.volume.shape} and image 0 has shape "
                f"{first.volume.shape}: a shared field needs one grid; resample them first"
            )
        if first.space is not None and other.space is not None:
            check_same_place(f"image {number}", other.space, "image 0", first.space)
