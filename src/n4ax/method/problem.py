"""What the solver iterates on: the samples of an image, and the mesh that the field lives on.

All arrays and tuples are in ITK's axis order with x last, and have no axis of length 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from n4ax.method.grid import Axis


@dataclass(frozen=True, eq=False)
class Problem:
    """The samples of an image, and the mesh.

    Attributes
    ----------
    intensities
        Raw intensities of the samples, NumPy or JAX, any real dtype.
    included
        Which samples the field is fitted to, bool.
    weights
        Confidence of each sample in the fit, float32; ``None`` if every sample counts fully.
    axes
        How each axis of the image is padded and sampled.
    control_points
        Number of control points on each axis at the first level.
    """

    intensities: Any
    included: Any
    weights: Any | None
    axes: tuple[Axis, ...]
    control_points: tuple[int, ...]

    def thin(self, every: Sequence[int]) -> "Problem":
        """Keep every n-th sample along each axis, where it lies."""
        axes = tuple(replace(axis, every=n) for axis, n in zip(self.axes, every, strict=True))
        kept = tuple(axis.thinned_samples for axis in axes)
        return replace(
            self,
            intensities=self.intensities[kept],
            included=self.included[kept],
            weights=None if self.weights is None else self.weights[kept],
            axes=axes,
        )
