"""The table of goals: it says "met" only where a goal is met, and what could not be measured."""

import os
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import goals, gpu, judgement, programs, reused, worker
from benchmarks.machine import describe_machine, find_revision
from benchmarks.pages import render_page
from benchmarks.peers import Peer

PAIR = {"seconds": 1.2, "beside": 1.0, "ratio": 1.2, "runs": 3}


def spread(value: float) -> dict[str, float]:
    return {"median": value, "least": value, "most": value}


def make_result() -> dict[str, Any]:
    """A section whose every figure is exactly at its goal."""
    at_goal = {"seconds": 1.0, "beside": 1.0, "ratio": 1.0, "runs": 3}
    head = {"name": "a head", "shape": [4, 5, 6], "voxels": 60}
    peers = {"SimpleITK": 2.4, "n4ax 0.1.1": 0.045, "n4ax": 0.003}
    row = {name: {"median": 0.01} for name in ("SimpleITK's defaults", "(8,12,12,8) x 1.8")}
    row |= {"[50,50,30,20], all": {"median": 0.04}, "bytes per iteration": 1e6 / 15}
    row |= {"old": {"median": 0.1}, "volume": "phantom"}
    defaults = ("call", "solve", "fit at threshold 0", "fit at the defaults")
    return {
        "volume": head,
        "defaults": dict.fromkeys(defaults, at_goal) | {"iterations": [1, 2]},
        "small": {"seconds": 1e-4, "voxels": 9},
        "threads": [at_goal | {"ratio": 1.05, "voxels": 50_000}],
        "shrunken": {"spread": {"their_solve": spread(15.0), "our_solve": spread(0.1)}},
        "fast": [at_goal | {"ratio": 0.2, "name": "a head"}],
        "programs": {
            "volume": "a head", "options": "-i", "kind": "a wheel", "read_only": True,
            "file to file": at_goal | {"ratio": 3.5},
            "first": {"first": at_goal, "unwritable": at_goal, "files": 0},
            "start": {
                "python": spread(0.02),
                "import n4ax": at_goal | {"seconds": 0.06},
                "n4ax --help": at_goal | {"seconds": 0.15},
            },
        },
        "iterations": {"peers": {name: {"spread": spread(at)} for name, at in peers.items()}},
        "studies": {
            "faster_by": spread(judgement.STUDIES_BY * judgement.STUDIES_BEFORE),
            "spread": {"theirs": spread(2.0), "ours": spread(157.2)},
        },
        "gpu": {
            "device": "a GPU", "jax": "0", "bandwidth": 1e9, "row": row, "committed": None,
            "profile": {"looks": 0.0, "launches": 0.1}, "bits": {"runs": True, "processes": True},
        },
    }  # fmt: skip


def count_rows() -> int:
    return sum(len(titles) for _, _, titles in judgement.PARTS)


def test_figures_exactly_at_their_goals_meet_them() -> None:
    rows = judgement.list_rows(make_result())
    assert len(rows) == count_rows() == 22
    assert [row for row in rows if not row.verdict.startswith("met")] == []


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (1.1, "met"),
        (1.1 * 1.0001, "missed by less than 0.1 %"),
        (1.1 * 1.02, "missed by 2.0 %"),
        (1.1 * 1.45, "missed by 45 %"),
        (1.1 * 2.3, "missed by a factor of 2.3"),
        (1.1 * 12, "missed by a factor of 12"),
    ],
)
def test_a_goal_is_missed_by_what_lies_beyond_it(figure: float, verdict: str) -> None:
    assert judgement.at_most(figure, 1.1) == verdict
    assert judgement.at_least(1.1 * 1.1 / figure, 1.1) == verdict


def test_every_part_that_failed_says_why_in_each_of_its_rows() -> None:
    broken = {name: {"why": "the disk is full"} for name, _, _ in judgement.PARTS}
    rows = judgement.list_rows(broken)
    assert len(rows) == count_rows()
    assert {row.verdict for row in rows} == {"not measured: the disk is full"}


def test_the_fast_preset_is_missed_on_the_heads_on_which_it_is_slow() -> None:
    heads = [PAIR | {"name": name, "ratio": at} for name, at in (("one", 0.2), ("two", 0.25))]
    (row,) = judgement.judge_fast(heads)
    assert row.verdict == "missed on 1 of 2: two by 25 %"
    assert row.measured == "20 % to 25 % of the time"


def test_only_a_missed_goal_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    what = judgement.judge_small({"seconds": 1.0, "voxels": 9})[0].what
    monkeypatch.setattr(judgement, "WHY", {what: "Python is slow"})
    result = make_result()
    assert not [row for row in judgement.list_rows(result) if "Python" in row.verdict]
    result["small"]["seconds"] = 0.2e-3
    (row,) = [row for row in judgement.list_rows(result) if "Python" in row.verdict]
    assert (row.what, row.verdict) == (what, "missed by a factor of 2.0: Python is slow")


