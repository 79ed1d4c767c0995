"""What a correction starts from: the images of a call, and how the work is to be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from n4ax.engines.choice import check_engine, check_threads
from n4ax.field import BiasField
from n4ax.images.arrays import is_traced
from n4ax.method.solver import Progress
from n4ax.posing import Spacing
from n4ax.settings import EngineName


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is to be corrected.

    Attributes
    ----------
    image, mask, weights
        As for :func:`n4ax.n4`.
    spacing
        Voxel size in mm; or where image, mask and weights lie in space, axes in ITK's order.
        ``None`` takes it from the image, if the image says so.
    affine
        Voxel indices to mm, shape (4, 4), to be kept with the field. ``None`` takes it from the
        image, if the image says so.
    init
        The field to start from: what N4 works on is the image divided by it.
    tissues
        Maps of tissues, by which settings can be chosen: an image of labels, or several maps of
        probabilities.
    """

    image: Any
    mask: Any = None
    weights: Any = None
    spacing: Spacing = None
    affine: npt.ArrayLike | None = None
    init: BiasField | None = None
    tissues: Sequence[Any] = ()

    @property
    def are_traced(self) -> bool:
        """Whether JAX traces any of the arrays."""
        return any(map(is_traced, (self.image, self.mask, self.weights)))

    def check_not_traced(self) -> None:
        """Refuse arrays that JAX traces, which only :func:`n4ax.n4` takes.

        Raises
        ------
        ValueError
            JAX traces an array.
        """
        if self.are_traced:
            raise ValueError(
                "image, mask or weights are traced by JAX: inside jax.jit call n4ax.n4"
            )


@dataclass(frozen=True)
class Run:
    """How the work is to be done; the result does not depend on the number of threads.

    Attributes
    ----------
    engine, num_threads, progress
        As for :func:`n4ax.n4`.
    """

    engine: EngineName | None = None
    num_threads: int | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        check_engine(self.engine)
        if self.progress is not None and not callable(self.progress):
            raise TypeError(
                f"progress is of type {type(self.progress).__name__}; expected a function"
            )
        object.__setattr__(self, "num_threads", check_threads(self.num_threads))
