"""The Python front door: :func:`n4` for a corrected array, :func:`fit` for everything."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from n4ax.arrays import is_jax, is_traced, on_accelerator, returned, taken
from n4ax.field import BiasField, solved_field
from n4ax.problem import Problem, Spaces, pose
from n4ax.settings import (
    Convergence,
    EngineName,
    N4Settings,
    Nonfinite,
    Outside,
    PerAxis,
    VoxelOrder,
)
from n4ax.solver import Parameters, State, Stop, beginning, solution_of, solve

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
    def log_bias(self) -> Any:
        """The log bias field on the image's grid (ITK's index stretch); made when asked for.

        float32, of the input's array type.
        """
        engine = "xla" if is_jax(self.corrected) else "cpu"
        return returned(self.corrected, self.field.evaluate(engine=engine))


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
    engine: EngineName | None = None,
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
        The compiled CPU engine, or XLA on any device of JAX's. ``None`` takes XLA where an array
        is on an accelerator, or JAX has a GPU, and the CPU engine otherwise.
    num_threads : int, optional
        Of the CPU engine; by default the processors that the process may use, at most 16. The
        result does not depend on it.
    progress : callable, optional
        Called after every iteration with level (from 0), iteration (from 1), iterations of
        that level at most, and convergence measure.
    return_bias : bool
        Also return the log bias field.

    Returns
    -------
    corrected : array
        ``image / exp(log_bias)``, of the image's shape; float64 for a float64 image and
        float32 otherwise. Of the image's library and on its device: JAX arrays for JAX arrays,
        and through DLPack torch and CuPy tensors for such; NumPy for everything else.
    log_bias : array
        Only with ``return_bias``; float32, of the image's shape.

    Raises
    ------
    ValueError
        The input cannot be worked with, or a parameter is out of range; the message says which.

    Notes
    -----
    Time grows with the voxels in the mask and the iterations, memory is under three times the
    float32 volume (eight times the masked part of it by XLA). Nothing is rescaled: the field's
    level is that of ITK's.

    Image, mask and weights may be traced by JAX: inside ``jax.jit`` and under ``jax.vmap``. Inside
    ``jit`` nothing about their values is checked, and the whole volume is worked on rather than
    the part in the mask. There is no derivative to the field.

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

    def alone(image: Any, mask: Any, weights: Any) -> tuple[Any, ...]:
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
        return (result.corrected, result.log_bias) if return_bias else (result.corrected,)

    given = (image, mask, weights)
    if any(is_traced(array) for array in given):
        from n4ax.tracing import correct_traced

        chosen_engine(engine, *given)
        outputs = correct_traced(settings, given, spacing, return_bias, alone)
    else:
        outputs = alone(*given)
    return outputs if return_bias else outputs[0]


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
    engine: EngineName | None = None,
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
    spacing: float | Sequence[float] | Spaces | None = None,
    affine: npt.ArrayLike | None = None,
    engine: EngineName | None = None,
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
    spacing : float, one per axis, or Spaces
        As for :func:`n4`; or where image, mask and weights lie in space, axes in ITK's order.

    The other parameters, the result and the errors are those of :func:`fit`.
    """
    if num_threads is not None and (num_threads != int(num_threads) or num_threads < 1):
        raise ValueError(f"num_threads is {num_threads!r}; expected a whole number of at least 1")
    given = (image, mask, weights)
    if any(is_traced(array) for array in given):
        raise ValueError("image, mask or weights are traced by JAX: inside jax.jit call n4ax.n4")
    machine = chosen_engine(engine, *given)
    volume, inside, confidence = (engine_array(machine, array) for array in given)
    with _precisely(machine):
        problem = pose(volume, inside, confidence, spacing, settings)
        state = _solved(machine, problem, settings, num_threads, progress, trace)
        solution = solution_of(state, settings)
        field = solved_field(problem, solution.lattice, settings, volume.shape, affine)
        corrected = field.applied(
            volume,
            field.inside(problem),
            settings.outside,
            num_threads=num_threads,
            give_up=not is_jax(taken(image)),
        )
    return N4Result(
        corrected=returned(image, corrected),
        field=field,
        iterations=solution.iterations,
        convergence=solution.convergence,
        stopped=solution.stopped,
        settings=settings,
    )


def chosen_engine(engine: EngineName | None, *arrays: Any) -> EngineName:
    """Which engine is to work on ``arrays``: the one asked for, or the one that fits.

    XLA where an array is on an accelerator, or there is an accelerator for those that are not.
    """
    if engine not in (None, "cpu", "xla"):
        raise ValueError(f'engine is {engine!r}; expected None, "cpu" or "xla"')
    if any(is_traced(array) for array in arrays):
        if engine == "cpu":
            raise ValueError('engine is "cpu", which cannot be part of a JAX program: use "xla"')
        return "xla"
    if engine is not None:
        return engine
    return "xla" if any(map(on_accelerator, arrays)) or _accelerator_found() else "cpu"


@cache
def _accelerator_found() -> bool:
    """Whether JAX has a GPU here. JAX is only asked, which takes a while, if it has a plugin."""
    if find_spec("jax_plugins") is None:
        return False
    import jax

    return jax.default_backend() == "gpu"


def engine_array(machine: EngineName, array: Any) -> Any:
    """An argument as an array of the engine's; words and ``None`` stay."""
    if array is None or isinstance(array, str):
        return array
    own = taken(array)
    if machine == "cpu":
        return np.asarray(own)
    if is_jax(own):
        return own
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        return jnp.asarray(own)


def _precisely(machine: EngineName) -> AbstractContextManager[Any]:
    """Double precision for what JAX does, which otherwise has none."""
    if machine == "cpu":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def _solved(
    machine: EngineName,
    problem: Problem,
    settings: N4Settings,
    num_threads: int | None,
    progress: Progress | None,
    trace: bool,
) -> State:
    if machine == "xla":
        from n4ax.engines import programs

        state = programs.estimate(problem, settings, progress, trace)
        return state._replace(lattice=np.asarray(state.lattice))
    from n4ax.engines.cpu import FEW_VOXELS, CpuEngine, Threads

    few = np.count_nonzero(problem.included) < FEW_VOXELS
    with Threads(1 if few else num_threads) as threads:
        engine = CpuEngine(problem, settings, threads)
        start = beginning(engine, len(settings.iters), max(settings.iters))
        parameters = Parameters.of(settings, always=trace or progress is not None)
        return solve(engine, parameters, start, progress)
