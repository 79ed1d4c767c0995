"""Mutants: a sample of faults is noticed, and the list of equivalent ones fits the sources."""

import ast
from pathlib import Path

import mutmut  # noqa: F401  # it makes the mutants
import pytest

from reliability.mutants.equivalent import find_outdated, list_sources, read_equivalent
from reliability.mutants.mutations import make_mutants
from reliability.mutants.places import find_place
from reliability.mutants.short import try_sample

SOURCE = '''
"""A module."""

LIMIT = 3


class Counter:
    def count(self, values: "list[int]") -> int:
        if len(values) > LIMIT:
            raise ValueError("there are far too many values", LIMIT)
        return sum(values) + 1
'''


@pytest.mark.slow
def test_faults_in_the_mathematics_are_noticed(tmp_path: Path) -> None:
    equivalent = read_equivalent()
    unnoticed = [
        (mutant.file, mutant.text, mutant.before, mutant.after)
        for mutant, outcome in try_sample(20, seed=0, work=tmp_path)
        if outcome.outcome not in ("killed", "timeout")
        and not any(entry.covers(mutant) for entry in equivalent)
    ]
    assert not unnoticed


def test_equivalent_faults_are_still_in_the_sources() -> None:
    entries = read_equivalent()
    mutants = [mutant for path in list_sources(entries) for mutant in make_mutants(path)[0]]
    assert find_outdated(entries, mutants) == []
    assert all(len(entry.why.split()) > 3 for entry in entries)


def test_every_mutant_is_another_source_that_python_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliability.mutants.mutations.ROOT", tmp_path)
    path = tmp_path / "counter.py"
    path.write_text(SOURCE)
    mutants, skipped = make_mutants(path)
    changed = {mutant.apply(SOURCE) for mutant in mutants}
    assert len(changed) == len(mutants)
    assert SOURCE not in changed
    assert all(ast.parse(source) for source in changed)
    found = {(mutant.before, mutant.after) for mutant in mutants}
    assert {("3", "4"), ("> LIMIT", ">= LIMIT"), ("1", "2")} <= found
    assert sum(skipped.values()) > 0
    assert not any(mutant.before.startswith('"') for mutant in mutants)


def test_place_of_a_fault_is_its_outermost_function_and_its_statement() -> None:
    tree = ast.parse(SOURCE)
    assert find_place(tree, 4) == (None, range(4, 5))
    assert find_place(tree, 8).function is None  # the head of a function runs at its import
    assert find_place(tree, 9) == ("Counter.count", range(9, 10))
    assert find_place(tree, 10) == ("Counter.count", range(10, 11))
