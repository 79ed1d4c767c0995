"""The short form of ``python -m reliability soak``: the same functions with a small budget."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.peers import ROOT
from reliability.soak.hook import can_hook, run_hooked
from reliability.soak.leaks import Holding, leave_out
from reliability.soak.peaks import find_broken
from reliability.soak.quiet import try_doors
from reliability.soak.shortage import LARGE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_hook(), reason="this needs Linux and a C compiler"),
]


@pytest.mark.parametrize(
    ("door", "above", "kernels"),
    [
        ("n4ax correct", LARGE, False),
        ("n4ax-N4BiasFieldCorrection", LARGE, False),
        ("fit", LARGE, False),
        ("fit (ITK's arithmetic)", 1, True),
        ("fit", 1, True),
    ],
)
def test_memory_that_runs_out_is_told_in_one_line(door: str, above: int, kernels: bool) -> None:
    found = run_hooked("shortage", door, str(above), "0", str(int(kernels)), "12")
    assert found["tried"] == 12
    assert found["told"] > 6
    assert found["problems"] == {}


def test_a_limit_on_memory_is_told_in_one_line() -> None:
    found = run_hooked("limits", "fit", str(1 << 21), "0", "56", "52", "48")
    assert found["problems"] == {}


def test_many_solves_and_commands_leave_nothing_behind() -> None:
    found = run_hooked("solves", "378", "30", "0")
    assert {name: part["leaks"] for name, part in found.items()} == {"solves": {}, "commands": {}}


def test_a_loader_of_torch_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": paths}
    program = (
        "from reliability.soak.leaks import repeat; from reliability.soak.loaders import load; "
        "go = lambda n: load('n4ax', 'fork', persistent=n % 2 == 1, workers=2); "
        "found = repeat(go, 6, print); assert not found['leaks'], found"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_peaks_of_memory_are_not_above_what_is_promised() -> None:
    assert find_broken(run_hooked("peaks", "short")) == []


def test_no_warning_reaches_a_user() -> None:
    names = ("n4ax correct", "n4ax ants", "n4, fit, n4_batch", "NaN and zeros", "nibabel")
    assert try_doors(names) == dict.fromkeys(names, "")


def test_findings_name_tests_that_exist() -> None:
    text = (ROOT / "reliability" / "findings" / "soak.toml").read_text(encoding="utf-8")
    for finding in tomllib.loads(text)["finding"]:
        path, name = finding["test"].split("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_what_dask_leaves_by_itself_is_left_out() -> None:
    none = dict.fromkeys(Holding._fields, 0)
    alone = {"before": none, "after": none | {"objects": 1000}}
    for more, leaks in ((1600, {}), (1800, {"objects": 1800}), (0, {})):
        measured = {"leaks": {"objects": more}} if more else {"leaks": {}}
        assert leave_out(measured, alone)["leaks"] == leaks
    assert leave_out({"leaks": {"handles": 1}}, alone)["leaks"] == {"handles": 1}
