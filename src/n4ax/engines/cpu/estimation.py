"""The CPU engine at work: one problem, or several that share one field, solved to the end."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from n4ax.engines.cpu.engine import CpuEngine
from n4ax.engines.cpu.threads import Threads, make_threads
from n4ax.method.accelerated import (
    CountedEngine,
    choose_thinning,
    has_enough,
    solve_accelerated,
)
from n4ax.method.footprint import keeps_path
from n4ax.method.problem import Problem
from n4ax.method.shared import SharedEngine
from n4ax.method.solver import Parameters, Progress, State, make_start_state, solve
from n4ax.settings import N4Settings


def estimate(
    problems: Sequence[Problem],
    settings: N4Settings,
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> State:
    """Estimate the field of one problem, or one field that several problems share.

    Parameters
    ----------
    problems
        The problems, whose arrays are NumPy's.
    settings
        The parameters of N4.
    progress
        Called after every iteration.
    num_threads
        Number of threads; ``None`` for the default.
    """
    kept = keeps_path(settings, problems[0].control_points)
    parameters = Parameters.of(settings, every_measure=progress is not None or not kept)
    with make_threads(problems, num_threads) as threads:
        engine = _make_engine(problems, settings, threads)
        if not settings.accelerate:
            room = (len(settings.iters), max(settings.iters))
            start = make_start_state(engine, *room, np.empty(room, object) if kept else None)
            return solve(engine, parameters, start, progress)
        every = choose_thinning(problems[0].included, _find_finest_mesh(problems[0], settings))
        thinned = [problem.thin(every) for problem in problems]
        if max(every) == 1 or not all(has_enough(problem.included) for problem in thinned):
            return solve_accelerated(engine, engine, parameters, progress)
        with make_threads(thinned, num_threads) as fewer_threads:
            small_engine = _make_engine(thinned, settings, fewer_threads)
            return solve_accelerated(engine, small_engine, parameters, progress)


def _find_finest_mesh(problem: Problem, settings: N4Settings) -> list[int]:
    """Count the elements along each axis at the last level."""
    halvings = 2 ** (len(settings.iters) - 1)
    return [(points - settings.spline_order) * halvings for points in problem.control_points]


def _make_engine(
    problems: Sequence[Problem], settings: N4Settings, threads: Threads
) -> CountedEngine[Any, Any]:
    engines = [CpuEngine(problem, settings, threads) for problem in problems]
    if len(engines) == 1:
        return engines[0]
    return SharedEngine(engines, voxels=sum(engine.voxels for engine in engines))
