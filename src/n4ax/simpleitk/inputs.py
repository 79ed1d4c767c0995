"""Images of SimpleITK as the inputs of N4, checked as SimpleITK checks them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from n4ax.images.libraries import OpenedImage, open_image
from n4ax.inputs import Inputs
from n4ax.itk.space import Space, Spaces

_MOST_LISTED = 8
"""The labels of a mask that an error message lists at most, so that the message stays short."""

_LABELS = range(256)
"""What ``SetMaskLabel`` accepts."""


def open_inputs(image: Any, mask: Any, weights: Any) -> Inputs:
    """Copy an image, its mask and its weights to arrays with axes x, y, z.

    Parameters
    ----------
    image : SimpleITK.Image
        One real number per voxel.
    mask, weights : SimpleITK.Image, array with axes z, y, x, or None
        Both must have the size of the image and lie where it does.

    Raises
    ------
    TypeError
        An argument is not an image.
    ValueError
        An image does not have one real number per voxel.
    RuntimeError
        Mask or weights have another size than the image or lie elsewhere.
    """
    check_is_image("image", image)
    opened = open_image(image, "image")
    region = None if mask is None else _open_beside(opened, "maskImage", mask)
    confidence = None if weights is None else _open_beside(opened, "weights", weights)
    return Inputs(
        opened.voxels,
        "all" if region is None else region.voxels,
        None if confidence is None else confidence.voxels,
        Spaces(_space(opened), _space(region or opened), _space(confidence or opened)),
    )


def check_is_image(name: str, given: Any) -> None:
    """Refuse an argument that is not an image of SimpleITK.

    Raises
    ------
    TypeError
        It is not.
    """
    if not isinstance(given, sitk.Image):
        raise TypeError(
            f"{name} is of type {type(given).__name__}; expected a SimpleITK.Image (n4ax.n4 takes "
            "arrays and the images of other libraries)"
        )


def check_mask_label(mask: npt.NDArray[Any], label: int) -> None:
    """Refuse a mask without the label, and say which labels it has.

    Raises
    ------
    RuntimeError
        No voxel of the mask equals the label.
    """
    if (mask == label).any():
        return
    found = np.unique(mask)
    others = found[found != 0]
    advice = ": to use all voxels that are not 0, call UseMaskLabelOff()" if len(others) else ""
    if len(others) == 1 and others[0] in _LABELS:
        advice += f"; to use those that are {others[0]:g}, call SetMaskLabel({others[0]:g})"
    values = ", ".join(f"{value:g}" for value in found[:_MOST_LISTED])
    raise RuntimeError(
        f"maskImage has no voxel equal to MaskLabel {label} (found: {values}){advice}"
    )


def _open_beside(image: OpenedImage, name: str, given: Any) -> OpenedImage:
    """Open a mask or weights, which must lie where the image does; an array has no place."""
    if isinstance(given, np.ndarray):
        opened = OpenedImage(given.copy().T, image.space)
    else:
        check_is_image(name, given)
        opened = open_image(given, name)
    if opened.voxels.shape != image.voxels.shape:
        raise RuntimeError(
            f"{name} has size {opened.voxels.shape} and image has size {image.voxels.shape}; "
            "expected the same size"
        )
    difference = _describe_difference(_space(image), _space(opened))
    if difference is not None:
        raise RuntimeError(
            f"image and {name} do not occupy the same physical space: {difference}. Resample one "
            f"onto the other; or, if only the header of {name} is wrong, copy the header: "
            f"{name}.CopyInformation(image)"
        )
    return opened


def _space(opened: OpenedImage) -> Space:
    assert opened.space is not None  # images of SimpleITK always have one
    return opened.space


def _describe_difference(image: Space, other: Space) -> str | None:
    """What differs by more than the tolerances of SimpleITK, in words."""
    for kind, compared in (
        ("Coordinate", Space(other.spacing, other.origin, image.direction)),
        ("Direction", Space(image.spacing, image.origin, other.direction)),
    ):
        tolerance = getattr(sitk.ProcessObject, f"GetGlobalDefault{kind}Tolerance")()
        difference = image.describe_difference(compared, tolerance)
        if difference is not None:
            return (
                f"{difference}; the tolerance is {tolerance:g} "
                f"(SimpleITK.ProcessObject.SetGlobalDefault{kind}Tolerance)"
            )
    return None
