"""The Python front door: :func:`n4` for a corrected array, :func:`fit` for everything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from n4ax.engines.cpu import CpuEngine, Threads
from n4ax.field import BiasField
from n4ax.problem import Problem, pose
from n4ax.settings import (
    Convergence,
    N4Settings,
    Nonfinite,
    Outside,
    PerAxis,
    VoxelOrder,
)
from n4ax.solver import Parameters, Solution, Stop, beginning, solution_of, solve

Progress = Callable[[int, int, int, float], None]
"""Called after every iteration with level (from 0), iteration (from 1), of how many, measure."""


@dataclass(frozen=True)
class N4Result:
    """What :func:`fit` found.

    Attributes
    ----------
    corrected
        The corrected image, of the input's array type and shape.
    field
        The bias field as a spline: evaluate it elsewhere, apply it to other images, save it.
    iterations
        Iterations done at each level.
    convergence
        The convergence measure of every iteration, per level.
    stopped
        Why each level ended: ``"converged"`` or ``"iteration limit"``.
    settings
        The parameters it was found with.
    """

    corrected: Any
    field: BiasField
    iterations: list[int]
    convergence: list[list[float]]
    stopped: list[Stop]
    settings: N4Settings

    @cached_property
    def log_bias(self) -> npt.NDArray[np.float32]:
        """The log bias field on the image's grid (ITK's index stretch); made when asked for."""
        return self.field.evaluate()


def n4(
    image: npt.ArrayLike,
    mask: npt.ArrayLike | Literal["otsu", "all"] | None = None,
    *,
    iters: Sequence[int] = (50, 50, 50, 50),
    over_relax: float = 1.0,
    conv_threshold: float = 0.001,
    convergence: Convergence = "itk",
    nbins: int = 200,
    fwhm: float = 0.15,
    wiener: float = 0.01,
    tiny: float | None = None,
    weights: npt.ArrayLike | None = None,
    mask_label: int | None = None,
    control_points: PerAxis | None = None,
    mesh: PerAxis | None = None,
    spline_order: int = 3,
    spline_distance: float | None = None,
    spacing: float | Sequence[float] | None = None,
    shrink_factor: PerAxis = 1,
    nonfinite: Nonfinite = "error",
    outside: Outside = "divide",
    voxel_order: VoxelOrder = "C",
    engine: Literal["cpu", "xla"] | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    return_bias: bool = False,
) -> Any:
    """Correct the bias field of an image (N4, Tustison et al. 2010).

    The defaults are SimpleITK's, and so are the numbers.

    Parameters
    ----------
    image : array
        Intensities, 2, 3 or 4 axes (axes of length 1 do not count), any real dtype.
    mask : array, "otsu" or "all", optional
        Array of the image's shape; inside where it is not 0, or equals ``mask_label``. By
        default, as with ``"otsu"``, :func:`otsu_mask` of the image.
    iters : sequence of int
        Most iterations at each level; the mesh doubles from one level to the next.
    over_relax : float
        Factor on every increment; 1 is N4. Above 1, at most about 1.8, takes fewer iterations.
    conv_threshold : float
        A level ends once the convergence measure is not above this; 0 runs all iterations.
    convergence : "itk" or "exact"
        The measure as ITK computes it, or the coefficient of variation that it stands for.
    nbins : int
        Histogram bins.
    fwhm : float
        Full width at half maximum of the field's distribution, in log intensity.
    wiener : float
        Noise of the Wiener filter.
    tiny : float, optional
        Floor under the intensities before the logarithm. By default, as in ITK, an intensity
        that is not positive stays, unlogged, as it is.
    weights : array, optional
        Confidence of each voxel in the fit, of the image's shape; not above 0 leaves it out.
    mask_label : int, optional
        The one mask value that counts as inside.
    control_points, mesh : int or one per axis, optional
        B-spline control points, or mesh elements (control points less the order), at the first
        level. The default is 4 control points (order + 1 where that is more), as in SimpleITK.
    spline_order : int
        1 to 5.
    spline_distance : float, optional
        Length of a mesh element at the first level in mm, as in ANTs; needs ``spacing``.
    spacing : float or one per axis, optional
        Voxel size in mm.
    shrink_factor : int or one per axis
        Estimate on every n-th voxel; the result is at full resolution all the same.
    nonfinite : "error" or "exclude"
        What to do with NaN and infinite voxels in the mask.
    outside : "divide", "keep" or "zero"
        The corrected image outside the mask: divided by the field too, as in ITK, or as it was,
        or 0.
    voxel_order : "C" or "F"
        Which axis ITK would walk fastest: the last (``SimpleITK.GetImageFromArray``), or the
        first (arrays read from NIfTI files by nibabel). Never guessed from the memory layout.
    engine : "cpu", "xla" or None
        ``None`` takes the compiled CPU engine, the only one in this version.
    num_threads : int, optional
        By default the processors that the process may use, at most 16. The result does not
        depend on it.
    progress : callable, optional
        Called after every iteration with level (from 0), iteration (from 1), iterations of
        that level at most, and convergence measure.
    return_bias : bool
        Also return the log bias field.

    Returns
    -------
    corrected : array
        ``image / exp(log_bias)``, of the image's shape; float64 for a float64 image and
        float32 otherwise. A JAX array for a JAX array, NumPy for everything else.
    log_bias : array
        Only with ``return_bias``; float32, of the image's shape.

    Raises
    ------
    ValueError
        The input cannot be worked with, or a parameter is out of range; the message says which.

    Notes
    -----
    Time grows with the voxels in the mask and the iterations, memory is under three times the
    float32 volume. Nothing is rescaled: the field's level is that of ITK's.

    References
    ----------
    N. J. Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE Transactions on Medical
    Imaging 29(6), 2010, doi:10.1109/TMI.2010.2046908.

    Examples
    --------
    >>> import numpy as np, n4ax
    >>> x = np.linspace(0, 1, 32)
    >>> brain = np.where(np.hypot(*np.meshgrid(x - 0.5, x - 0.5)) < 0.3, 200.0, 100.0)
    >>> shaded = brain * (1 + 0.3 * x)
    >>> n4ax.n4(shaded, mask="all").shape
    (32, 32)
    """
    settings = N4Settings(
        iters=iters,
        over_relax=over_relax,
        conv_threshold=conv_threshold,
        convergence=convergence,
        nbins=nbins,
        fwhm=fwhm,
        wiener=wiener,
        tiny=tiny,
        mask_label=mask_label,
        control_points=control_points,
        mesh=mesh,
        spline_order=spline_order,
        spline_distance=spline_distance,
        shrink_factor=shrink_factor,
        nonfinite=nonfinite,
        outside=outside,
        voxel_order=voxel_order,
    )
    result = fit_with(
        settings,
        image,
        mask,
        weights=weights,
        spacing=spacing,
        engine=engine,
        num_threads=num_threads,
        progress=progress,
        trace=False,
    )
    if not return_bias:
        return result.corrected
    return result.corrected, _like(image, result.field.evaluate(num_threads=num_threads))


def fit(
    image: npt.ArrayLike,
    mask: npt.ArrayLike | Literal["otsu", "all"] | None = None,
    *,
    iters: Sequence[int] = (50, 50, 50, 50),
    over_relax: float = 1.0,
    conv_threshold: float = 0.001,
    convergence: Convergence = "itk",
    nbins: int = 200,
    fwhm: float = 0.15,
    wiener: float = 0.01,
    tiny: float | None = None,
    weights: npt.ArrayLike | None = None,
    mask_label: int | None = None,
    control_points: PerAxis | None = None,
    mesh: PerAxis | None = None,
    spline_order: int = 3,
    spline_distance: float | None = None,
    spacing: float | Sequence[float] | None = None,
    shrink_factor: PerAxis = 1,
    nonfinite: Nonfinite = "error",
    outside: Outside = "divide",
    voxel_order: VoxelOrder = "C",
    engine: Literal["cpu", "xla"] | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    affine: npt.ArrayLike | None = None,
) -> N4Result:
    """Estimate the bias field of an image, and correct it.

    As :func:`n4`, with everything that was found: the field as a spline, which can be saved and
    applied to other images, and how the iterations went.

    Parameters
    ----------
    image, mask, iters, ..., progress
        As for :func:`n4`.
    affine : array of shape (4, 4), optional
        Voxel indices to mm, kept with the field for :meth:`BiasField.evaluate_at`.

    Returns
    -------
    N4Result

    Raises
    ------
    ValueError
        The input cannot be worked with, or a parameter is out of range; the message says which.
    """
    settings = N4Settings(
        iters=iters,
        over_relax=over_relax,
        conv_threshold=conv_threshold,
        convergence=convergence,
        nbins=nbins,
        fwhm=fwhm,
        wiener=wiener,
        tiny=tiny,
        mask_label=mask_label,
        control_points=control_points,
        mesh=mesh,
        spline_order=spline_order,
        spline_distance=spline_distance,
        shrink_factor=shrink_factor,
        nonfinite=nonfinite,
        outside=outside,
        voxel_order=voxel_order,
    )
    return fit_with(
        settings,
        image,
        mask,
        weights=weights,
        spacing=spacing,
        affine=affine,
        engine=engine,
        num_threads=num_threads,
        progress=progress,
    )


def fit_with(
    settings: N4Settings,
    image: npt.ArrayLike,
    mask: npt.ArrayLike | Literal["otsu", "all"] | None = None,
    *,
    weights: npt.ArrayLike | None = None,
    spacing: float | Sequence[float] | None = None,
    affine: npt.ArrayLike | None = None,
    engine: Literal["cpu", "xla"] | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
    trace: bool = True,
) -> N4Result:
    """As :func:`fit`, with all parameters of N4 in one object.

    Parameters
    ----------
    settings : N4Settings
        The parameters.
    trace : bool
        Compute the convergence measure of every iteration. Without it (and without
        ``progress``) it is computed only where it can end a level, and NaN elsewhere.

    The other parameters, the result and the errors are those of :func:`fit`.
    """
    if engine not in (None, "cpu", "xla"):
        raise ValueError(f'engine is {engine!r}; expected None, "cpu" or "xla"')
    if engine == "xla":
        raise ValueError('engine="xla" is not in this version of n4ax: use "cpu" or None')
    if num_threads is not None and (num_threads != int(num_threads) or num_threads < 1):
        raise ValueError(f"num_threads is {num_threads!r}; expected a whole number of at least 1")
    array = np.asarray(image)
    problem = pose(
        array,
        mask if mask is None or isinstance(mask, str) else np.asarray(mask),
        None if weights is None else np.asarray(weights),
        spacing,
        settings,
    )
    with Threads(num_threads) as threads:
        machine = CpuEngine(problem, settings, threads)
        parameters = Parameters.of(settings, always=trace or progress is not None)
        start = beginning(machine, len(settings.iters), max(settings.iters))
        state = solve(machine, parameters, start, progress)
    solution = solution_of(state, settings)
    field = _field(array.shape, affine, problem, solution, settings)
    inside = problem.mask.T if settings.voxel_order == "F" else problem.mask
    corrected = field.apply(
        array, inside.reshape(array.shape), outside=settings.outside, num_threads=num_threads
    )
    return N4Result(
        corrected=_like(image, corrected),
        field=field,
        iterations=solution.iterations,
        convergence=solution.convergence,
        stopped=solution.stopped,
        settings=settings,
    )


def _field(
    shape: tuple[int, ...],
    affine: npt.ArrayLike | None,
    problem: Problem,
    solution: Solution,
    settings: N4Settings,
) -> BiasField:
    """The solution in the axis order of the array that was given."""
    reverse = settings.voxel_order == "F"
    lattice = solution.lattice.T if reverse else solution.lattice
    return BiasField(
        control_points=np.ascontiguousarray(lattice),
        order=settings.spline_order,
        shape=shape,
        axes=problem.axes[::-1] if reverse else problem.axes,
        voxel_order=settings.voxel_order,
        affine=None if affine is None else np.asarray(affine, np.float64),
    )


def _like(given: Any, result: npt.NDArray[Any]) -> Any:
    """``result`` as a JAX array on the device of ``given``, if that is one."""
    if type(given).__module__.partition(".")[0] not in ("jax", "jaxlib"):
        return result
    import jax

    return jax.device_put(result, given.sharding)
