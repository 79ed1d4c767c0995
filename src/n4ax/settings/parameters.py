"""Every parameter of N4 in one frozen object, with its unit, its default and its check.

The defaults are those of ``SimpleITK.N4BiasFieldCorrectionImageFilter``. The presets hold the other
sets of parameters that are in common use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, Unpack, get_args

from n4ax.errors import InputError
from n4ax.settings.arithmetic import (
    Arithmetic,
    ItkTool,
    ItkVersion,
    check_arithmetic,
    count_work_units,
)
from n4ax.settings.checks import (
    LARGEST,
    MOST_ITERATIONS,
    check_choice,
    check_finite,
    check_per_axis,
    check_positive,
    check_whole_number,
    check_whole_numbers,
)
from n4ax.settings.keywords import (
    CHOICES,
    Convergence,
    N4Keywords,
    Nonfinite,
    NonPositive,
    Outside,
    PerAxis,
    Scale,
    VoxelOrder,
)

MOST_LEVELS = 10
"""The mesh doubles with each level: 10 levels of a mesh of 1 end with 512 elements on each axis."""


@dataclass(frozen=True, kw_only=True, repr=False)
class N4Settings:
    """The parameters of N4 (Tustison et al. 2010), with SimpleITK's defaults.

    Parameters
    ----------
    iters
        The most iterations at each fitting level. There are as many levels as numbers, and the
        B-spline mesh doubles from one level to the next.
    conv_threshold
        A level ends once the convergence measure is not above this threshold, which is not
        negative. With 0, every iteration is carried out.
    convergence
        How the convergence measure is computed. ``"itk"`` computes it as ITK does, with running
        sums in float32; ``"exact"`` computes the coefficient of variation that ITK's formula
        stands for.
    over_relax
        A factor on every increment of the field. 1 is N4; a factor above 1 takes longer steps.
    accelerate
        Come close to the result of all iterations in a fraction of the time (see
        :mod:`n4ax.method.accelerated`). This needs ``conv_threshold=0``, ``over_relax=1`` and
        the CPU engine.
    adapt
        Choose the mesh, the levels, the iterations, the FWHM and the shrink factor for each image,
        or leave the image as it is (see :mod:`n4ax.auto`). The result has the settings that were
        chosen. ``iters``, ``conv_threshold``, ``over_relax``, ``accelerate``, ``fwhm``, the mesh
        and ``shrink_factor`` keep their defaults then.
    nbins
        Number of histogram bins of the sharpening.
    fwhm
        Full width at half maximum of the bias field's distribution, in log intensity.
    wiener
        Noise term of the Wiener filter.
    tiny
        Intensities below this floor are raised to it before the logarithm is taken. ``None`` does
        as ITK does: an intensity that is not positive is used as it is, without a logarithm.
    spline_order
        Order of the B-spline, from 1 to 5.
    control_points
        Number of control points on each axis at the first level (mesh elements + order).
    mesh
        Number of mesh elements on each axis at the first level: another way to give the control
        points. SimpleITK's default is 4 control points (or order + 1 if that is more); ANTs'
        default is a mesh of 1. A mesh that would take more than 2 GiB of memory at the last level
        is refused, or on large images more than 16 bytes for each voxel.
    spline_distance
        Length of a mesh element at the first level, in mm. The image is padded to a whole number
        of elements, as in ANTs. This needs the image's ``spacing``. A distance that makes too
        large a mesh is refused, as above.
    shrink_factor
        Estimate the field on every n-th voxel. The field itself has the full resolution.
    mask_label
        The mask value that counts as inside. With ``None``, every value but 0 does.
    nonfinite
        What happens to voxels in the mask that are NaN, infinite, or too large for single
        precision (3.4e38): ``"error"`` refuses the image, ``"exclude"`` leaves them out of the
        estimation. Voxels between the samples of a ``shrink_factor`` are looked at too, except in
        dask and zarr arrays, whose other blocks are not read. The values of arrays that JAX
        traces are not known, and none of them is looked at.
    non_positive
        What happens to intensities in the mask that have no logarithm. ``"itk"`` uses them without
        a logarithm, so that 0 counts as an intensity of 1 and a negative one as a far outlier.
        ``"exclude"`` leaves them out of the estimation. ``"offset"`` raises the whole image until
        its least intensity in the mask is 1, and lowers it again after the correction.
    scale
        Intensity level of the corrected image. ``"itk"`` leaves the level of the field as N4
        finds it, which drifts away from that of the input. ``"mean"`` keeps the mean intensity in
        the mask. ``"unit-field"`` makes the geometric mean of the field in the mask 1.
        ``"minmax"`` stretches the corrected intensities in the mask to the input's range, as
        ANTs' ``-r`` does; the field does not show this.
    outside
        The corrected image outside the mask: ``"divide"`` divides it by the field like the inside
        (as ITK does), ``"keep"`` keeps the input, ``"zero"`` sets it to 0.
    voxel_order
        The order in which ITK would walk through the voxels. ``"C"``: the last axis is the
        fastest, which is how ``SimpleITK.GetImageFromArray`` reads an array. ``"F"``: the first
        axis is the fastest, as in arrays that nibabel reads from NIfTI files. The order decides
        the last digits and, through the convergence measure, at which iteration levels end.
    arithmetic
        ``"limit"`` computes what ITK's answer tends to as its threads become many: this is the
        fastest, and the same on every machine. ``"itk"`` computes what ITK computes with a given
        number of threads, to the last bit. It needs the CPU engine, and Linux on x86-64 with the
        GNU C library, for which the PyPI packages of SimpleITK and ANTsPy are built.
    itk_version
        The rules of ITK 5 (SimpleITK up to 2.5, ANTs up to 2.6), or those of ITK 6, which differ
        in how the mesh is refined and in images whose first voxel is the darkest
        (:mod:`n4ax.itk.versions` lists the differences).
    itk_threads
        With ``arithmetic="itk"``, the number of threads of ITK to stand for; ``None`` stands for
        one thread. How many threads compute it is another matter (``num_threads``).
    itk_tool
        The tool whose threads these are: ``"simpleitk"`` makes one work unit for each thread,
        ``"ants"`` (ANTs, ANTsPy and ITK's own Python package) four, but one for a single thread.
    itk_work_units
        The number of work units itself, 1 to 128, instead of a number of threads.

    Raises
    ------
    ValueError
        A value is out of its range. The message names the parameter.

    References
    ----------
    N. J. Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE Transactions on Medical
    Imaging 29(6), 2010, doi:10.1109/TMI.2010.2046908.

    Examples
    --------
    >>> from n4ax import N4Settings
    >>> N4Settings(shrink_factor=4, spline_distance=200).iters
    (50, 50, 50, 50)
    >>> N4Settings.ants().conv_threshold
    0.0
    """

    iters: Sequence[int] = (50, 50, 50, 50)
    conv_threshold: float = 0.001
    convergence: Convergence = "itk"
    over_relax: float = 1.0
    accelerate: bool = False
    adapt: bool = False
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
    arithmetic: Arithmetic = "limit"
    itk_version: ItkVersion = 5
    itk_threads: int | None = None
    itk_tool: ItkTool = "simpleitk"
    itk_work_units: int | None = None

    def __post_init__(self) -> None:
        self._set("iters", check_whole_numbers("iters", self.iters, least=0, most=MOST_ITERATIONS))
        self._check_levels()
        for name in ("control_points", "mesh", "shrink_factor"):
            value = getattr(self, name)
            if value is not None or name == "shrink_factor":
                self._set(name, check_per_axis(name, value))
        self._set("spline_order", check_whole_number("spline_order", self.spline_order, 1, 5))
        self._set("nbins", check_whole_number("nbins", self.nbins, 3, 65536))
        if self.mask_label is not None:
            label = check_whole_number("mask_label", self.mask_label, -(2**63), 2**64 - 1)
            self._set("mask_label", label)
        self._set("conv_threshold", check_finite("conv_threshold", self.conv_threshold, least=0))
        self._set("wiener", check_finite("wiener", self.wiener, least=0, most=LARGEST))
        for name in ("over_relax", "fwhm", "tiny", "spline_distance"):
            self._set(name, check_positive(name, getattr(self, name)))
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), get_args(choices))
        self._check_one_mesh()
        self._check_accelerate()
        self._check_arithmetic()
        self._check_adapt()

    def __repr__(self) -> str:
        """Show the parameters that differ from the defaults."""
        changed = [
            f"{field.name}={value!r}"
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen

    def _check_levels(self) -> None:
        if not self.iters:
            raise InputError(
                "{iters} is empty: give the iterations of each level, such as (50, 50)"
            )
        if len(self.iters) > MOST_LEVELS:
            raise InputError(
                "{iters} has {0} levels, and each level has twice the mesh of the level before; at "
                "most {1} are possible. For more iterations at a level give a larger number, such "
                "as (200, 200)",
                len(self.iters),
                MOST_LEVELS,
            )

    def _check_accelerate(self) -> None:
        if not isinstance(self.accelerate, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError("{accelerate} is {0!r}; expected True or False", self.accelerate)
        for name, value in (("conv_threshold", 0), ("over_relax", 1)):
            if self.accelerate and getattr(self, name) != value:
                raise InputError(
                    f"{{{name}}} is {{0}} and {{accelerate}} is True, which stands for all "
                    f"iterations of N4: give {{{name}:{value}}}, or do not accelerate",
                    getattr(self, name),
                )

    def _check_adapt(self) -> None:
        if not isinstance(self.adapt, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError("{adapt} is {0!r}; expected True or False", self.adapt)
        given = [field.name for field in fields(self) if field.name in CHOSEN]
        given = [name for name in given if getattr(self, name) != getattr(type(self), name)]
        if self.adapt and given:
            raise InputError(
                f'{{preset:"auto"}} chooses {{{given[0]}}} for each image: leave out '
                f"{{{given[0]}}}, or take another preset"
            )

    def _check_arithmetic(self) -> None:
        threads, work_units = check_arithmetic(
            self.arithmetic, self.itk_threads, self.itk_tool, self.itk_work_units
        )
        self._set("itk_threads", threads)
        self._set("itk_work_units", work_units)
        if self.accelerate and self.arithmetic == "itk":
            raise InputError(
                "{arithmetic} is 'itk' and {accelerate} is True, which does not follow ITK to the "
                "last digit: give one of them"
            )

    def _check_one_mesh(self) -> None:
        given = [f"{{{name}}}" for name in _MESHES if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} say the same thing: give only one of them")
        points = self.control_points
        if points is None:
            return
        least = points if isinstance(points, int) else min(points, default=0)
        if least <= self.spline_order:
            raise InputError(
                "{control_points} is {0}; a spline of order {1} needs at least {2} on every axis",
                points,
                self.spline_order,
                self.spline_order + 1,
            )

    @classmethod
    def simpleitk(cls) -> Self:
        """Make SimpleITK's defaults: 4 levels of 50, threshold 0.001, mesh 1, no shrinking."""
        return cls()

    @classmethod
    def ants(cls) -> Self:
        """Make the defaults of ANTs' program: shrink 4, 4 levels of 50, threshold 0, mesh 1.

        Where no mask is given, ANTs uses the whole image: pass ``mask="all"`` for that.
        """
        return cls(conv_threshold=0.0, shrink_factor=4, mesh=1)

    @classmethod
    def antspy(cls) -> Self:
        """Make ANTsPy's defaults: those of ANTs, with threshold 1e-7."""
        return cls(conv_threshold=1e-7, shrink_factor=4, mesh=1)

    @classmethod
    def fast(cls) -> Self:
        """Come close to 4 levels of 50 iterations at threshold 0 in a fraction of the time."""
        return cls(conv_threshold=0.0, accelerate=True)

    @classmethod
    def auto(cls) -> Self:
        """Choose the mesh and all that belongs to it for each image (``adapt``)."""
        return cls(adapt=True)

    def override(self, **parameters: Unpack[N4Keywords]) -> Self:
        """Make the same settings with other values for some parameters.

        The control points, the mesh and the spline distance are three ways to give the mesh. So
        any of them replaces the one that these settings have.

        Raises
        ------
        ValueError
            A value is out of its range. The message names the parameter.
        TypeError
            A parameter is unknown.

        Examples
        --------
        >>> from n4ax import N4Settings
        >>> N4Settings.ants().override(spline_distance=200)
        N4Settings(conv_threshold=0.0, spline_distance=200, shrink_factor=4)
        """
        own: dict[str, Any] = {**self.keywords()}
        for name in parameters:
            if name not in own:
                raise TypeError(f"{name!r} is not a parameter of N4{_suggest(name, [*own])}")
        if any(parameters.get(name) is not None for name in _MESHES):
            own.update({"control_points": None, "mesh": None, "spline_distance": None})
        own.update(parameters)
        return type(self)(**own)

    @property
    def work_units(self) -> int:
        """The number of work units of ITK that ``arithmetic="itk"`` stands for."""
        if self.itk_work_units is not None:
            return self.itk_work_units
        return count_work_units(self.itk_threads or 1, self.itk_tool)

    def check_chosen(self, what: str) -> None:
        """Check that these settings are those of a run, and not still to be chosen.

        Raises
        ------
        ValueError
            ``adapt`` is true. ``what`` says what needs settings beforehand.
        """
        if self.adapt:
            raise InputError(
                '{preset:"auto"} chooses settings for one image at a time, and {0} needs the same '
                "ones for all: find them with n4ax tune, and give them",
                what,
            )

    def check_shared(self) -> None:
        """Check that the field may be applied to other images than its own.

        Raises
        ------
        ValueError
            ``scale`` is ``"minmax"`` or ``non_positive`` is ``"offset"``, which depend on the
            intensities of a single image.
        """
        for name, value in (("scale", "minmax"), ("non_positive", "offset")):
            if getattr(self, name) == value:
                raise InputError(
                    f"{{{name}}} is {{0!r}}, which depends on a single image, so that its field "
                    "cannot be applied to others: correct each image by itself, or choose another "
                    "value",
                    value,
                )

    def keywords(self) -> N4Keywords:
        """List the settings as keyword arguments for :func:`n4ax.n4` and :func:`n4ax.fit`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[return-value]


_MESHES = ("control_points", "mesh", "spline_distance")

CHOSEN = (
    "iters", "conv_threshold", "over_relax", "accelerate", "fwhm", *_MESHES, "shrink_factor",
)  # fmt: skip
"""What ``adapt`` chooses."""


def _suggest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; they are {', '.join(known)}"
