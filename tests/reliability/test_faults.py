"""System calls that fail: a short form of ``python -m reliability faults``."""

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reliability.faults.cases import CASES, Case
from reliability.faults.command import describe, write_table
from reliability.faults.plan import KINDS, Fault, build_library
from reliability.faults.trials import Bench, Count, choose_faults, list_faults, try_case
from reliability.faults.workshop import Workshop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or shutil.which("gcc") is None,
        reason="faults are injected by a library for Linux, which gcc makes",
    ),
]


def find_case(command: str) -> Case:
    return next(case for case in CASES if case.command == command)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


def test_a_call_fails_at_its_number_and_nothing_is_lost(workshop: Workshop) -> None:
    bench = Bench(workshop, find_case("apply"), earlier=True)
    assert {"create", "write", "sync", "rename"} <= {kind for kind, _ in bench.calls} <= set(KINDS)
    ran, files, losses = bench.try_fault(Fault("write", 1, "ENOSPC"))
    assert ran.hit is not None
    assert (ran.hit.kind, ran.status, losses) == ("write", 1, [])
    assert "out/b_n4.nii.gz: No space left on device" in ran.said
    assert files == {"old": 1, "new": 1}  # the other image has its result
    ran, files, losses = bench.try_fault(Fault("any", len(bench.calls) - 5, "KILL"))
    assert (ran.status, losses) == (-9, [])
    assert files["absent"] == 0


def test_an_error_that_is_not_told_is_a_loss(workshop: Workshop) -> None:
    # The status of a good run is 0, and nothing that was asked for is there.
    case = find_case("apply")
    silent = Case(case.command, "says nothing", "n4ax", ("--version",), case.before)
    bench = Bench(workshop, case, earlier=False)
    bench.case = silent
    _, _, losses = bench.try_fault(Fault("write", 1, "ENOSPC"))
    assert any(loss.startswith("status 0, but out/b_n4.nii.gz") for loss in losses)


def test_kinds_of_calls_get_shares_of_the_faults() -> None:
    import random

    calls = [("stat", "a")] * 50 + [("rename", "b")] * 3
    faults = list_faults(calls)
    chosen = choose_faults(faults, 20, random.Random(1))
    assert len(chosen) == len(set(chosen)) == 20
    assert sum(fault.kind == "rename" for fault in chosen) == 10


def test_nothing_is_lost_by_some_faults_in_each_program(tmp_path: Path) -> None:
    counts = []
    for command in ("ants", "apply"):
        folder = tmp_path / command
        folder.mkdir()
        count: Count = try_case(folder, find_case(command), 20, 7, print)
        assert count.losses == []
        assert count.faults >= 16
        counts.append((command, count))
    assert write_table(describe(counts, None))[-1].endswith(" faults, 0 losses")


def test_two_threads_may_build_the_library_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliability.faults.plan.ROOT", tmp_path)
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda _: build_library(), range(2)))
    assert built == [tmp_path / "build" / "faults" / "preload.so"] * 2
    assert [path.name for path in built[0].parent.iterdir()] == ["preload.so"]
