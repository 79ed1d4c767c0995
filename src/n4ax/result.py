"""What the estimation of a bias field gives."""

import dataclasses
from functools import cached_property
from typing import Any

from n4ax.field import BiasField
from n4ax.images.arrays import import_array
from n4ax.images.libraries import make_like, open_image
from n4ax.method.solver import Stop
from n4ax.settings import N4Settings


@dataclasses.dataclass(frozen=True)
class N4Result:
    """The result of :func:`n4ax.fit`.

    Attributes
    ----------
    corrected
        The corrected image, of the input's library and shape.
    field
        The bias field as a spline: evaluate it elsewhere, apply it to other images, save it.
    iterations
        Number of iterations at each level.
    convergence
        The convergence measure of every iteration, for each level; NaN where it was not computed.
    stopped
        Why each level ended: ``"converged"`` or ``"iteration limit"``.
    settings
        The parameters of the estimation.

    Examples
    --------
    >>> import numpy as np, n4ax
    >>> image = np.random.default_rng(0).gamma(3, 40, (16, 16))
    >>> result = n4ax.fit(image, mask="all", iters=(5,), conv_threshold=0)
    >>> result.iterations, result.stopped, int(result.mask.sum())
    ([5], ['iteration limit'], 256)
    """

    corrected: Any
    field: BiasField
    iterations: list[int]
    convergence: list[list[float]]
    stopped: list[Stop]
    settings: N4Settings
    _mask: Any = dataclasses.field(repr=False)

    @cached_property
    def log_bias(self) -> Any:
        """The log bias field on the image's grid (ITK's index stretch), float32.

        It is evaluated when it is first asked for, and has the image's library and shape.
        """
        volume = open_image(self.corrected).voxels
        return make_like(self.corrected, self.field.evaluate_like(import_array(volume)))

    @cached_property
    def mask(self) -> Any:
        """The mask that the field was estimated in, of the image's library and shape.

        An array is of type bool. Images have no bool, so that an image is of type uint8, 1 inside
        the mask and 0 outside.
        """
        return make_like(self.corrected, self._mask)
