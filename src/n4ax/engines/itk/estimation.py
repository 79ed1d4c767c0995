"""The engine of ITK's arithmetic at work: one problem, solved to the end."""

from n4ax.engines.cpu.threads import make_threads
from n4ax.engines.itk.engine import ItkEngine
from n4ax.engines.itk.libm import check_platform
from n4ax.method.problem import Problem
from n4ax.method.solver import Parameters, Progress, State, make_start_state, solve
from n4ax.settings import N4Settings


def estimate(
    problem: Problem,
    settings: N4Settings,
    progress: Progress | None = None,
    every_measure: bool = True,
    num_threads: int | None = None,
) -> State:
    """Estimate the field of a problem; the parameters are those of the CPU engine's function.

    Raises
    ------
    ValueError
        ITK's bits cannot be had on this platform, or the image lies too far from the origin.
    """
    check_platform()
    parameters = Parameters.of(settings, every_measure or progress is not None)
    with make_threads([problem], num_threads) as threads:
        engine = ItkEngine(problem, settings, threads)
        start = make_start_state(engine, len(settings.iters), max(settings.iters))
        return solve(engine, parameters, start, progress)
