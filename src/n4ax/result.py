"""What the estimation of a bias field gives."""

import base64
import dataclasses
import html
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Generic, TypeVar, cast

import numpy as np

from n4ax.auto import Choice
from n4ax.engines.measures import Measures
from n4ax.field import BiasField
from n4ax.images.arrays import import_array, is_lazy, load_array
from n4ax.images.libraries import make_like, open_image
from n4ax.method.solver import Stop
from n4ax.settings import N4Settings
from n4ax.verdict import Evidence, Verdict, find_voxel_sizes, judge

Image = TypeVar("Image")
"""The type of the image that was corrected."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class N4Result(Generic[Image]):
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
        The convergence measure of every iteration, for each level. Most of them are computed when
        this is first read, as the iterations do without; NaN where there is none.
    stopped
        Why each level ended: ``"converged"`` or ``"iteration limit"``.
    settings
        The parameters of the estimation.
    choice
        What was tried and chosen, and why, if the settings were chosen for the image
        (``preset="auto"``); ``None`` if they were given.

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
    _mask: Any
    _volume: Any = None
    """The corrected volume that the field was estimated on, if ``corrected`` is a series."""
    _num_threads: int | None = None
    """Threads that evaluate the field; ``None`` for all processors."""
    choice: Choice | None = None
    _maps: Any = ()
    """Maps of tissues, in the shape of a volume."""

    @cached_property
    def log_bias(self) -> Image:
        """The log bias field on the image's grid (ITK's index stretch), float32.

        It is evaluated when it is first asked for, and has the image's library and shape; for a
        series, the shape of one volume.
        """
        volume = open_image(self._single).voxels
        values = self.field.evaluate_like(import_array(volume), self._num_threads)
        return make_like(self._single, values)

    @cached_property
    def mask(self) -> Any:
        """The mask that the field was estimated in, of the image's library and shape.

        An array is of type bool. Images have no bool, so that an image is of type uint8, 1 inside
        the mask and 0 outside. For a series it has the shape of one volume.
        """
        return make_like(self._single, self._mask)

    @cached_property
    def verdict(self) -> Verdict:
        """What is to be said of the correction: messages with the next step, and measures.

        It is made when it is first asked for, from :attr:`corrected` and the field; a lazy array
        is computed for it. With ``scale="minmax"`` and ``non_positive="offset"`` the image before
        the correction is not known, and what depends on it is left out.
        """
        mask, log_bias = _load(self._mask), _load(self.log_bias)
        known = self.settings.scale != "minmax" and self.settings.non_positive != "offset"
        before = None
        if known:
            before = _load(self._single)
            divided = True if self.settings.outside == "divide" else mask
            before = np.multiply(before, np.exp(log_bias), out=before.copy(), where=divided)
        sizes = find_voxel_sizes(self.field, self.settings)
        return judge(Evidence(before, log_bias, mask, self, sizes, maps=self.maps))

    @property
    def maps(self) -> Any:
        """The maps of tissues that were given, as arrays in the shape of a volume."""
        return self._maps

    @property
    def measures(self) -> Measures | None:
        """What :attr:`convergence` is computed from, if it was not given as lists."""
        given = vars(self)["_convergence"]
        return given if isinstance(given, Measures) else None

    @property
    def last_measures(self) -> list[float | None]:
        """The convergence measure of the last iteration of each level.

        It takes less time than to compute :attr:`convergence`. A level without iterations has
        ``None``.
        """
        if self.measures is not None:
            return self.measures.read_ends()
        return [level[-1] if level else None for level in self.convergence]

    def sketch_convergence(self) -> list[list[float]]:
        """Enough of :attr:`convergence` for a curve; NaN where a measure is not known."""
        return self.convergence if self.measures is None else self.measures.read_sketch()

    @property
    def _single(self) -> Any:
        return self.corrected if self._volume is None else self._volume

    def of_series(self, corrected: Any) -> "N4Result[Any]":
        """The same result for the series that the image is one volume of."""
        return self.amend(corrected=corrected, _volume=self.corrected)

    def amend(self, **changes: Any) -> "N4Result[Any]":
        """The same result with other values for some of its fields."""
        given = vars(self)["_convergence"]  # it is not computed for this
        return dataclasses.replace(self, **{"convergence": given, **changes})

    def __repr__(self) -> str:
        """Show what was corrected, how the iterations went, and which settings differ."""
        levels = ", ".join(
            f"{count} ({why})" for count, why in zip(self.iterations, self.stopped, strict=True)
        )
        what = type(self.corrected).__name__
        return (
            f"<N4Result: {what} of shape {self.field.shape}, iterations per level: {levels}, "
            f"{self.settings!r}>"
        )

    def _repr_html_(self) -> str | None:
        """Show a notebook the image before and after the correction, and the field."""
        volume = open_image(self._single).voxels
        if is_lazy(import_array(volume)):  # its blocks are not computed for a picture
            return None
        if find_spec("matplotlib") is None:
            return None
        from n4ax.figure import draw_figure

        after, log_bias = (
            np.asarray(import_array(open_image(image).voxels))
            for image in (self._single, self.log_bias)
        )
        mask = np.asarray(self._mask)
        divided = mask if self.settings.outside != "divide" else np.ones_like(mask)
        before = np.where(divided, after * np.exp(log_bias), after)
        if self.field.voxel_order == "C":  # the picture is for arrays with x first
            before, log_bias, after, mask = before.T, log_bias.T, after.T, mask.T
        # Without an affine nothing says where left and right are.
        affine = np.full((4, 4), np.nan) if self.field.affine is None else self.field.affine
        picture = draw_figure(before, log_bias, after, mask, affine, "")
        data = base64.b64encode(picture).decode("ascii")
        text = html.escape(repr(self))
        return f'<p>{text}</p><img src="data:image/png;base64,{data}" alt="{text}"/>'


def _load(image: Any) -> np.ndarray[Any, Any]:
    """The voxels of an image of any library, in the host's memory."""
    return np.asarray(load_array(import_array(open_image(image).voxels)))


class _Convergence:
    """The field of that name, which may be set to :class:`Measures` and is read as their lists.

    It is put in place after the class is made, since :mod:`dataclasses` would take it for a
    default.
    """

    def __get__(self, result: Any, owner: Any = None) -> list[list[float]]:
        if result is None:
            raise AttributeError("convergence")
        given = cast("list[list[float]] | Measures", vars(result)["_convergence"])
        return given.read() if isinstance(given, Measures) else given

    def __set__(self, result: Any, value: "list[list[float]] | Measures") -> None:
        vars(result)["_convergence"] = value


N4Result.convergence = _Convergence()  # type: ignore[assignment]
