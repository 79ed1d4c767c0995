"""Transforms of TorchIO and MONAI, which read a file themselves."""

import warnings
from typing import Any

import numpy as np

from reliability.differential.given import Given, InapplicableError, check_same


def transform_by_torchio(given: Given) -> None:
    """A subject with an image and a label map."""
    import torchio as tio

    from n4ax.torchio import N4BiasFieldCorrection

    paths = check_applicable(given)
    subject = tio.Subject(image=tio.ScalarImage(paths["image"]))
    if "mask" in paths:
        subject.add_image(tio.LabelMap(paths["mask"]), "brain")
    mask = "brain" if "mask" in paths else given.mask
    found = N4BiasFieldCorrection(mask=mask, **given.problem.keywords)(subject).image
    check_same({"corrected": found.numpy()[0]}, given.of_singles)


def transform_by_monai(given: Given) -> None:
    """A dictionary of MONAI's images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.transforms import LoadImage  # type: ignore[attr-defined]

    from n4ax.monai import N4BiasFieldCorrection

    paths = check_applicable(given)
    load = LoadImage(ensure_channel_first=True)
    mask: Any = load(str(paths["mask"])) if "mask" in paths else None
    word = None if "mask" in paths else given.mask
    correct = N4BiasFieldCorrection(word, **given.problem.keywords)
    found = correct(load(str(paths["image"])), mask)
    check_same({"corrected": found.numpy()[0]}, given.of_singles)


def check_applicable(given: Given) -> dict[str, Any]:
    """The files of a volume that the transforms take: they have no weights.

    Raises
    ------
    InapplicableError
        The problem has weights, is a plane, or has Otsu's mask of a type that the reader changes.
    """
    problem = given.problem
    if problem.ndim != 3 or problem.weights is not None or given.uses_otsu:
        raise InapplicableError
    if problem.voxels.dtype.kind != "f" or problem.voxels.dtype == np.float64:
        raise InapplicableError  # each reader has types of its own
    return dict(given.paths)


DOORS = (transform_by_torchio, transform_by_monai)
