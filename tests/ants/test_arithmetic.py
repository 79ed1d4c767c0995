"""The same bits as ANTs: the variables that ask for them, and the threads that ANTs would run."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import n4ax.ants
from n4ax import N4Settings
from n4ax.ants import steps
from n4ax.ants.options import read_options
from n4ax.ants.program import main
from tests.support import ants
from tests.support.ants import phantom

THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
THREADER = "ITK_GLOBAL_DEFAULT_THREADER"
VARIABLES = (
    THREADS, THREADER, "NSLOTS", "ITK_USE_THREADPOOL", "ITK_NUMBER_OF_THREADS_ENV_LIST",
    "N4AX_ARITHMETIC", "N4AX_ITK_VERSION",
)  # fmt: skip
LINE = "-d 3 -i im.nii.gz -s 2 -c [2,0] -o out.nii.gz"
ONCE: dict[str, Any] = {"convergence": {"iters": [2], "tol": 0}, "shrink_factor": 2}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings of each estimation that belong to the arithmetic and are not the defaults."""
    seen: list[dict[str, Any]] = []
    real = steps.fit_image

    def note(settings: N4Settings, *inputs: Any) -> Any:
        seen.append(find_arithmetic(settings))
        return real(settings, *inputs)

    monkeypatch.setattr(steps, "fit_image", note)
    return seen


def find_arithmetic(settings: N4Settings) -> dict[str, Any]:
    names = ("arithmetic", "itk_version", "itk_threads", "itk_tool", "itk_work_units")
    values = {name: getattr(settings, name) for name in names}
    return {name: value for name, value in values.items() if value != getattr(N4Settings(), name)}


CASES: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({THREADS: "2"}, {}),
    ({THREADS: "2", THREADER: "platform"}, {}),
    ({"N4AX_ARITHMETIC": "limit", THREADS: "2"}, {}),
    ({"N4AX_ITK_VERSION": "6"}, {"itk_version": 6}),
    (
        {"N4AX_ARITHMETIC": "itk", THREADS: "3"},
        {"arithmetic": "itk", "itk_threads": 3, "itk_tool": "ants"},
    ),
    (
        {"N4AX_ARITHMETIC": "itk", "NSLOTS": "5"},
        {"arithmetic": "itk", "itk_threads": 5, "itk_tool": "ants"},
    ),
    (
        {"N4AX_ARITHMETIC": "itk", THREADS: "3", THREADER: "Platform", "N4AX_ITK_VERSION": "6"},
        {"arithmetic": "itk", "itk_version": 6, "itk_threads": 3},
    ),
]


@pytest.mark.parametrize(("variables", "expected"), CASES)
def test_variables_reach_the_program_and_the_functions(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    used: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    expected: dict[str, Any],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(LINE.split()) == 0
    assert capfd.readouterr() == ("", "")
    n4ax.ants.n4_bias_field_correction(phantom(), **ONCE)
    n4ax.ants.abp_n4(phantom((12, 10, 8)))
    assert used == [expected] * 3


def test_without_a_number_of_threads_there_is_one_for_each_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("N4AX_ARITHMETIC", "itk")
    expected = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert read_options(LINE.split()).settings.itk_threads == expected


def test_the_argument_of_the_functions_goes_before_the_variable(
    used: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(THREADS, "2")
    small = phantom((12, 10, 8))
    for variable in ("limit", "itk"):
        monkeypatch.setenv("N4AX_ARITHMETIC", variable)
        n4ax.ants.n4_bias_field_correction(small, arithmetic="limit", **ONCE)
        n4ax.ants.abp_n4(small, arithmetic="limit")
        n4ax.ants.n4_bias_field_correction(small, arithmetic="itk", **ONCE)
        n4ax.ants.abp_n4(small, arithmetic="itk")
    itk = {"arithmetic": "itk", "itk_threads": 2, "itk_tool": "ants"}
    assert used == [{}, {}, itk, itk] * 2
    with pytest.raises(ValueError, match="arithmetic is 'ants'; expected one of 'limit', 'itk'"):
        n4ax.ants.n4_bias_field_correction(small, arithmetic="ants")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "words"),
    [("N4AX_ARITHMETIC", "expected limit or itk"), ("N4AX_ITK_VERSION", "expected 5 or 6")],
)
def test_a_word_that_means_nothing_ends_with_one_line(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: str,
) -> None:
    monkeypatch.setenv(name, "ants")
    assert main(LINE.split()) == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"N4BiasFieldCorrection (n4ax): error: {name} is 'ants'; {words}\n")
    assert not (folder / "out.nii.gz").exists()
    with pytest.raises(ValueError, match=f"{name} is 'ants'; {words}"):
        n4ax.ants.n4_bias_field_correction(phantom(), **ONCE)
    assert main(["--help"]) == main(["--version"]) == 0
    assert name in capfd.readouterr().out


def test_with_v_1_it_prints_the_same_lines(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = []
    for arithmetic in ("limit", "itk"):
        monkeypatch.setenv("N4AX_ARITHMETIC", arithmetic)
        assert main(f"{LINE} -v 1".split()) == 0
        printed.append(re.sub(r"\d[\d.e-]*", "N", capfd.readouterr().out).splitlines())
    assert printed[0] == printed[1]
    assert len(printed[0]) > 15


@pytest.mark.slow
def test_ants_has_the_same_bits_where_the_work_units_are_as_many(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[dict[str, str]] = [
        {THREADS: "1"},
        {THREADS: "1", THREADER: "platform"},
        {THREADS: "2"},
        {THREADS: "2", THREADER: "none"},
        {THREADS: "2", "ITK_USE_THREADPOOL": "no"},
        {THREADS: "2", THREADER: "Platform"},
        {THREADS: "8", THREADER: "PLATFORM"},
        {THREADS: "3", "NSLOTS": "2"},
        {THREADS: "12", THREADER: "platform"},
        {THREADS: "-2"},
        {THREADS: "64"},
        {},
    ]
    line = ["-d", "3", "-i", "im.nii.gz", "-s", "1", "-c", "[20x20,0]", "-o", "out.nii"]
    files, units = [], []
    for variables in runs:
        others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        assert ants.run_with_variables(others | variables, *line) == 0
        files.append((folder / "out.nii").read_bytes())
        with monkeypatch.context() as patch:
            for name, value in {**variables, "N4AX_ARITHMETIC": "itk"}.items():
                patch.setenv(name, value)
            units.append(read_options(line).settings.work_units)
    assert len(set(units)) >= 5
    same = np.equal.outer(units, units)
    assert np.array_equal([[one == other for other in files] for one in files], same)
