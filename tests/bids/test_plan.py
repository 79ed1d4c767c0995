"""Plans of studies: what n4ax chooses where the user has left the choice open."""

import json
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids import plan as module
from n4ax.bids.plan import ImageChoice, WorkerChoice, plan_study, plan_workers, preview_study
from n4ax.bids.recipe import Recipe
from n4ax.errors import InputError
from n4ax.settings import N4Settings
from tests.bids.runs import make_small_study


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 8 cores and 16 GB, of which 7 GB are free, without GPUs."""
    monkeypatch.setattr("dask.system.CPU_COUNT", 8)
    monkeypatch.setattr(module, "_total_gigabytes", lambda: 16.0)
    monkeypatch.setattr(module, "_free_gigabytes", lambda: 7.0)
    monkeypatch.setattr(module, "count_gpus", lambda: 0)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("choice", "images", "processes", "threads"),
    [
        ({}, 100, 3, 2),  # as many as fit into the free memory
        ({"memory_gb": 16}, 100, 8, 1),  # as many as there are cores
        ({"memory_gb": 16}, 2, 2, 4),  # as many as there are images
        ({"memory_gb": 0.9}, 100, 1, 8),
        ({"processes": 4}, 100, 4, 2),
        ({"processes": 20}, 100, 20, 1),
        ({"threads": 5}, 100, 3, 5),
        ({"cluster": "slurm"}, 100, 1, 1),
        ({"cluster": "slurm", "processes": 3, "threads": 2}, 100, 3, 2),
    ],
)
def test_processes_and_threads(
    choice: dict[str, Any], images: int, processes: int, threads: int
) -> None:
    workers = plan_workers(WorkerChoice(**choice), None, images)
    assert (workers.processes, workers.threads) == (processes, threads)


@pytest.mark.usefixtures("machine")
def test_gpus_are_used_unless_the_engine_is_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "count_gpus", lambda: 2)
    monkeypatch.setattr(module, "find_spec", lambda _: True)
    assert plan_workers(WorkerChoice(), None, 9).gpus == 2
    assert plan_workers(WorkerChoice(), "xla", 9).gpus == 2
    assert plan_workers(WorkerChoice(), "cpu", 9).gpus == 0
    assert plan_workers(WorkerChoice(cluster="slurm"), None, 9).gpus == 0
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert plan_workers(WorkerChoice(), None, 9).gpus == 0


@pytest.mark.usefixtures("machine")
def test_more_memory_than_there_is() -> None:
    with pytest.raises(InputError, match="memory_gb 17 is more than the 16 GB of this machine"):
        plan_workers(WorkerChoice(memory_gb=17), None, 9)
    assert plan_workers(WorkerChoice(memory_gb=17, cluster="slurm"), None, 9).memory_gb == 17


@pytest.mark.usefixtures("machine")
def test_options_of_a_cluster_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "site.json"
    file.write_text('{"interface": "lo"}')
    workers = plan_workers(WorkerChoice(cluster="slurm", options=file), None, 9)
    assert workers.options == {"interface": "lo"}
    file.write_text("[1]")
    with pytest.raises(InputError, match=r"options is \[1\]; expected keywords"):
        plan_workers(WorkerChoice(cluster="slurm", options=file), None, 9)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset of one image and a participant without images."""
    folder = tmp_path / "study"
    (folder / "sub-1" / "anat").mkdir(parents=True)
    (folder / "sub-1" / "anat" / "sub-1_T1w.nii.gz").touch()
    (folder / "sub-2").mkdir()
    return folder


@pytest.mark.usefixtures("machine")
def test_a_recipe_is_completed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(Path("study"), Path("out"), N4Settings())
    plan = plan_study(recipe, ImageChoice(), WorkerChoice())
    assert [source.path for source in plan.sources] == ["sub-1/anat/sub-1_T1w.nii.gz"]
    assert plan.without_images == ["2"]
    assert (plan.recipe.dataset, plan.recipe.output) == (dataset, tmp_path / "out")
    assert (plan.recipe.engine, plan.recipe.threads) == ("cpu", 8)
    there = WorkerChoice(scheduler="tcp://10.0.0.5:8786")
    plan = plan_study(recipe, ImageChoice(participants=["1"]), there)
    assert plan.without_images == []
    assert (plan.recipe.engine, plan.recipe.threads) == ("cpu", None)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("names", "name"), [({}, "mask"), ({"mask": "--mask"}, "--mask")])
def test_problems_are_told_in_the_users_words(
    dataset: Path, tmp_path: Path, names: dict[str, str], name: str
) -> None:
    recipe = Recipe(dataset, tmp_path / "out", N4Settings(), mask="no/{name}.nii", names=names)
    (image,) = preview_study(plan_study(recipe, ImageChoice(), WorkerChoice()))
    assert image.source == "sub-1/anat/sub-1_T1w.nii.gz"
    assert image.output == "sub-1/anat/sub-1_desc-n4_T1w.nii.gz"
    assert image.problem == f"{name} finds no mask at no/sub-1.nii; expected one"


@pytest.mark.usefixtures("machine")
def test_images_that_get_in_each_others_way(dataset: Path, tmp_path: Path) -> None:
    make_small_study(dataset, "sub-1/anat/sub-1_T1w.nii")
    names = {"filters": "--bids-filter-file"}
    recipe = Recipe(dataset, tmp_path / "out", N4Settings(), names=names)
    plan = plan_study(recipe, ImageChoice(), WorkerChoice())
    assert plan.refused["sub-1/anat/sub-1_T1w.nii"] == (
        "this image and sub-1/anat/sub-1_T1w.nii.gz would both be written as "
        "sub-1_desc-n4_T1w: choose one of them with --bids-filter-file"
    )
    assert len(plan.refused) == 2
    filters = tmp_path / "filters.json"
    filters.write_text(json.dumps({"t1w": {"extension": ".nii"}}))
    plan = plan_study(recipe, ImageChoice(filters=filters), WorkerChoice())
    assert [source.path for source in plan.sources] == ["sub-1/anat/sub-1_T1w.nii"]
    assert plan.refused == {}


def test_recipes_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mask is empty; expected otsu, all or a pattern"):
        Recipe(tmp_path, tmp_path, N4Settings(), mask="")
    series: Any = "b0"
    with pytest.raises(InputError, match="series=4d fits one field in space and time"):
        Recipe(Path("study"), Path("out"), N4Settings(), series="4d")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="series=b0 is what diffusion images always use"):
        Recipe(tmp_path, tmp_path, N4Settings(), series=series)
