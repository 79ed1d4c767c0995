"""A plugin of pytest that records which lines and kernels each test runs, and how long it takes.

``python -m pytest -p reliability.mutants.recording``, with the folder for the record in the
environment. Machine code cannot be seen by coverage, so kernels are noted where they are called.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

FOLDER_VARIABLE = "N4AX_MUTANTS_FOLDER"

_measuring: coverage.Coverage | None = None
_called: set[str] = set()
_tests: dict[str, dict[str, Any]] = {}


def make_coverage(folder: Path) -> coverage.Coverage:
    """Make the measurement of lines and branches, one context for each test."""
    return coverage.Coverage(
        data_file=str(folder / "coverage"), branch=True, source_pkgs=["n4ax"], config_file=False
    )


def pytest_configure() -> None:
    """Begin to measure, before the package is imported."""
    global _measuring
    folder = Path(os.environ[FOLDER_VARIABLE])
    _measuring = make_coverage(folder)
    _measuring.start()
    _measure_subprocesses(folder)
    _note_kernels()


def _measure_subprocesses(folder: Path) -> None:
    """Have coverage start in every Python process that a test starts."""
    path = folder / "subprocesses.ini"
    path.write_text(
        f"[run]\nbranch = true\nparallel = true\nsource_pkgs = n4ax\ndata_file = {folder}/process\n"
    )
    os.environ["COVERAGE_PROCESS_START"] = str(path)


def _note_kernels() -> None:
    from n4ax.engines.compiled.kernel import Kernel

    bind = Kernel.bind

    def noting(self: Kernel, *arguments: Any) -> Any:
        _called.add(f"{self.py_func.__module__}.{self.py_func.__name__}")
        return bind(self, *arguments)

    Kernel.bind = noting  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Measure one test under its own name."""
    assert _measuring is not None
    _measuring.switch_context(item.nodeid)
    _called.clear()
    start = time.perf_counter()
    result = yield
    seconds = time.perf_counter() - start
    _measuring.switch_context("")
    _tests[item.nodeid] = {"seconds": round(seconds, 4), "kernels": sorted(_called), "passed": True}
    return result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Leave out tests that fail or are skipped even without a fault."""
    if report.outcome != "passed":
        _left_out.add(report.nodeid)


_left_out: set[str] = set()


def pytest_sessionfinish() -> None:
    """Write what was measured."""
    assert _measuring is not None
    _measuring.stop()
    _measuring.save()
    for name in _left_out & set(_tests):
        _tests[name]["passed"] = False
    path = Path(os.environ[FOLDER_VARIABLE]) / "tests.json"
    path.write_text(json.dumps(_tests, indent=0))