def test_explanations_are_of_rows_that_there_are() -> None:
    every = [row.what for row in judgement.list_rows(make_result())]
    assert len(set(every)) == len(every)
    assert set(judgement.WHY) <= set(every)


def test_a_first_run_is_missed_by_the_seconds_it_compiles_or_by_what_it_writes() -> None:
    slow = PAIR | {"seconds": 9.5, "beside": 1.5, "ratio": 9.5 / 1.5}
    assert judgement.judge_first(slow, 40) == "missed by 8.00 s"
    assert judgement.judge_first(PAIR, 40) == "missed by 40 files"
    assert judgement.judge_first(PAIR, 0) == "met"


def test_what_a_gpu_has_not_been_asked_is_not_measured() -> None:
    found = make_result()["gpu"]
    del found["profile"], found["bits"], found["row"]["old"]
    verdicts = [row.verdict for row in judgement.judge_gpu(found)]
    assert [verdict.startswith("not measured: ") for verdict in verdicts] == [0, 1, 0, 1, 1]
    found["bits"] = {"runs": True, "processes": None}
    assert judgement.judge_gpu_bits(found).verdict.startswith("not measured: ")
    found["bits"] = {"runs": True, "processes": False}
    assert judgement.judge_gpu_bits(found).measured == "they differ between processes"


def test_figures_of_another_run_say_so() -> None:
    found = make_result()["studies"]
    origin = {"processor": "Z80", "date": "1976-03-09", "revision": "abc"}
    (row,) = judgement.judge_studies(found | {"origin": origin})
    assert row.measured.endswith("(not of this run: Z80, 1976-03-09, abc)")


@pytest.mark.parametrize("broken", [False, True])
def test_the_page_has_a_row_for_every_goal(broken: bool) -> None:
    result = make_result()
    if broken:
        result |= {name: {"why": "no reason"} for name, _, _ in judgement.PARTS}
    record = {
        "result": result, "quick": False, "rounds": 3, "machine": describe_machine(),
        "versions": {"n4ax": "0", "revision": "abc"},
    }  # fmt: skip
    page = render_page("performance", ("goals",), {"goals": record})
    table = page.split("## Goals")[1].split("\n\n")[1]
    assert table.count("\n| ") + 1 == count_rows() + 1
    assert ("not measured: no reason" in table) == broken


def test_a_part_that_fails_leaves_the_others_their_turn(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("n4ax died:\nOSError: no space left")

    assert goals.attempt("a part", fail) == {"why": "OSError: no space left"}
    assert goals.attempt("a part", lambda: 7) == 7
    assert "Traceback" in capsys.readouterr().err


def test_results_are_of_this_run_by_machine_commit_and_day() -> None:
    record = {"machine": describe_machine(), "versions": {"revision": find_revision()}}
    assert reused.is_of_this_run(record)
    assert not reused.is_of_this_run(None)
    old = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    for other in ({"processor": "Z80"}, {"processors": 999}, {"date": old}):
        assert not reused.is_of_this_run({**record, "machine": record["machine"] | other})
    assert not reused.is_of_this_run({**record, "versions": {"revision": "another"}})


def test_a_worker_calls_each_function_of_n4ax(tmp_path: Path) -> None:
    image, mask = gpu.phantom((16, 12, 16))
    path = tmp_path / "phantom.npz"
    np.savez(path, image=image, mask=mask)
    request = {"input": str(path), "keywords": {"iters": [3, 2], "conv_threshold": 0.0}}
    for function, iterations in (("n4", None), ("fit", [3, 2])):
        answer = worker.call_function(1, request | {"function": function, "masked": False})
        assert answer["iterations"] == iterations
        assert answer["seconds"] > 0
    assert worker.call_function(1, request | {"function": "solve", "masked": True})["seconds"] > 0
    with pytest.raises(KeyError):
        worker.call_function(1, request | {"function": "n5", "masked": True})


def test_a_worker_uses_the_mask_only_if_it_is_asked_to(tmp_path: Path) -> None:
    image, _ = gpu.phantom((16, 12, 16))
    path = tmp_path / "phantom.npz"
    np.savez(path, image=image, mask=np.zeros_like(image))  # no voxel counts
    request = {"input": str(path), "keywords": {"iters": [1]}, "function": "n4"}
    worker.call_function(1, request | {"masked": False})
    with pytest.raises(ValueError, match="mask"):
        worker.call_function(1, request | {"masked": True})


def test_the_folder_of_the_programs_is_read_only_even_for_the_superuser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed, and the superuser may write everywhere")
    peer = Peer("n4ax", Path(sys.executable), "cpu")
    monkeypatch.setattr(programs, "prepare_peer", lambda _: peer)
    folder = tmp_path / "packages"
    folder.mkdir()
    launched = programs.write_launcher(tmp_path)
    assert programs.may_write(launched, folder)
    programs.set_writable(folder, False)
    try:
        assert not programs.may_write(launched, folder)
    finally:
        programs.set_writable(folder, True)
