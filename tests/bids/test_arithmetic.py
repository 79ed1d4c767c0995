"""Studies with the same bits as ITK: what the sidecars say, and what counts as finished."""

import json
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids import capacity
from n4ax.bids.companions import Companions
from n4ax.bids.image import correct_source
from n4ax.bids.inputs import Source
from n4ax.bids.plan import ImageChoice, WorkerChoice, plan_study
from n4ax.bids.recipe import Recipe
from n4ax.bids.sidecar import make_stamp
from n4ax.cli import main
from n4ax.errors import InputError
from n4ax.settings import N4Settings
from tests.bids.runs import make_small_study, run_small_study

T1W = "sub-01/anat/sub-01_T1w.nii.gz"
ITK: dict[str, Any] = {
    "arithmetic": "itk", "itk_version": 6, "itk_threads": 4, "itk_tool": "ants"
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_small_study(tmp_path / "study", T1W)


def read_settings(output: Path) -> dict[str, Any]:
    sidecar = output / "sub-01" / "anat" / "sub-01_desc-n4_T1w.json"
    made = json.loads(sidecar.read_text())["N4"]
    assert made["Engine"] == "cpu"
    return made["Settings"]


def test_sidecars_list_the_arithmetic_and_what_matters_in_it(dataset: Path) -> None:
    output = dataset.parent / "out"
    quick = N4Settings(iters=(2,), shrink_factor=4)
    outcomes = []
    for keywords in ({}, ITK, ITK, {"arithmetic": "itk", "itk_work_units": 99}):
        recipe = Recipe(dataset, output, quick.override(**keywords), engine="cpu")
        outcomes.append(correct_source(recipe, Source.of(T1W)).state)
        listed = read_settings(output)
        expected = {"arithmetic": "limit", "itk_version": 5, **keywords}
        tool = {"itk_tool": "simpleitk"} if "itk_work_units" in keywords else {}
        found = {name: listed[name] for name in listed if name[:4] in ("arit", "itk_")}
        assert found == expected | tool
    assert outcomes == ["corrected", "corrected", "unchanged", "corrected"]


def test_every_setting_of_the_arithmetic_changes_the_stamp(dataset: Path) -> None:
    companions = Companions("otsu", {}, {}, ())
    stamps = set()
    cases: list[dict[str, Any]] = [
        {},
        {"itk_version": 6},
        {"arithmetic": "itk"},
        {"arithmetic": "itk", "itk_threads": 4},
        {"arithmetic": "itk", "itk_threads": 4, "itk_tool": "ants"},
        {"arithmetic": "itk", "itk_work_units": 4},
        ITK,
    ]
    for keywords in cases:
        recipe = Recipe(dataset, dataset.parent / "out", N4Settings(**keywords))
        stamps.add(make_stamp(recipe, Source.of(T1W), companions))
    assert len(stamps) == len(cases)


def test_a_variable_of_the_command_reaches_workers_that_do_not_have_it(
    dataset: Path,
    scheduler: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = dataset.parent / "out"
    words = ["bids", str(dataset), str(output), "participant", "--shrink-factor", "4"]
    words += ["--iters", "2", "--scheduler", scheduler]
    assert main(words) == 0
    assert "1 corrected" in capsys.readouterr().out
    assert read_settings(output)["arithmetic"] == "limit"
    monkeypatch.setenv("N4AX_ARITHMETIC", "itk")  # the worker was started without it
    for count in ("1 corrected", "0 corrected, 1 unchanged"):
        assert main([*words, "--itk-threads", "2", "--itk-tool", "ants"]) == 0
        assert count in capsys.readouterr().out
        found = read_settings(output)
        assert (found["arithmetic"], found["itk_threads"], found["itk_tool"]) == ("itk", 2, "ants")


def test_settings_for_the_cpu_engine_leave_gpus_alone(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "count_gpus", lambda: 2)
    monkeypatch.setattr(capacity, "find_spec", lambda _: True)
    gpus = []
    for settings in (N4Settings(), N4Settings(arithmetic="itk"), N4Settings.fast()):
        recipe = Recipe(dataset, dataset.parent / "out", settings)
        planned = plan_study(recipe, ImageChoice(), WorkerChoice())
        gpus.append((planned.workers.gpus, planned.recipe.engine))
    assert gpus == [(2, None), (0, "cpu"), (0, "cpu")]


def test_the_xla_engine_is_refused_before_any_work(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"^engine is 'xla', and arithmetic is 'itk', which"):
        Recipe(dataset, dataset.parent / "out", N4Settings(arithmetic="itk"), engine="xla")
    words = ("--arithmetic", "itk", "--engine", "xla")
    assert run_small_study(dataset, dataset.parent / "out", *words) == 2
    assert "--engine is 'xla', and --arithmetic is 'itk'" in capsys.readouterr().err
    assert not (dataset.parent / "out").exists()
