"""The engine of ITK's arithmetic at work: one problem, solved to the end."""

import numpy as np

from n4ax.engines.cpu.threads import make_threads
from n4ax.engines.itk.engine import ItkEngine
from n4ax.engines.itk.libm import check_platform
from n4ax.method.footprint import keeps_path
from n4ax.method.problem import Problem
from n4ax.method.solver import Parameters, Progress, State, make_start_state, solve
from n4ax.settings import N4Settings


def estimate(
    problem: Problem,
    settings: N4Settings,
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> State:
    """Estimate the field of a problem; the parameters are those of the CPU engine's function.

    Raises
    ------
    ValueError
        ITK's bits cannot be had on this platform, or the image lies too far from the origin.
    """
    check_platform()
    kept = keeps_path(settings, problem.control_points)
    parameters = Parameters.of(settings, every_measure=progress is not None or not kept)
    with make_threads([problem], num_threads) as threads:
        engine = ItkEngine(problem, settings, threads)
        room = (len(settings.iters), max(settings.iters))
        start = make_start_state(engine, *room, np.empty(room, object) if kept else None)
        return solve(engine, parameters, start, progress)
