"""Several images of one subject: a field for each, or one that they share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from n4ax.itk.space import check_same_place
from n4ax.pipeline import (
    N4Result,
    PosedImage,
    Progress,
    check_threads,
    finish_image,
    fit_image,
    pose_image,
    solve_on_cpu,
)
from n4ax.settings import EngineName, N4Settings


def is_several(image: Any) -> bool:
    """Whether this is a list or tuple of images, and not of numbers."""
    return isinstance(image, list | tuple) and len(image) > 0 and all(map(_is_image, image))


def _is_image(one: Any) -> bool:
    shape = one.GetSize() if hasattr(one, "GetSize") else getattr(one, "shape", ())
    return len(shape) > 1


def fit_together(
    settings: N4Settings,
    images: Sequence[Any],
    mask: Any,
    *,
    weights: Any = None,
    shared_field: bool = False,
    engine: EngineName | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> list[N4Result]:
    """Estimate the field of each of several images, or one field that they share.

    Parameters
    ----------
    settings
        The parameters of N4, for all.
    images
        Images or arrays; to share a field, of one shape and in one place.
    mask, weights
        For all images, or a list with one for each; else as for :func:`n4ax.n4`.
    shared_field
        One field, fitted to what sharpening leaves of every image, each with its own histogram.
        The iterations end when the field changes little on the voxels of the first.
    engine, num_threads, progress
        As for :func:`n4ax.n4`; a shared field is estimated by the CPU engine.
    **keywords
        Further ones of :func:`n4ax.pipeline.fit_with`.

    Returns
    -------
    list of N4Result
        One per image. With a shared field, lattice and iterations are the same for all.

    Raises
    ------
    ValueError
        An image cannot be worked with, or they cannot share a field; the message says why.
    """
    masks, confidences = (
        _each(name, given, len(images)) for name, given in (("mask", mask), ("weights", weights))
    )
    jobs = list(zip(images, masks, confidences, strict=True))
    if not shared_field:
        keywords |= {"engine": engine, "num_threads": num_threads, "progress": progress}
        results = []
        for number, (image, inside, confidence) in enumerate(jobs):
            with _about(number):
                results.append(fit_image(settings, image, inside, weights=confidence, **keywords))
        return results
    if engine == "xla":
        raise ValueError('engine is "xla"; a shared field is estimated by the CPU engine')
    spacing, affine = keywords.get("spacing"), keywords.get("affine")
    ready = []
    for number, job in enumerate(jobs):
        with _about(number):
            ready.append(pose_image(settings, *job, spacing, affine, "cpu"))
    _check_one_grid(ready)
    problems = [job.problem for job in ready]
    threads = check_threads(num_threads)
    state = solve_on_cpu(problems, ready[0].settings, threads, progress, every_measure=True)
    return [finish_image(job, state, num_threads) for job in ready]


@contextmanager
def _about(number: int) -> Iterator[None]:
    """Say on an error which of the images it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"image {number}: {error}") from None


def _each(name: str, given: Any, count: int) -> list[Any]:
    """One for each image."""
    one_each = isinstance(given, list | tuple) and all(
        item is None or isinstance(item, str) or _is_image(item) for item in given
    )
    if not one_each:
        return [given] * count
    if len(given) != count:
        raise ValueError(f"{name} has {len(given)} entries for {count} images: give one, or each")
    return list(given)


def _check_one_grid(jobs: list[PosedImage]) -> None:
    first, *others = jobs
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
