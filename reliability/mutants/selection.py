"""Which tests are to notice a mutant: those that run its line, the fastest first."""

import ast
import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import coverage

from benchmarks.peers import ROOT
from reliability.mutants.mutations import Mutant
from reliability.mutants.places import Place, find_place
from reliability.mutants.rooms import find_own_tests

SHORT = 0.02
"""Seconds of a test that takes next to no time."""


class Recorded(NamedTuple):
    """What the recording of the tests has left.

    Attributes
    ----------
    seconds
        Of each test that passed.
    kernels
        The tests that call each kernel.
    lines
        The tests that run each line of each file, by the file's path from the root.
    """

    seconds: dict[str, float]
    kernels: dict[str, set[str]]
    lines: dict[str, dict[int, set[str]]]


def read_recorded(folder: Path) -> Recorded:
    """Read the recordings in all folders of a folder."""
    seconds: dict[str, float] = {}
    kernels: dict[str, set[str]] = defaultdict(set)
    lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(folder.glob("*/tests.json")):
        for name, test in json.loads(path.read_text()).items():
            if test["passed"]:
                seconds[name] = test["seconds"]
                for kernel in test["kernels"]:
                    kernels[kernel].add(name)
        data = coverage.CoverageData(str(path.parent / "coverage"))
        data.read()
        for file in data.measured_files():
            own = lines[str(Path(file).relative_to(ROOT))]
            for line, tests in data.contexts_by_lineno(file).items():
                own[line].update(test for test in tests if test in seconds)
    return Recorded(seconds, dict(kernels), {k: dict(v) for k, v in lines.items()})


@cache
def _parse(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


def find_place_of(mutant: Mutant) -> Place:
    """Find where a mutant lies in its file as it is now."""
    return find_place(_parse(mutant.file), mutant.line)


def choose_tests(
    mutant: Mutant, recorded: Recorded, callers: Iterable[str], most_seconds: float
) -> list[str]:
    """Choose the tests for a mutant, in the order in which they are tried.

    Parameters
    ----------
    mutant
        The fault.
    recorded
        What the tests run.
    callers
        The kernels that are changed by the fault, if it is in a kernel.
    most_seconds
        The tests take about this long together; at least one is chosen.
    """
    place = find_place_of(mutant)
    by_line = recorded.lines.get(mutant.file, {})
    names = {name for kernel in callers for name in recorded.kernels.get(kernel, ())}
    names |= {name for line in place.lines for name in by_line.get(line, ())}
    own = find_own_tests(mutant.file)
    if place.function is None:
        names |= {name for tests in by_line.values() for name in tests}
        # A file without functions runs before all tests, when it is imported.
        names = names or {name for name in recorded.seconds if name.startswith(own)}
    return _cut(_order(names, recorded, own), recorded, most_seconds)


def _order(names: set[str], recorded: Recorded, own: str) -> list[str]:
    """Put first the tests of the room, and of each function the fastest cases.

    Of a function with many cases, three come before all others, and so do all cases of the room's
    own tests that take next to no time.
    """
    functions: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names, key=lambda name: (recorded.seconds[name], name)):
        functions[name.split("[")[0]].append(name)
    rank = {name: number for cases in functions.values() for number, name in enumerate(cases)}

    def is_early(name: str) -> bool:
        return rank[name] <= 2 or (name.startswith(own) and recorded.seconds[name] < SHORT)

    return sorted(
        names, key=lambda n: (not is_early(n), not n.startswith(own), rank[n],
                              recorded.seconds[n], n),
    )  # fmt: skip


def _cut(names: list[str], recorded: Recorded, most_seconds: float) -> list[str]:
    chosen, total = [], 0.0
    for name in names:
        if not chosen or total + recorded.seconds[name] <= most_seconds:
            total += recorded.seconds[name]
            chosen.append(name)
    return chosen
