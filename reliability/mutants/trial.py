"""One mutant in a forked process: the fault is put in, and tests run until one notices it."""

import ctypes
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from benchmarks.peers import ROOT
from reliability.mutants.mutations import Mutant
from reliability.mutants.selection import find_place_of
from reliability.mutants.swapping import (
    Functions,
    compile_anew,
    find_callers,
    forget_results,
    list_kernels,
    swap,
)

MEMORY = 12 << 30
"""A mutant may take this many bytes of addresses."""

WAITING = 3
"""A process may take this many times as long as it works, since others work beside it."""


class Trial:
    """A process that tries a mutant.

    Parameters
    ----------
    mutant
        The fault.
    tests
        What runs until one fails.
    process
        The number of the process, which leads a group of its own.
    pipe
        Where the process writes the name of the test that failed, or ``*`` if all passed.
    limit
        Seconds of work after which the process is ended; or after three times as long, if it waits.
    """

    def __init__(
        self, mutant: Mutant, tests: list[pytest.Item], process: int, pipe: int, limit: float
    ) -> None:
        self.mutant, self.tests, self.limit = mutant, tests, limit
        self._process, self._pipe = process, pipe
        self._start = time.monotonic()
        self._timed_out = False
        self.seconds = 0.0

    def is_over(self) -> bool:
        """Whether the process has ended; one that takes too long is ended now."""
        ended, status = os.waitpid(self._process, os.WNOHANG)
        self.seconds = time.monotonic() - self._start
        if not ended and self.seconds < WAITING * self.limit:
            return False
        self._timed_out = not ended or os.WTERMSIG(status) == signal.SIGXCPU
        _end_group(self._process)
        if not ended:
            os.waitpid(self._process, 0)
        return True

    def read_outcome(self) -> tuple[str, str | None]:
        """Read what the process found, and the test that noticed the fault."""
        with os.fdopen(self._pipe, "rb") as pipe:
            said = pipe.read().decode()
        if said == "*":
            return "survived", None
        if said:
            return "killed", said
        return ("timeout", None) if self._timed_out else ("killed", "the process ended")


def _end_group(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)


def is_kernel(mutant: Mutant) -> bool:
    """Whether a mutant is in the source of compiled kernels."""
    return "/kernels/" in mutant.file


def start_trial(
    mutant: Mutant, source: str, tests: list[pytest.Item], functions: Functions, limit: float
) -> Trial:
    """Start a process that runs tests with a mutated source."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return Trial(mutant, tests, process, reading, limit)
    try:
        os.setpgid(0, 0)
        os.close(reading)
        _be_quiet(int(limit))
        noticed = _try(mutant, source, tests, functions)
        os.write(writing, (noticed or "*").encode())
    except BaseException as error:
        os.write(writing, f"{type(error).__name__}: {error}"[:300].encode())
    finally:
        _leave()


def _leave() -> NoReturn:
    os._exit(0)


def _be_quiet(seconds: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the server
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _try(mutant: Mutant, source: str, tests: list[pytest.Item], functions: Functions) -> str | None:
    """Put the fault in, and run the tests; return the name of the one that noticed."""
    if not tests:
        return None
    place = find_place_of(mutant)
    if place.function is not None:
        try:
            changed = swap(functions, str(ROOT / mutant.file), place.function, source)
        except LookupError:
            return _try_anew(mutant, source, tests)
        forget_results()
        if is_kernel(mutant):
            kernels = list_kernels()
            names = {f"{function.__module__}.{function.__name__}" for function in changed}
            compile_anew(kernels, find_callers(kernels, names))
        return _run(tests)
    return _try_anew(mutant, source, tests)


def _run(tests: list[pytest.Item]) -> str | None:
    noticing = Noticing()
    for item, after in zip(tests, [*tests[1:], None], strict=True):
        item.config.pluginmanager.register(noticing, "noticing")
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        item.config.pluginmanager.unregister(noticing)
        if noticing.failed is not None:
            return noticing.failed
    return None


class Noticing:
    """A plugin that keeps the name of the first test that fails."""

    def __init__(self) -> None:
        self.failed: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a failure."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid


def _try_anew(mutant: Mutant, source: str, tests: list[pytest.Item]) -> str | None:
    """Import the package and the tests anew, with the mutated source, and run the tests."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("n4ax", "tests", "conftest"):
            del sys.modules[name]
    sys.meta_path.insert(0, Replacing(str(ROOT / mutant.file), source))
    noticing = Noticing()
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly"]
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        if is_kernel(mutant):  # the library and what numba keeps are without the fault
            import numba

            os.environ["N4AX_KERNELS"] = "numba"
            numba.config.CACHE_DIR = folder
        status = pytest.main([*options, *(item.nodeid for item in tests)], plugins=[noticing])
    if status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return None
    return noticing.failed or f"pytest ended with {status}"


class Replacing:
    """A finder of modules that gives one file another source."""

    def __init__(self, file: str, source: str) -> None:
        self._file, self._source = file, source

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Find a module as usual, and take the other source for that of one file."""
        if name.split(".")[0] != "n4ax":
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin and Path(spec.origin) == Path(self._file):
            loader: Any = spec.loader
            loader.get_code = self._make_code()
        return spec

    def _make_code(self) -> Callable[[str], Any]:
        return lambda _: compile(self._source, self._file, "exec")
