"""Several images of one subject that share one field."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from n4ax.errors import InputError
from n4ax.itk.space import check_same_place
from n4ax.method.problem import Problem
from n4ax.pipeline import (
    Inputs,
    PosedImage,
    Run,
    make_result,
    pose_image,
)
from n4ax.result import N4Result
from n4ax.settings import N4Settings


@contextmanager
def about_image(number: int) -> Iterator[None]:
    """Say in an error which of several images it is about."""
    try:
        yield
    except InputError as error:
        raise error.about(f"image {number}") from None
    except ValueError as error:
        raise ValueError(f"image {number}: {error}") from None


def fit_shared(settings: N4Settings, images: Sequence[Inputs], run: Run) -> list[N4Result[Any]]:
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
    if settings.arithmetic == "itk":
        raise InputError(
            "{arithmetic} is 'itk', and ITK has no field that several images share: use "
            "{arithmetic:limit}, or estimate a field for each image"
        )
    posed: list[PosedImage] = []
    for number, inputs in enumerate(images):
        with about_image(number):
            posed.append(pose_image(settings, inputs, "cpu"))
    _check_one_grid(posed)
    problems: list[Problem] = [one.pose.problem for one in posed]
    from n4ax.engines.cpu.estimation import estimate

    state = estimate(problems, posed[0].settings, run.progress, run.num_threads)
    return [make_result(one, state, run.num_threads, first=posed[0]) for one in posed]


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
