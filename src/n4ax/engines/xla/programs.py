"""The programs that XLA compiles: what for, and how they are called.

Each is compiled once for the shapes that it meets; see :mod:`n4ax.engines.xla.box` for how volumes
come to share them. Inside, double precision is on whatever the caller's setting is.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec

from n4ax.engines.xla.box import Voxels, bounding_box, lay_voxels, whole_box
from n4ax.engines.xla.engine import Tables, XlaEngine, evaluate_spline, level_tables
from n4ax.images.arrays import is_traced
from n4ax.method.bspline import AxisBasis
from n4ax.method.problem import Problem
from n4ax.method.solver import Parameters, Progress, State, solve, start_state
from n4ax.settings import N4Settings

BURST = 10
"""Iterations between two looks at whether a level has ended, on accelerators."""

CACHE_VARIABLE = "N4AX_CACHE_DIR"
"""Environment variable: where compiled programs are kept; empty for nowhere."""


class ProgramKey(NamedTuple):
    """What a program is compiled for, besides the shapes of its arguments."""

    shape: tuple[int, ...]
    nbins: int
    most: int
    exact: bool
    burst: int
    watched: bool


class Arguments(NamedTuple):
    """The arguments of the program: a box of voxels, and how it is to be solved."""

    voxels: Voxels
    tables: Tables
    first: Any
    parameters: Parameters
    listener: Any


def prepare(
    problem: Problem, settings: N4Settings, every_measure: bool = True, watched: bool = False
) -> tuple[Arguments, ProgramKey]:
    """The job of a problem, whose arrays are JAX's, and the plan of the program that does it."""
    arrays = (problem.intensities, problem.included, problem.weights)
    traced = any(map(is_traced, arrays))
    shape = problem.included.shape
    box = whole_box(shape) if traced else bounding_box(problem.included)
    platform = jax.default_backend() if traced else _platform(problem.intensities)
    plan = ProgramKey(
        shape=box.shape,
        nbins=settings.nbins,
        most=-(-max(1, *settings.iters) // 64) * 64,
        exact=settings.convergence == "exact",
        burst=1 if platform == "cpu" or watched else BURST,
        watched=watched,
    )
    first = np.array(box.first, np.int32)
    tiny = np.float32(np.nan if settings.tiny is None else settings.tiny)
    job = Arguments(
        voxels=lay_voxels(*arrays, tiny, first, shape=box.shape, room=box.room),
        tables=level_tables(
            problem.axes, problem.control_points, settings.spline_order, len(settings.iters)
        ),
        first=first,
        parameters=Parameters.of(settings, every_measure),
        listener=np.int32(0),
    )
    return job, plan


def _platform(array: Array) -> str:
    return next(iter(array.devices())).platform


def engine_for(job: Arguments, plan: ProgramKey) -> XlaEngine:
    """The engine for a job, its tables cut to the box."""
    cut = [
        tuple(
            lax.dynamic_slice_in_dim(table, job.first[axis], plan.shape[axis], axis=2)
            for axis, table in enumerate(tables)
        )
        for tables in job.tables[:-1]
    ]
    tables = Tables(*cut, refinement=job.tables.refinement)
    return XlaEngine(job.voxels, tables, plan.shape, plan.nbins, plan.exact, plan.burst)


def run(job: Arguments, plan: ProgramKey) -> State:
    """The final state, without its field. To be traced, or called as :data:`compiled_run`."""
    engine = engine_for(job, plan)
    watch = partial(_report, job.listener) if plan.watched else None
    start = start_state(engine, len(job.parameters.iters), plan.most)
    return solve(engine, job.parameters, start, watch)._replace(field=None)


compiled_run = jax.jit(run, static_argnames="plan")


def estimate(
    problem: Problem,
    settings: N4Settings,
    watch: Progress | None = None,
    every_measure: bool = True,
) -> State:
    """Solve a problem whose arrays are JAX's; the state's are too."""
    keep_programs()
    with jax.enable_x64(True), _listening(watch) as listener:
        job, plan = prepare(
            problem, settings, every_measure or watch is not None, watch is not None
        )
        state = compiled_run(job._replace(listener=np.int32(listener)), plan)
        return state if watch is None else jax.block_until_ready(state)


def run_sharded(
    jobs: dict[int, Arguments], place: dict[int, Any], plan: ProgramKey
) -> dict[int, State]:
    """Many jobs of one plan, each on the device where it is; the states are on the host.

    Every device does its own one after the other, as many as the device that has most: a device
    with fewer repeats some, which costs no time.
    """
    keep_programs()
    devices = jax.devices()
    own = {device: [k for k in jobs if place[k] == device] for device in devices}
    most = max(map(len, own.values()))
    order, parts = [], []
    for device, keys in own.items():
        keys = (keys or list(jobs)[:1]) * most
        order.extend(keys[:most])
        on_device = [jax.device_put(jobs[k], device) for k in keys[:most]]
        parts.append(jax.tree.map(lambda *leaves: jnp.stack(leaves), *on_device))
    mesh = jax.make_mesh((len(devices),), ("batch",), devices=devices)
    sharding = NamedSharding(mesh, PartitionSpec("batch"))

    def whole(*leaves: Array) -> Array:
        shape = (len(order), *leaves[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, list(leaves))

    states = jax.device_get(_run_all(jax.tree.map(whole, *parts), plan, mesh))
    return {k: jax.tree.map(lambda leaf: leaf[i], states) for i, k in enumerate(order)}  # noqa: B023


@partial(jax.jit, static_argnames=("plan", "mesh"))
def _run_all(jobs: Arguments, plan: ProgramKey, mesh: jax.sharding.Mesh) -> State:
    def one_by_one(jobs: Arguments) -> State:
        return lax.map(partial(run, plan=plan), jobs)

    spec = PartitionSpec("batch")
    # The states of a loop begin as constants, which the check would take for unsharded.
    sharded = jax.shard_map(one_by_one, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    return sharded(jobs)


# ---- progress --------------------------------------------------------------------------------

_listeners: dict[int, Callable[..., None]] = {}
_tickets = count(1)


@contextmanager
def _listening(watch: Progress | None) -> Any:
    """A number under which the program reports to ``watch``, whose error is raised at the end."""
    if watch is None:
        yield 0
        return
    ticket = next(_tickets)
    errors: list[BaseException] = []

    def tell(level: Any, iteration: Any, limit: Any, measure: Any) -> None:
        if errors:
            return
        try:
            watch(int(level), int(iteration), int(limit), float(measure))
        except BaseException as error:  # it would end the program in the middle, without a word
            errors.append(error)

    _listeners[ticket] = tell
    try:
        yield ticket
        jax.effects_barrier()
    finally:
        del _listeners[ticket]
    if errors:
        raise errors[0]


def _report(listener: Array, *news: Any) -> None:
    jax.debug.callback(_tell, listener, *news, ordered=True)


def _tell(listener: Any, *news: Any) -> None:
    _listeners[int(listener)](*news)


# ---- the field on a grid ---------------------------------------------------------------------


def evaluate(lattice: Any, bases: Sequence[AxisBasis]) -> Array:
    """The lattice's spline on the grid that ``bases`` describe, float32."""
    with jax.enable_x64(True):
        return _evaluate(jnp.asarray(lattice), _dense(bases))


def divide(image: Array, lattice: Any, bases: Sequence[AxisBasis], *, overwrite: bool) -> Array:
    """``image / exp(spline)``: the exponential in float32, the quotient in the image's type.

    float64 for a float64 image and float32 otherwise. ``overwrite``: the image is a copy of one on
    the host, and on an accelerator its memory may take the result.
    """
    with jax.enable_x64(True):
        program = _divide_in_place if overwrite and _may_be_overwritten(image) else _divide
        return program(image, jnp.asarray(lattice), _dense(bases))


def _may_be_overwritten(image: Array) -> bool:
    """Whether its memory is not that of the host's array itself, and fits the result."""
    if is_traced(image) or _platform(image) == "cpu":
        return False
    return image.dtype in (jnp.float32, jnp.float64)


def _dense(bases: Sequence[AxisBasis]) -> tuple[Any, ...]:
    return tuple(basis.dense(basis.weights) for basis in bases)


@jax.jit
def _evaluate(lattice: Array, weights: tuple[Array, ...]) -> Array:
    return evaluate_spline(lattice, weights).reshape([w.shape[1] for w in weights])


def _quotient(image: Array, lattice: Array, weights: tuple[Array, ...]) -> Array:
    wide = image.dtype == jnp.float64
    given = image.astype(jnp.float64 if wide else jnp.float32)
    return given / jnp.exp(_evaluate(lattice, weights))


_divide = jax.jit(_quotient)
_divide_in_place = jax.jit(_quotient, donate_argnums=0)


# ---- compiled programs on disk ---------------------------------------------------------------


@cache
def keep_programs() -> None:
    """Let JAX keep what it compiles in the user's cache folder, unless it was told where to.

    ``N4AX_CACHE_DIR`` names another folder; empty, nothing is kept.
    """
    folder = os.environ.get(CACHE_VARIABLE)
    if folder is None:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = str(Path(caches) / "n4ax" / "xla")
    if folder and jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", folder)
