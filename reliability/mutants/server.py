"""A plugin of pytest that collects the tests once, and forks a process for each mutant.

``python -m pytest -p reliability.mutants.server TESTS``, with the path of the jobs (JSON) in the
environment. Everything is imported before the first fork, so that a mutant costs little more than
the tests that notice it.
"""

import json
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import ROOT
from reliability.mutants.journal import Outcome, add_to_journal
from reliability.mutants.mutations import Mutant
from reliability.mutants.rooms import import_kernels
from reliability.mutants.swapping import Functions, list_functions
from reliability.mutants.trial import Trial, is_kernel, start_trial

JOBS_VARIABLE = "N4AX_MUTANTS_JOBS"


class Jobs:
    """What is to be tried: mutants with their tests, until when, and where the outcomes go."""

    def __init__(self, path: Path) -> None:
        given = json.loads(path.read_text())
        self.journal = Path(given["journal"])
        self.stop_at: float = given["stop_at"]
        self.workers: int = given["workers"]
        self.todo = [(Mutant(*job["mutant"]), job["tests"], job["limit"]) for job in given["jobs"]]
        self.checked: dict[tuple[str, str], bool] = {}


def pytest_configure() -> None:
    """Let random tests be the same in every process, and take as long as they need."""
    from hypothesis import settings

    settings.register_profile("mutants", derandomize=True, deadline=None, database=None)
    settings.load_profile("mutants")


def _warm_up() -> None:
    """Load the compiler, which takes seconds, and what it alone imports, so that it can change."""
    import numba

    numba.njit(lambda x: x + 1)(1.0)
    import_kernels()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Try all mutants instead of running the tests."""
    jobs = Jobs(Path(os.environ[JOBS_VARIABLE]))
    items = {item.nodeid: item for item in session.items}
    if any(is_kernel(mutant) for mutant, _, _ in jobs.todo):
        _warm_up()
    functions = list_functions()
    running: list[Trial] = []
    todo = iter(jobs.todo)
    finished = 0
    more = True
    while more or running:
        while more and len(running) < jobs.workers:
            more = time.time() < jobs.stop_at and _start_next(todo, items, functions, running)
        for trial in [trial for trial in running if trial.is_over()]:
            running.remove(trial)
            outcome = _judge(trial, jobs, items, functions)
            add_to_journal(jobs.journal, outcome)
            finished += 1
            _tell(finished, len(jobs.todo), outcome)
        time.sleep(0.01)
    return True


def _start_next(
    todo: Iterator[Any], items: dict[str, pytest.Item], functions: Functions, running: list[Trial]
) -> bool:
    job = next(todo, None)
    if job is None:
        return False
    mutant, names, limit = job
    tests = [item for name in names for item in _find_items(name, items)]
    running.append(_fork(mutant, tests, functions, limit, faulty=True))
    return True


def _find_items(name: str, items: dict[str, pytest.Item]) -> list[pytest.Item]:
    """Find a test by its name, or all tests of a file."""
    if "::" not in name:
        return [item for own, item in items.items() if own.startswith(f"{name}::")]
    return [items[name]] if name in items else []


def _fork(
    mutant: Mutant,
    tests: list[pytest.Item],
    functions: Functions,
    limit: float,
    faulty: bool,
) -> Trial:
    source = (ROOT / mutant.file).read_text()
    mutated = mutant.apply(source) if faulty else source
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks
        return start_trial(mutant, mutated, tests, functions, limit)


def _judge(
    trial: Trial, jobs: Jobs, items: dict[str, pytest.Item], functions: Functions
) -> Outcome:
    """Say what became of a mutant; a test that fails without the fault as well does not count."""
    outcome, by = trial.read_outcome()
    if outcome == "killed" and by in items:
        about = trial.mutant.file if is_kernel(trial.mutant) else ""
        if (by, about) not in jobs.checked:
            check = _fork(trial.mutant, [items[by]], functions, trial.limit, faulty=False)
            while not check.is_over():
                time.sleep(0.01)
            jobs.checked[by, about] = check.read_outcome()[0] == "survived"
        if not jobs.checked[by, about]:
            outcome, by = "unclear", by
    if outcome == "survived" and not trial.tests:
        outcome = "not run"
    return Outcome(trial.mutant.key, outcome, by, len(trial.tests), round(trial.seconds, 2))


def _tell(finished: int, all_of_them: int, outcome: Outcome) -> None:
    if outcome.outcome not in ("killed",) or finished % 50 == 0:
        os.write(2, f"{finished}/{all_of_them} {outcome.outcome}: {outcome.key}\n".encode())
