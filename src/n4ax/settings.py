"""Every parameter of N4 in one frozen object, with its unit, its default and its check.

The defaults are those of ``SimpleITK.N4BiasFieldCorrectionImageFilter``; the presets name
the other parameter sets in common use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Literal, Self

PerAxis = int | Sequence[int]
"""One integer for every axis, or one per axis of the array, in the array's axis order."""

Nonfinite = Literal["error", "exclude"]
NonPositive = Literal["itk", "exclude", "offset"]
Scale = Literal["itk", "minmax", "mean", "unit-field"]
Outside = Literal["divide", "keep", "zero"]
VoxelOrder = Literal["C", "F"]
Convergence = Literal["itk", "exact"]
EngineName = Literal["cpu", "xla"]

_WHOLE = ("spline_order", "nbins", "mask_label")


@dataclass(frozen=True, kw_only=True)
class N4Settings:
    """The parameters of N4 (Tustison et al. 2010), with SimpleITK's defaults.

    Parameters
    ----------
    iters
        Most iterations at each fitting level; its length is the number of levels. The
        B-spline mesh doubles from one level to the next.
    conv_threshold
        A level ends once the convergence measure is not above this. 0 runs every iteration.
    convergence
        ``"itk"``: the measure as ITK computes it, in float32 running sums. ``"exact"``: the
        coefficient of variation that ITK's formula stands for.
    over_relax
        Factor on every increment of the field; 1 is N4, above 1 takes longer steps.
    accelerate
        Come close to the outcome of all iterations in a fraction of the time
        (:mod:`n4ax.method.accelerated`); needs ``conv_threshold=0`` and ``over_relax=1``.
        By the CPU         engine: XLA carries out every iteration.
    nbins
        Histogram bins of the sharpening.
    fwhm
        Full width at half maximum of the bias field's distribution, in log intensity.
    wiener
        Noise term of the Wiener deconvolution.
    tiny
        Intensities are raised to this floor before the logarithm. ``None`` does as ITK does:
        an intensity that is not positive stays, unlogged, as it is.
    spline_order
        Order of the B-spline, 1 to 5.
    control_points
        Control points per axis at the first level (mesh + order).
    mesh
        Mesh elements per axis at the first level; the same thing said otherwise. The default
        is SimpleITK's 4 control points (order + 1 where that is more), ANTs' a mesh of 1.
    spline_distance
        Length of a mesh element at the first level, in mm. The image is padded to a whole
        number of elements, as ANTs does. Needs the image's ``spacing``.
    shrink_factor
        Take every n-th voxel for the estimation. The field is given at full resolution.
    mask_label
        Value of the mask that counts as inside. ``None``: every value but 0.
    nonfinite
        NaN and infinite voxels in the mask: ``"error"``, or ``"exclude"`` them.
    non_positive
        Intensities in the mask that have no logarithm: ``"itk"`` leaves them unlogged, so that 0
        counts as 1 and a negative one as a far outlier; ``"exclude"`` estimates without them;
        ``"offset"`` raises the whole image until the least of them is 1, and lowers it again
        after the correction.
    scale
        Level of the corrected image. ``"itk"``: as the field comes, whose level drifts from the
        input's. ``"mean"``: the mean in the mask is kept. ``"unit-field"``: the field's geometric
        mean in the mask is 1. ``"minmax"``: in the mask, stretched to the input's range (ANTs'
        ``-r``); the field does not show it.
    outside
        The corrected image outside the mask: ``"divide"`` by the field like the inside (ITK),
        ``"keep"`` the input, or ``"zero"``.
    voxel_order
        The order in which ITK would walk the voxels: ``"C"``, last axis fastest (how
        ``SimpleITK.GetImageFromArray`` reads an array) or ``"F"``, first axis fastest (NIfTI).
        It decides the last digits and, through the stopping measure, where levels end.

    Raises
    ------
    ValueError
        A value is out of its range; the message names it.

    References
    ----------
    N. J. Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE Transactions on Medical
    Imaging 29(6), 2010, doi:10.1109/TMI.2010.2046908.
    """

    iters: Sequence[int] = (50, 50, 50, 50)
    conv_threshold: float = 0.001
    convergence: Convergence = "itk"
    over_relax: float = 1.0
    accelerate: bool = False
    nbins: int = 200
    fwhm: float = 0.15
    wiener: float = 0.01
    tiny: float | None = None
    spline_order: int = 3
    control_points: PerAxis | None = None
    mesh: PerAxis | None = None
    spline_distance: float | None = None
    shrink_factor: PerAxis = 1
    mask_label: int | None = None
    nonfinite: Nonfinite = "error"
    non_positive: NonPositive = "itk"
    scale: Scale = "itk"
    outside: Outside = "divide"
    voxel_order: VoxelOrder = "C"

    def __post_init__(self) -> None:
        object.__setattr__(self, "iters", _whole_numbers("iters", self.iters, least=0))
        if not self.iters:
            raise ValueError("iters is empty: give the iterations of each level, such as (50, 50)")
        if len(self.iters) > 10:
            raise ValueError(
                f"iters has {len(self.iters)} levels, each with twice the mesh of the one before; "
                "at most 10 are possible. For more iterations of a level give a larger number, "
                "such as (200, 200)"
            )
        for name in ("control_points", "mesh", "shrink_factor"):
            value = getattr(self, name)
            if value is not None:
                whole = _whole_numbers(name, value, least=1)
                object.__setattr__(self, name, whole[0] if _is_number(value) else whole)
        _check_range("spline_order", self.spline_order, least=1, most=5)
        _check_range("nbins", self.nbins, least=3, most=65536)
        if self.mask_label is not None:
            _check_range("mask_label", self.mask_label)
        for name in _WHOLE:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, int(getattr(self, name)))
        _check_range("conv_threshold", self.conv_threshold)
        _check_range("wiener", self.wiener, least=0)
        for name in ("over_relax", "fwhm", "tiny", "spline_distance"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}; expected a number above 0")
        _check_choice("convergence", self.convergence, ("itk", "exact"))
        _check_choice("nonfinite", self.nonfinite, ("error", "exclude"))
        _check_choice("non_positive", self.non_positive, ("itk", "exclude", "offset"))
        _check_choice("scale", self.scale, ("itk", "minmax", "mean", "unit-field"))
        _check_choice("outside", self.outside, ("divide", "keep", "zero"))
        _check_choice("voxel_order", self.voxel_order, ("C", "F"))
        self._check_one_mesh()
        self._check_accelerate()

    def _check_accelerate(self) -> None:
        if not isinstance(self.accelerate, bool):
            raise ValueError(f"accelerate is {self.accelerate!r}; expected True or False")
        for name, value in (("conv_threshold", 0), ("over_relax", 1)):
            if self.accelerate and getattr(self, name) != value:
                raise ValueError(
                    f"{name} is {getattr(self, name)} and accelerate is True, which stands for all "
                    f"iterations of N4: give {name}={value}, or do not accelerate"
                )

    def _check_one_mesh(self) -> None:
        names = ("control_points", "mesh", "spline_distance")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} say the same thing: give one of them")
        points = self.control_points
        if points is not None:
            least = min(points, default=0) if isinstance(points, tuple) else int(points)  # type: ignore[arg-type]
            if least <= self.spline_order:
                raise ValueError(
                    f"control_points is {points}; a spline of order {self.spline_order} needs at "
                    f"least {self.spline_order + 1} on every axis"
                )

    @classmethod
    def simpleitk(cls) -> Self:
        """SimpleITK's defaults: 4 levels of 50, threshold 0.001, mesh 1, no shrinking."""
        return cls()

    @classmethod
    def ants(cls) -> Self:
        """The defaults of ANTs' program: shrink 4, 4 levels of 50, threshold 0, mesh 1.

        ANTs takes the whole image where no mask is given: pass ``mask="all"``.
        """
        return cls(conv_threshold=0.0, shrink_factor=4, mesh=1)

    @classmethod
    def antspy(cls) -> Self:
        """ANTsPy's defaults: as ANTs, with threshold 1e-7."""
        return cls(conv_threshold=1e-7, shrink_factor=4, mesh=1)

    @classmethod
    def fast(cls) -> Self:
        """Close to 4 levels of 50 iterations at threshold 0, in a fraction of the time."""
        return cls(conv_threshold=0.0, accelerate=True)

    def inside(self, mask: Any) -> Any:
        """Where a mask counts as inside, bool: where it is the label, or not 0."""
        return mask != 0 if self.mask_label is None else mask == self.mask_label

    def check_shared(self) -> None:
        """Refuse what belongs to one image and cannot go with its field to others.

        Raises
        ------
        ValueError
            ``scale`` is ``"minmax"``, or ``non_positive`` is ``"offset"``.
        """
        for name, value in (("scale", "minmax"), ("non_positive", "offset")):
            if getattr(self, name) == value:
                raise ValueError(
                    f"{name} is {value!r}, which belongs to one image and does not go with its "
                    "field to others: correct each by itself, or choose another"
                )

    def keywords(self) -> dict[str, Any]:
        """The settings as keyword arguments for :func:`n4ax.n4` and :func:`n4ax.fit`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def per_axis(name: str, value: PerAxis, shape: tuple[int, ...]) -> tuple[int, ...]:
    """``value`` once per axis of ``shape`` that is longer than 1.

    Raises
    ------
    ValueError
        A sequence of another length than the shape, with axes of length 1 or without.
    """
    kept = [axis for axis, n in enumerate(shape) if n != 1]
    if isinstance(value, int):
        return (value,) * len(kept)
    if len(value) == len(shape):
        return tuple(value[axis] for axis in kept)
    if len(value) != len(kept):
        raise ValueError(
            f"{name} has {len(value)} values, {tuple(value)}; the image has {len(shape)} axes, "
            f"{len(kept)} of them longer than 1: give one value, or one per axis"
        )
    return tuple(value)


def _is_number(value: object) -> bool:
    return (
        not isinstance(value, bool)
        and hasattr(value, "__float__")
        and not hasattr(value, "__len__")
    )


def _whole_numbers(name: str, value: Any, *, least: int) -> tuple[int, ...]:
    try:
        items = (value,) if _is_number(value) else tuple(value)
        whole = tuple(int(item) for item in items)
        if any(isinstance(item, str | bool) for item in items) or whole != tuple(map(float, items)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r}; expected whole numbers") from None
    if any(number < least for number in whole):
        raise ValueError(f"{name} is {value!r}; expected whole numbers of at least {least}")
    return whole


def _check_range(
    name: str, value: float, *, least: float | None = None, most: float | None = None
) -> None:
    whole = name in _WHOLE
    good = _is_number(value) and isfinite(value) and (not whole or int(value) == value)
    if good and least is not None:
        good = value >= least
    if good and most is not None:
        good = value <= most
    if not good:
        kind = "a whole number" if whole else "a number"
        bounds = " ".join(
            part
            for part in (
                "" if least is None else f"of at least {least}",
                "" if most is None else f"and at most {most}",
            )
            if part
        )
        raise ValueError(f"{name} is {value!r}; expected {kind} {bounds}".rstrip())


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")
