"""From an image to its field and its correction, once its parameters are settled."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.field import BiasField, make_field
from n4ax.images.arrays import import_array, is_jax, is_lazy, is_on_accelerator, is_torch, is_traced
from n4ax.images.libraries import make_like, open_image, open_together
from n4ax.itk.space import Space, Spaces
from n4ax.level import finish
from n4ax.method.accelerated import choose_thinning, has_enough, solve_accelerated
from n4ax.method.solver import Parameters, State, Stop, make_start_state, solve, summarise
from n4ax.posing import Problem, pose
from n4ax.settings import EngineName, N4Settings

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
        volume = open_image(self.corrected).voxels
        return make_like(self.corrected, self.field.evaluate_like(import_array(volume)))


def fit_image(
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
    every_measure: bool = True,
) -> N4Result:
    """As :func:`fit`, with all parameters of N4 in one object.

    Parameters
    ----------
    settings : N4Settings
        The parameters.
    every_measure : bool
        Compute the convergence measure of every iteration. Without it (and without
        ``progress``) it is computed only where it can end a level, and NaN elsewhere.
    spacing : float, one per axis, or Spaces
        As for :func:`n4`; or where image, mask and weights lie in space, axes in ITK's order.

    The other parameters, the result and the errors are those of :func:`fit`.
    """
    job = pose_image(settings, image, mask, weights, spacing, affine, engine)
    with double_precision(job.engine):
        state = solve_problem(job, check_threads(num_threads), progress, every_measure)
        return finish_image(job, state, num_threads)


class PosedImage(NamedTuple):
    """An image ready for the solver."""

    image: Any
    """As it was given."""
    volume: Any
    """As an array of the engine's."""
    spare: bool
    """Whether the memory of that array is nobody else's."""
    problem: Problem
    settings: N4Settings
    engine: EngineName
    affine: npt.ArrayLike | None
    axes_known: bool
    """Whether the image says how its axes run."""
    space: Space | None
    """Where it lies, if it says so."""


def pose_image(
    settings: N4Settings,
    image: Any,
    mask: Any,
    weights: Any,
    spacing: float | Sequence[float] | Spaces | None,
    affine: npt.ArrayLike | None,
    engine: EngineName | None,
) -> PosedImage:
    """Open an image, its mask and its weights, and pose the problem; errors as :func:`fit`."""
    if any(is_traced(array) for array in (image, mask, weights)):
        raise ValueError("image, mask or weights are traced by JAX: inside jax.jit call n4ax.n4")
    given = open_together(image, mask, weights, settings.voxel_order)
    if given.order is not None:
        settings = replace(settings, voxel_order=given.order)
    machine = choose_engine(engine, *given.arrays)
    volume, inside, confidence = (to_engine(machine, array) for array in given.arrays)
    with double_precision(machine):
        where = given.spaces if spacing is None else spacing
        problem = pose(volume, inside, confidence, where, settings)
    place = given.affine if affine is None else affine
    spare = not is_jax(import_array(given.arrays[0]))  # else it may be the user's own
    space = None if given.spaces is None else given.spaces.image
    # An affine is of axes x, y, z, which "F" confirms.
    known = given.order is not None or (affine is not None and settings.voxel_order == "F")
    return PosedImage(image, volume, spare, problem, settings, machine, place, known, space)


def finish_image(job: PosedImage, state: State, num_threads: int | None) -> N4Result:
    """The result, once the solver has come to its end."""
    solution = summarise(state, job.settings)
    field = make_field(
        job.problem,
        solution.lattice,
        job.settings,
        job.volume.shape,
        job.affine,
        job.axes_known,
    )
    corrected, field = finish(
        field,
        job.volume,
        job.problem,
        job.settings,
        num_threads=num_threads,
        give_up=job.spare,
    )
    return N4Result(
        corrected=make_like(job.image, corrected),
        field=field,
        iterations=solution.iterations,
        convergence=solution.convergence,
        stopped=solution.stopped,
        settings=job.settings,
    )


