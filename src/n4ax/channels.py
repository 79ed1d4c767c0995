"""Tensors with a channel axis: what the transforms of TorchIO and MONAI have in common.

Needs torch, which both libraries bring.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import get_worker_info

from n4ax.field import BiasField
from n4ax.images.otsu import otsu_mask
from n4ax.itk.space import Space, Spaces, check_same_place
from n4ax.pipeline import N4Result, check_threads, fit_image
from n4ax.settings import EngineName, N4Settings

Mask = torch.Tensor | str | None
"""A tensor of the image's shape or of one channel, ``"otsu"`` (``None`` is the same), ``"all"``."""

MaskFunction = Callable[[torch.Tensor], torch.Tensor]
"""From an image to its mask, both with a channel axis."""

Spacing = float | Sequence[float] | Space | None
"""Voxel size in mm, or where the image lies."""


class SharedField(NamedTuple):
    """The field of one image for others on its grid, and where they are inside."""

    field: BiasField
    inside: torch.Tensor | None


@dataclass(frozen=True)
class Corrector:
    """N4 for tensors of shape (C, ...): every channel by itself, or all by one field.

    Attributes
    ----------
    settings
        The parameters of N4.
    engine
        ``"cpu"`` works on the host wherever the tensor lies, ``"xla"`` on JAX's device.
    num_threads
        Of the CPU engine; ``None``: one in a worker of a ``DataLoader``, else n4ax's default.

    Raises
    ------
    ValueError
        There is no such engine or number of threads.
    """

    settings: N4Settings
    engine: EngineName = "cpu"
    num_threads: int | None = None

    def __post_init__(self) -> None:
        # No look for a GPU here: JAX would start on it once more in every worker.
        if self.engine not in ("cpu", "xla"):
            raise ValueError(f"engine is {self.engine!r}; expected 'cpu' or 'xla'")
        check_threads(self.num_threads)

    def corrected(self, image: torch.Tensor, mask: Mask, spacing: Spacing) -> torch.Tensor:
        """The image of shape (C, ...), each channel corrected by a field of its own.

        Raises
        ------
        ValueError
            A channel cannot be worked with; a note on the error says which.
        """
        image = self._placed(image)
        masks = self._masks(mask, image)
        channels = []
        for number, (channel, inside) in enumerate(zip(image, masks, strict=True)):
            with about(f"channel {number}" if len(image) > 1 else None):
                channels.append(self._fit(channel, inside, spacing).corrected)
        return torch.stack(channels)

    def shared_field(self, image: torch.Tensor, mask: Mask, spacing: Spacing) -> SharedField:
        """The field of an image of one channel.

        Raises
        ------
        ValueError
            It has several channels, or cannot be worked with.
        """
        if len(image) != 1:
            raise ValueError(f"a shared field needs an image of one channel; it has {len(image)}")
        image = self._placed(image)
        (inside,) = self._masks(mask, image)
        field = self._fit(image[0], inside, spacing).field
        needed = self.settings.outside != "divide"
        return SharedField(field, self._inside(image[0], inside) if needed else None)

    def applied(self, shared: SharedField, image: torch.Tensor) -> torch.Tensor:
        """The image of shape (C, ...), each channel divided by the field.

        Raises
        ------
        ValueError
            The image has another shape than the one that the field is from.
        """
        image = self._placed(image)
        if tuple(image.shape[1:]) != shared.field.shape:
            raise ValueError(
                f"the image has shape {tuple(image.shape[1:])}, and the shared field is from one "
                f"of shape {shared.field.shape}: resample one onto the other first"
            )
        options: dict[str, Any] = {"outside": self.settings.outside, "num_threads": self._threads}
        return torch.stack([shared.field.apply(one, shared.inside, **options) for one in image])

    def _fit(self, channel: torch.Tensor, inside: Mask, spacing: Spacing) -> N4Result:
        return fit_image(
            self.settings,
            channel,
            inside,
            spacing=self._where(channel, spacing),
            engine=self.engine,
            num_threads=self._threads,
            every_measure=False,
        )

    def _where(self, channel: torch.Tensor, spacing: Spacing) -> Any:
        if not isinstance(spacing, Space):
            return spacing
        if sum(n > 1 for n in channel.shape) > 2:
            return Spaces(spacing, spacing, spacing)
        # A slice may lie across any two axes of space; N4 knows it as a plane of its own.
        return spacing.spacing[:: 1 if self.settings.voxel_order == "F" else -1]

    @property
    def _threads(self) -> int | None:
        """The workers of a loader share the processors already."""
        if self.num_threads is None and get_worker_info() is not None:
            return 1
        return self.num_threads

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Where and as what the engine takes it."""
        tensor = tensor.detach()
        if tensor.dtype == torch.bfloat16:  # NumPy has none
            tensor = tensor.float()
        return tensor.cpu() if self.engine == "cpu" else tensor

    def _masks(self, mask: Mask, image: torch.Tensor) -> Sequence[Mask]:
        """One for each channel."""
        if mask is None or isinstance(mask, str):
            return [mask] * len(image)
        shape = (len(mask), *image.shape[1:])
        if tuple(mask.shape) != shape or len(mask) not in (1, len(image)):
            raise ValueError(
                f"mask has shape {tuple(mask.shape)} and image has shape {tuple(image.shape)}; "
                "expected the same, or one channel"
            )
        return list(self._placed(mask).expand(image.shape))

    def _inside(self, channel: torch.Tensor, mask: Mask) -> torch.Tensor:
        if isinstance(mask, torch.Tensor):
            return self.settings.inside(mask)
        return torch.ones_like(channel, dtype=torch.bool) if mask == "all" else otsu_mask(channel)


def from_function(function: MaskFunction, image: torch.Tensor) -> torch.Tensor:
    """The mask that a user's function makes of an image.

    Raises
    ------
    TypeError
        It gives no tensor or array.
    """
    mask = function(image)
    if not isinstance(mask, torch.Tensor | np.ndarray):
        raise TypeError(f"mask gave a {type(mask).__name__}; expected a tensor like the image")
    return torch.as_tensor(mask)


def itk_space(affine: Any, ndim: int, *, fastest_last: bool = False) -> Space:
    """Where an image lies, from voxel indices to mm (RAS), shape (4, 4).

    ``fastest_last``: of an array whose last axis is ITK's first.
    """
    space = Space.from_affine(affine, ndim)
    if not fastest_last:
        return space
    rows = tuple(row[::-1] for row in space.direction)
    return replace(space, spacing=space.spacing[::-1], direction=rows)


def check_together(name: str, affine: Any, other_name: str, other: Any) -> None:
    """Refuse what lies elsewhere than another image, where both say where they lie.

    Both libraries give the identity to what came without an affine.

    Raises
    ------
    ValueError
        It names both, and what differs.
    """
    if not any(np.array_equal(matrix, np.eye(4)) for matrix in (affine, other)):
        check_same_place(
            name, Space.from_affine(affine, 3), other_name, Space.from_affine(other, 3)
        )


@contextmanager
def about(what: str | None) -> Iterator[None]:
    """Say on an error which of many images it is about."""
    try:
        yield
    except ValueError as error:
        if what is not None:
            error.add_note(f"n4ax: in {what}")
        raise
