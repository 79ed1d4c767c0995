"""Several images of one subject that share one field."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from n4ax.engines.choice import choose_engine, double_precision
from n4ax.errors import InputError
from n4ax.inputs import Inputs, Run
from n4ax.itk.space import check_same_place
from n4ax.pipeline import PosedImage, make_result, pose_image, solve_shared
from n4ax.result import N4Result
from n4ax.settings import N4Settings


@contextmanager
def about_image(name: int | str) -> Iterator[None]:
    """Say in an error which of several images it is about, by its number or by a name."""
    subject = f"image {name}" if isinstance(name, int) else name
    try:
        yield
    except InputError as error:
        raise error.about(subject) from None
    except ValueError as error:
        raise ValueError(f"{subject}: {error}") from None


def fit_shared(
    settings: N4Settings, images: Sequence[Inputs], run: Run, names: Sequence[str] | None = None
) -> list[N4Result[Any]]:
    """Estimate one field that several images share.

    The field is fitted to what sharpening leaves of every image, and each image has a histogram of
    its own. The iterations end when the field changes little on the voxels of the first image.

    Parameters
    ----------
    settings, images, run
        As for :func:`n4ax.pipeline.fit_image`. An array on an accelerator lets the XLA engine
        work on all images.
    names
        What errors call the images; ``None`` numbers them from 0.

    Returns
    -------
    list of N4Result
        One for each image. All have the same lattice and the same iterations.

    Raises
    ------
    ValueError
        N4 cannot work with an image, or the images do not have one grid in one place.
    """
    if settings.arithmetic == "itk":
        raise InputError(
            "{arithmetic} is 'itk', and ITK has no field that several images share: use "
            "{arithmetic:limit}, or estimate a field for each image"
        )
    arrays: list[Any] = []
    for inputs in images:
        inputs.check_not_traced()
        arrays += [inputs.image, inputs.mask, inputs.weights]
    engine = choose_engine(run.engine, *arrays, settings=settings)
    names = names or [f"image {number}" for number in range(len(images))]
    posed: list[PosedImage] = []
    for name, inputs in zip(names, images, strict=True):
        with about_image(name):
            posed.append(pose_image(settings, inputs, engine, num_threads=run.num_threads))
    _check_one_grid(posed, names)
    with double_precision(engine):
        state = solve_shared(posed, run)
        return [make_result(one, state, run.num_threads, first=posed[0]) for one in posed]


def _check_one_grid(images: Sequence[PosedImage], names: Sequence[str]) -> None:
    first, *others = images
    for name, other in zip(names[1:], others, strict=True):
        if other.settings.voxel_order != first.settings.voxel_order:
            raise ValueError(
                f"{name} and {names[0]} have their axes in another order (x first, z first): "
                "give both from one library"
            )
        if other.volume.shape != first.volume.shape:
            raise ValueError(
                f"{name} has shape {other.volume.shape} and {names[0]} has shape "
                f"{first.volume.shape}: a shared field needs one grid; resample them first"
            )
        if first.space is not None and other.space is not None:
            check_same_place(name, other.space, names[0], first.space)
