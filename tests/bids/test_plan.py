"""Plans of studies: what n4ax chooses where the user has left the choice open."""

import json
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids.plan import ImageChoice, WorkerChoice, plan_study, preview_study
from n4ax.bids.recipe import Recipe
from n4ax.errors import InputError
from n4ax.settings import N4Settings
from tests.bids.runs import make_small_study


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


@pytest.mark.usefixtures("machine")
def test_a_reason_is_one_line_whatever_the_other_image_is_called(
    dataset: Path, tmp_path: Path
) -> None:
    make_small_study(dataset, "sub-1/anat/sub-1_desc-a\nb_T1w.nii.gz")
    plan = plan_study(
        Recipe(dataset, tmp_path / "out", N4Settings()), ImageChoice(), WorkerChoice()
    )
    assert "sub-1_desc-a b_T1w.nii.gz" in plan.refused["sub-1/anat/sub-1_T1w.nii.gz"]


def test_recipes_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mask is empty; expected otsu, all or a pattern"):
        Recipe(tmp_path, tmp_path, N4Settings(), mask="")
    series: Any = "b0"
    with pytest.raises(InputError, match="series=4d fits one field in space and time"):
        Recipe(Path("study"), Path("out"), N4Settings(), series="4d")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="series=b0 is what diffusion images always use"):
        Recipe(tmp_path, tmp_path, N4Settings(), series=series)