def check_threads(num_threads: int | None) -> int | None:
    """A number of threads, if it is one.

    Raises
    ------
    ValueError
        It is not.
    """
    if num_threads is not None and (num_threads != int(num_threads) or num_threads < 1):
        raise ValueError(f"num_threads is {num_threads!r}; expected a whole number of at least 1")
    return num_threads


def choose_engine(engine: EngineName | None, *arrays: Any) -> EngineName:
    """Which engine is to work on ``arrays``: the one asked for, or the one that fits.

    XLA where an array is on an accelerator, or there is an accelerator for those that are not.
    """
    if engine not in (None, "cpu", "xla"):
        raise ValueError(f'engine is {engine!r}; expected None, "cpu" or "xla"')
    if any(map(is_lazy, arrays)):
        if engine == "xla":
            raise ValueError('engine is "xla", which takes no dask or zarr arrays: use "cpu"')
        return "cpu"
    if any(is_traced(array) for array in arrays):
        if engine == "cpu":
            raise ValueError('engine is "cpu", which cannot be part of a JAX program: use "xla"')
        return "xla"
    if engine is not None:
        return engine
    return "xla" if any(map(is_on_accelerator, arrays)) or _accelerator_found() else "cpu"


@cache
def _accelerator_found() -> bool:
    """Whether JAX has a GPU here. JAX is only asked, which takes a while, if it has a plugin."""
    if find_spec("jax_plugins") is None:
        return False
    import jax

    return jax.default_backend() == "gpu"


def to_engine(machine: EngineName, array: Any) -> Any:
    """An argument as an array of the engine's; words and ``None`` stay."""
    if array is None or isinstance(array, str):
        return array
    if machine == "cpu" and is_torch(array):
        array = array.cpu()
    own = import_array(array)
    if is_lazy(own):
        return own
    if machine == "cpu":
        return np.asarray(own)
    if is_jax(own):
        return own
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        return jnp.asarray(own)


def double_precision(machine: EngineName) -> AbstractContextManager[Any]:
    """Double precision for what JAX does, which otherwise has none."""
    if machine == "cpu":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def solve_problem(
    job: PosedImage, num_threads: int | None, progress: Progress | None, every_measure: bool
) -> State:
    """Solve the problem of one image with its engine."""
    if job.engine == "xla":
        from n4ax.engines.xla import programs

        state = programs.estimate(job.problem, job.settings, progress, every_measure)
        return state._replace(lattice=np.asarray(state.lattice))
    return solve_on_cpu([job.problem], job.settings, num_threads, progress, every_measure)


def solve_on_cpu(
    problems: Sequence[Problem],
    settings: N4Settings,
    num_threads: int | None,
    progress: Progress | None,
    every_measure: bool,
) -> State:
    """Solve on the CPU engine: one problem, or several with one field."""
    from n4ax.engines.cpu.threads import make_threads

    parameters = Parameters.of(settings, every_measure=every_measure or progress is not None)
    with make_threads(problems, num_threads) as threads:
        engine = _cpu_engine(problems, settings, threads)
        if not settings.accelerate:
            start = make_start_state(engine, len(settings.iters), max(settings.iters))
            return solve(engine, parameters, start, progress)
        every = choose_thinning(problems[0].included, _finest_mesh(problems[0], settings))
        few = [problem.thinned(every) for problem in problems]
        if max(every) == 1 or not all(has_enough(problem.included) for problem in few):
            return solve_accelerated(engine, engine, parameters, progress)
        with make_threads(few, num_threads) as threads_of_few:
            thinned = _cpu_engine(few, settings, threads_of_few)
            return solve_accelerated(engine, thinned, parameters, progress)


def _finest_mesh(problem: Problem, settings: N4Settings) -> list[int]:
    """Elements along each axis at the last level."""
    halvings = 2 ** (len(settings.iters) - 1)
    return [(points - settings.spline_order) * halvings for points in problem.control_points]


def _cpu_engine(problems: Sequence[Problem], settings: N4Settings, threads: Any) -> Any:
    from n4ax.engines.cpu.engine import CpuEngine
    from n4ax.engines.cpu.shared import SharedEngine

    each = [CpuEngine(problem, settings, threads) for problem in problems]
    return each[0] if len(each) == 1 else SharedEngine(each)
