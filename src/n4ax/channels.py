"""N4 for tensors with a channel axis, shared by the transforms of TorchIO and MONAI.

Requires torch, which both libraries install.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import get_worker_info

from n4ax.engines.choice import check_threads
from n4ax.errors import InputError
from n4ax.field import BiasField
from n4ax.inputs import Inputs, Run
from n4ax.itk.space import Space, Spaces, check_same_place
from n4ax.pipeline import fit_image
from n4ax.result import N4Result
from n4ax.settings import EngineName, N4Settings, is_choice

Mask = torch.Tensor | str | None
"""A tensor with the shape of the image or with one channel, ``"otsu"`` (as is None), ``"all"``."""

MaskFunction = Callable[[torch.Tensor], torch.Tensor]
"""Makes the mask of an image; both have a channel axis."""

Spacing = float | Sequence[float] | Space | None
"""The voxel size in mm, or the place of the image in space."""


class SharedField(NamedTuple):
    """The field of one image, to be applied to other images on the same grid.

    Attributes
    ----------
    field
        The bias field.
    inside
        The mask that the field was estimated in, bool, without a channel axis; ``None`` if the
        correction does not depend on it.
    """

    field: BiasField
    inside: torch.Tensor | None


@dataclass(frozen=True)
class Corrector:
    """N4 for tensors of shape (C, ...): one field for each channel, or one for all of them.

    Attributes
    ----------
    settings
        The parameters of N4.
    engine
        ``"cpu"`` computes on the host, even for a tensor on a GPU; ``"xla"`` on JAX's device.
    num_threads
        Threads of the CPU engine. ``None`` uses one in a worker of a ``DataLoader``, and n4ax's
        default elsewhere.

    Raises
    ------
    ValueError
        The engine is unknown, or the number of threads is not a whole number of at least 1.
    """

    settings: N4Settings
    engine: EngineName = "cpu"
    num_threads: int | None = None

    def __post_init__(self) -> None:
        # This does not look for a GPU, because JAX would then start on it in every worker.
        if not is_choice(self.engine, ("cpu", "xla")):
            raise InputError("{engine} is {0!r}; expected 'cpu' or 'xla'", self.engine)
        check_threads(self.num_threads)

    def correct(self, image: torch.Tensor, mask: Mask, spacing: Spacing) -> torch.Tensor:
        """Correct each channel of an image of shape (C, ...) by a field of its own.

        Raises
        ------
        ValueError
            A channel cannot be corrected; if there are several, a note on the error says which.
        """
        image = self._prepare(image)
        masks = self._split_mask(mask, image)
        channels = []
        for number, (channel, channel_mask) in enumerate(zip(image, masks, strict=True)):
            with note_subject(f"channel {number}" if len(image) > 1 else None):
                channels.append(self._fit(channel, channel_mask, spacing).corrected)
        return torch.stack(channels)

    def estimate_shared_field(
        self, image: torch.Tensor, mask: Mask, spacing: Spacing
    ) -> SharedField:
        """Estimate the field of an image with one channel.

        Raises
        ------
        ValueError
            The image has several channels, or cannot be used.
        """
        if len(image) != 1:
            raise InputError(
                "image has {0} channels; a shared field needs an image with one channel",
                len(image),
            )
        image = self._prepare(image)
        (mask,) = self._split_mask(mask, image)
        result = self._fit(image[0], mask, spacing)
        needed = self.settings.outside != "divide"
        return SharedField(result.field, result.mask if needed else None)

    def apply_shared_field(self, shared: SharedField, image: torch.Tensor) -> torch.Tensor:
        """Divide each channel of an image of shape (C, ...) by the field of another image.

        Raises
        ------
        ValueError
            The two images have different shapes.
        """
        image = self._prepare(image)
        if tuple(image.shape[1:]) != shared.field.shape:
            raise InputError(
                "the image has shape {0}, and the shared field comes from an image of shape {1}; "
                "expected the same shape: resample one onto the other first",
                tuple(image.shape[1:]),
                shared.field.shape,
            )
        options: dict[str, Any] = {
            "outside": self.settings.outside,
            "num_threads": self._choose_threads(),
        }
        corrected = [shared.field.apply(channel, shared.inside, **options) for channel in image]
        return torch.stack(corrected)

    def _fit(self, channel: torch.Tensor, mask: Mask, spacing: Spacing) -> N4Result:
        places = Spaces(spacing, spacing, spacing) if isinstance(spacing, Space) else spacing
        inputs = Inputs(channel, mask, spacing=places)
        return fit_image(self.settings, inputs, Run(self.engine, self._choose_threads()))

    def _choose_threads(self) -> int | None:
        """One thread in the workers of a loader, which already share the processors."""
        if self.num_threads is None and get_worker_info() is not None:
            return 1
        return self.num_threads

    def _prepare(self, tensor: torch.Tensor) -> torch.Tensor:
        """Give a tensor the device and the data type that the engine takes."""
        tensor = tensor.detach()
        if tensor.dtype == torch.bfloat16:  # NumPy does not have this type
            tensor = tensor.float()
        return tensor.cpu() if self.engine == "cpu" else tensor

    def _split_mask(self, mask: Mask, image: torch.Tensor) -> Sequence[Mask]:
        """Give each channel its mask."""
        if mask is None or isinstance(mask, str):
            return [mask] * len(image)
        shape = (len(mask), *image.shape[1:])
        if tuple(mask.shape) != shape or len(mask) not in (1, len(image)):
            raise InputError(
                "{mask} has shape {0} and image has shape {1}; expected the same shape, or one "
                "channel of it",
                tuple(mask.shape),
                tuple(image.shape),
            )
        return list(self._prepare(mask).expand(image.shape))


def call_mask_function(function: MaskFunction, image: torch.Tensor) -> torch.Tensor:
    """Call the function of a user that makes the mask of an image.

    Raises
    ------
    TypeError
        The function does not return a tensor or an array.
    """
    mask = function(image)
    if not isinstance(mask, torch.Tensor | np.ndarray):
        raise TypeError(
            f"the function mask returned a value of type {type(mask).__name__}; expected a tensor "
            "or an array with the shape of the image"
        )
    return torch.as_tensor(mask)


def make_space(
    affine: Any, ndim: int, place: Space | None = None, *, fastest_last: bool = False
) -> Space:
    """The place in space of an image.

    Parameters
    ----------
    affine
        From voxel indices to mm (RAS), shape (4, 4).
    ndim
        The number of axes of the image, without the channels.
    place
        Where ITK places the file that the image was read from, if the image still lies there. An
        affine says less than a file: where samples fall midway between voxels, the last digits of
        the voxel size and of the directions decide which voxels are taken.
    fastest_last
        Whether the last axis of the array is ITK's first.
    """
    space = Space.from_affine(affine, ndim) if place is None else place
    if not fastest_last:
        return space
    rows = tuple(row[::-1] for row in space.direction)
    return replace(space, spacing=space.spacing[::-1], direction=rows)


def check_affines(name: str, affine: Any, other_name: str, other: Any) -> None:
    """Refuse two images that lie at different places, if both places are known.

    Both libraries give the identity to an image without an affine, so the identity is taken for
    an unknown place.

    Raises
    ------
    ValueError
        The message names both images and says what differs.
    """
    if not any(np.array_equal(matrix, np.eye(4)) for matrix in (affine, other)):
        check_same_place(
            name, Space.from_affine(affine, 3), other_name, Space.from_affine(other, 3)
        )


@contextmanager
def note_subject(subject: str | None) -> Iterator[None]:
    """Add a note to an error that says which of several images it is about."""
    try:
        yield
    except ValueError as error:
        if subject is not None:
            error.add_note(f"n4ax: in {subject}")
        raise
