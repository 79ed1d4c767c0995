"""The programs that XLA compiles, and how they are called.

Each program is compiled once for the shapes of its arguments; :mod:`n4ax.engines.xla.box` says how
volumes come to have the same shapes. Inside a program double precision is on, whatever the
caller's setting is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec

from n4ax.engines.xla.box import Voxels, find_bounding_box, make_whole_box, pack_voxels
from n4ax.engines.xla.engine import XlaEngine
from n4ax.engines.xla.kept import keep_program
from n4ax.engines.xla.tables import Tables, make_level_tables
from n4ax.images.arrays import is_traced
from n4ax.itk.versions import RULES
from n4ax.method.footprint import MOST_KEPT
from n4ax.method.problem import Problem
from n4ax.method.shared import SharedEngine
from n4ax.method.solver import Engine, Parameters, Progress, State, make_start_state, solve
from n4ax.settings import N4Settings

HISTORY_STEP = 64
"""The history has room for a multiple of this many iterations, so that settings with about as many
iterations share a program."""


class ProgramKey(NamedTuple):
    """What a program is compiled for, besides the shapes of its arguments.

    Attributes
    ----------
    shape
        Shape of the box.
    nbins
        Number of histogram bins.
    most
        The most iterations that the history of a level has room for.
    exact
        Whether levels end by the true coefficient of variation.
    tests_both_ends
        Whether every voxel is tested for the least and the greatest, as in ITK 6.
    on_cpu
        Whether the program is for the CPU.
    reports
        Whether the program reports its progress.
    keeps_path
        Whether the program keeps the lattices after all iterations.
    """

    shape: tuple[int, ...]
    nbins: int
    most: int
    exact: bool
    tests_both_ends: bool
    on_cpu: bool
    reports: bool
    keeps_path: bool


class Arguments(NamedTuple):
    """The arguments of a program.

    Attributes
    ----------
    voxels
        The voxels of the box.
    tables
        The spline tables for the samples of the whole image.
    first
        Index of the first voxel of the box, shape (axes,).
    parameters
        The parameters of N4.
    listener
        Number of the listener that progress is reported to.
    """

    voxels: Voxels
    tables: Tables
    first: Any
    parameters: Parameters
    listener: Any


def prepare(
    problem: Problem, settings: N4Settings, lists: bool = False, reports: bool = False
) -> tuple[Arguments, ProgramKey]:
    """Prepare the arguments for a problem with JAX arrays, and the key of the program for it.

    Parameters
    ----------
    problem
        The image, and what is estimated on.
    settings
        The parameters of N4.
    lists
        Whether the measures of all iterations may be asked for after the run.
    reports
        Whether the program reports its progress.
    """
    arrays = (problem.intensities, problem.included, problem.weights)
    traced = any(map(is_traced, arrays))
    shape = problem.included.shape
    box = make_whole_box(shape) if traced else find_bounding_box(problem.included)
    platform = jax.default_backend() if traced else _platform(problem.intensities)
    key = ProgramKey(
        shape=box.shape,
        nbins=settings.nbins,
        most=_room_for(settings),
        exact=settings.convergence == "exact",
        tests_both_ends=RULES[settings.itk_version].tests_both_ends,
        on_cpu=platform == "cpu",
        reports=reports,
        keeps_path=lists and _has_room(problem, settings),
    )
    first = np.array(box.first, np.int32)
    tiny = np.float32(np.nan if settings.tiny is None else settings.tiny)
    arguments = Arguments(
        voxels=pack_voxels(*arrays, tiny, first, shape=box.shape, room=box.room),
        tables=make_level_tables(
            problem.axes,
            problem.control_points,
            settings.spline_order,
            len(settings.iters),
            settings.itk_version,
        ),
        first=first,
        parameters=Parameters.of(settings, every_measure=reports or lists > key.keeps_path),
        listener=np.int32(0),
    )
    return arguments, key


def _room_for(settings: N4Settings) -> int:
    """The most iterations that the history of a level gets room for."""
    return -(-max(1, *settings.iters) // HISTORY_STEP) * HISTORY_STEP


def _has_room(problem: Problem, settings: N4Settings) -> bool:
    """Whether there is room for all lattices, each padded to the finest mesh."""
    order, levels = settings.spline_order, len(settings.iters)
    finest = prod((n - order) * 2 ** (levels - 1) + order for n in problem.control_points)
    return 4 * levels * _room_for(settings) * finest <= MOST_KEPT


def _platform(array: Array) -> str:
    """The kind of device that an array is on."""
    return next(iter(array.devices())).platform


def make_engine(arguments: Arguments, key: ProgramKey) -> XlaEngine:
    """Make the engine of a program, with the tables cut to the box."""
    cut = [
        tuple(
            lax.dynamic_slice_in_dim(table, arguments.first[axis], key.shape[axis], axis=2)
            for axis, table in enumerate(tables)
        )
        for tables in arguments.tables[:-1]
    ]
    tables = Tables(*cut, refinement=arguments.tables.refinement)
    return XlaEngine(
        arguments.voxels,
        tables,
        shape=key.shape,
        nbins=key.nbins,
        exact=key.exact,
        tests_both_ends=key.tests_both_ends,
        on_cpu=key.on_cpu,
    )


def run(arguments: Arguments, key: ProgramKey) -> State:
    """Solve a problem, and return the last state without its field.

    This is to be traced by JAX. :data:`compiled_run` compiles it.
    """
    return _solve(make_engine(arguments, key), arguments, key)


def run_shared(arguments: tuple[Arguments, ...], keys: tuple[ProgramKey, ...]) -> State:
    """Estimate one field that several images share, and return the last state without its field.

    The parameters and the listener are those of the first image. This is to be traced by JAX too.
    """
    engines = [make_engine(*one) for one in zip(arguments, keys, strict=True)]
    return _solve(SharedEngine(engines), arguments[0], keys[0])


def _solve(engine: Engine[Any, Any], arguments: Arguments, key: ProgramKey) -> State:
    progress = partial(_report, arguments.listener) if key.reports else None
    room = (len(arguments.parameters.iters), key.most)
    shape = engine.no_lattice().shape
    path = jnp.zeros((*room, *shape), jnp.float32) if key.keeps_path else None
    start = make_start_state(engine, *room, path)
    return solve(engine, arguments.parameters, start, progress)._replace(field=None)


compiled_run = jax.jit(run, static_argnames="key")
"""The program that solves one problem."""

compiled_run_shared = jax.jit(run_shared, static_argnames="keys")
"""The program that solves several problems with one field."""


def estimate(
    problems: Sequence[Problem],
    settings: N4Settings,
    progress: Progress | None = None,
) -> State:
    """Solve one problem with JAX arrays, or several that share one field.

    The arrays of the state are JAX's too. Several problems are solved where the first one is.
    """
    reports = progress is not None
    with jax.enable_x64(True), _listen(progress) as listener:
        each: list[Arguments] = []
        keys: list[ProgramKey] = []
        for problem in _bring_together(problems):
            arguments, key = prepare(problem, settings, lists=True, reports=reports)
            each.append(arguments._replace(listener=np.int32(listener)))
            keys.append(key)
        platform = _platform(problems[0].intensities)
        if len(problems) == 1:
            with keep_program(("run", keys[0], _describe(each[0]), platform)):
                state = compiled_run(each[0], keys[0])
        else:
            with keep_program(("run shared", *keys, _describe(each), platform)):
                state = compiled_run_shared(tuple(each), tuple(keys))
        return jax.block_until_ready(state) if reports else state


def _bring_together(problems: Sequence[Problem]) -> list[Problem]:
    """Bring the arrays of all problems to where those of the first are."""
    first, *others = problems
    place = first.intensities.sharding
    names = ("intensities", "included", "weights")
    return [
        first,
        *(
            replace(one, **{name: jax.device_put(getattr(one, name), place) for name in names})
            for one in others
        ),
    ]


def run_sharded(
    arguments: dict[int, Arguments], devices: dict[int, Any], key: ProgramKey
) -> dict[int, State]:
    """Solve many problems with one program, each on the device where its arrays are.

    Each device solves its problems one after the other. All devices solve as many problems as the
    device that has most; a device with fewer repeats some, which takes no more time.

    Parameters
    ----------
    arguments
        The arguments for each problem.
    devices
        The device of each problem.
    key
        The key of the program for all of them.

    Returns
    -------
    dict of State
        The last state for each problem, on the host.
    """
    every_device = jax.devices()
    own = {device: [k for k in arguments if devices[k] == device] for device in every_device}
    most = max(map(len, own.values()))
    order: list[int] = []
    parts: list[Arguments] = []
    for device, problems in own.items():
        repeated = (problems or list(arguments)[:1]) * most
        order.extend(repeated[:most])
        on_device = [jax.device_put(arguments[k], device) for k in repeated[:most]]
        parts.append(jax.tree.map(lambda *leaves: jnp.stack(leaves), *on_device))
    mesh = jax.make_mesh((len(every_device),), ("batch",), devices=every_device)
    sharding = NamedSharding(mesh, PartitionSpec("batch"))

    def join_devices(*leaves: Array) -> Array:
        shape = (len(order), *leaves[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, list(leaves))

    stacked = jax.tree.map(join_devices, *parts)
    with keep_program(("run all", key, _describe(stacked), tuple(every_device))):
        states = jax.device_get(_run_all(stacked, key, mesh))
    return {k: jax.tree.map(lambda leaf: leaf[i], states) for i, k in enumerate(order)}  # noqa: B023


def _describe(arguments: Any) -> tuple[Any, ...]:
    """What a program is compiled for, apart from its key: shapes and types, and what is None."""
    leaves, structure = jax.tree.flatten(arguments)
    kinds = [getattr(leaf, "dtype", None) or np.result_type(leaf) for leaf in leaves]
    return (structure, *zip(map(np.shape, leaves), kinds, strict=True))


@partial(jax.jit, static_argnames=("key", "mesh"))
def _run_all(arguments: Arguments, key: ProgramKey, mesh: jax.sharding.Mesh) -> State:
    """Solve the problems that are stacked along the first axis of all arguments."""

    def run_in_turn(arguments: Arguments) -> State:
        return lax.map(partial(run, key=key), arguments)

    spec = PartitionSpec("batch")
    # The states of a loop begin as constants, which the check would take for unsharded arrays.
    sharded = jax.shard_map(run_in_turn, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    return sharded(arguments)


# ---- progress --------------------------------------------------------------------------------

_listeners: dict[int, Progress] = {}
_numbers = count(1)


@contextmanager
def _listen(progress: Progress | None) -> Iterator[int]:
    """Yield a number under which a program reports to ``progress``.

    If ``progress`` raises an error, the error is raised at the end. It would otherwise end the
    program in the middle, without a message.
    """
    if progress is None:
        yield 0
        return
    number = next(_numbers)
    errors: list[BaseException] = []

    def pass_on(level: Any, iteration: Any, limit: Any, measure: Any) -> None:
        if errors:
            return
        try:
            progress(int(level), int(iteration), int(limit), float(measure))
        except BaseException as error:
            errors.append(error)

    _listeners[number] = pass_on
    try:
        yield number
        jax.effects_barrier()
    finally:
        del _listeners[number]
    if errors:
        raise errors[0]


def _report(listener: Array, *news: Any) -> None:
    """Report to a listener from inside a program."""
    jax.debug.callback(_call_listener, listener, *news, ordered=True)


def _call_listener(listener: Any, *news: Any) -> None:
    _listeners[int(listener)](*news)
