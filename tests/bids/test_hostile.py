"""Datasets and output folders in which names, links and damaged files lead somewhere else."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids.checks import Problem, spread_problems
from n4ax.bids.citation import write_folder_citation
from n4ax.bids.companions import find_companions, find_file
from n4ax.bids.headers import read_image_header
from n4ax.bids.image import Outcome
from n4ax.bids.inputs import Source, find_sources, list_suffixes
from n4ax.bids.journal import Journal
from n4ax.bids.outputs import Outputs, check_output
from n4ax.bids.recipe import Recipe
from n4ax.bids.sidecar import Identity, is_complete
from n4ax.bids.staging import append_text, discard_leftovers
from n4ax.bids.study_file import add_run
from n4ax.cli import main
from n4ax.settings import N4Settings

PATH = "sub-01/anat/sub-01_T1w.nii.gz"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="these links and pipes are of POSIX")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    (folder / PATH).parent.mkdir(parents=True)
    (folder / PATH).write_bytes(b"")
    return folder


def test_links_that_lead_upwards_are_not_followed_for_ever(dataset: Path) -> None:
    for name in ("one", "two", "ses-1"):
        (dataset / "sub-01" / name).symlink_to("..")
    (dataset / "sub-01" / "root").symlink_to("/")
    assert [source.path for source in find_sources(dataset)] == [PATH]
    assert list_suffixes(dataset) == ["T1w"]


def test_a_folder_of_images_may_be_a_link(dataset: Path, tmp_path: Path) -> None:
    (dataset / "sub-01" / "anat").rename(tmp_path / "kept")
    (dataset / "sub-01" / "anat").symlink_to(tmp_path / "kept")
    assert [source.path for source in find_sources(dataset)] == [PATH]


def test_names_that_are_no_text_are_planned(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "sub-01/anat/sub-01_acq-\udcff_T1w.nii.gz").write_bytes(b"")
    assert main(["bids", str(dataset), str(dataset / "out"), "participant", "--dry-run"]) == 1
    assert "acq-\\udcff" in capsys.readouterr().out


def test_an_output_that_is_a_loop_of_links_is_an_error(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("out")
    check_output(dataset, tmp_path / "out")  # nothing is there
    with pytest.raises(OSError, match=r"File exists|Too many levels"):
        (tmp_path / "out").mkdir(parents=True, exist_ok=True)


def test_makers_of_another_type_are_another_dataset(dataset: Path, tmp_path: Path) -> None:
    for makers in (0.5, "n4ax", {"Name": "n4ax"}, [None, 3], True):
        (tmp_path / "dataset_description.json").write_text(json.dumps({"GeneratedBy": makers}))
        with pytest.raises(ValueError, match="holds another dataset"):
            check_output(dataset, tmp_path)


def test_sidecars_of_any_depth_and_kind_are_left_out_with_a_note(dataset: Path) -> None:
    for text in ("[" * 100_000, '{"a":' * 900 + "1" + "}" * 900):
        (dataset / "T1w.json").write_text(text)
        found = find_companions(Recipe(dataset, dataset / "o", N4Settings()), Source.of(PATH))
        assert found.metadata == {}
        assert len(found.notes) == 1
        assert found.notes[0].startswith("T1w.json was left out: it cannot be read as JSON")
    (dataset / "T1w.json").unlink()
    os.mkfifo(dataset / "T1w.json")
    found = find_companions(Recipe(dataset, dataset / "o", N4Settings()), Source.of(PATH))
    assert "is a pipe or a device" in found.notes[0]


@pytest.mark.parametrize(
    "failure",
    [
        {"Source": "../../../outside", "Subject": "01", "Reason": "r"},
        {"Source": "/outside", "Subject": "01", "Reason": "r"},
        {"Source": "a/b", "Subject": "01/../../outside", "Reason": "r"},
        {"Source": 3, "Subject": "01", "Reason": "r"}, ["Source"], "Source", None,
    ],
)  # fmt: skip
def test_records_of_failures_name_nothing_outside(
    failure: Any, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    failed = output / ".n4ax" / "failed"
    failed.mkdir(parents=True)
    (failed / "old.json").write_text(json.dumps(failure))
    journal = Journal(dataset, output)
    journal.add(Outcome(PATH, "01", "failed", reason="it is damaged"))
    journal.write_errors()
    errors = json.loads((output / "n4ax_errors.json").read_text())["Errors"]
    assert errors == [{"Source": PATH, "Subject": "01", "Reason": "it is damaged"}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "study"]


def test_what_was_no_number_in_the_study_file_does_not_end_a_run(tmp_path: Path) -> None:
    (tmp_path / "n4ax_study.json").write_text('{"Runs": [{"Seconds": NaN}, 1e999]}')
    add_run(tmp_path, "n4ax bids", 1.0, {"corrected": 1})
    runs = json.loads((tmp_path / "n4ax_study.json").read_text())["Runs"]
    assert runs[:2] == [{"Seconds": None}, None]
    assert runs[2]["Counts"] == {"corrected": 1}


def test_pipes_in_an_output_folder_are_not_waited_for(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    os.mkfifo(tmp_path / "sub-01/anat/sub-01_desc-n4_T1w.json")
    os.mkfifo(tmp_path / "log")
    recipe = Recipe(dataset, tmp_path, N4Settings())
    assert not is_complete(recipe, Outputs.of(Source.of(PATH)), Identity("1", "2", {}))
    with pytest.raises(OSError, match="is not a regular file"):
        append_text(tmp_path / "log", "text\n")


def test_filters_compare_numbers_of_any_length(dataset: Path) -> None:
    filters = {"t1w": {"run": "9" * 6000}}
    (dataset / "sub-01/anat/sub-01_run-1_T1w.nii.gz").write_bytes(b"")
    assert find_sources(dataset, filters=filters) == []


def test_a_pattern_follows_no_link_for_ever(dataset: Path) -> None:
    (dataset / "masks" / "deep").mkdir(parents=True)
    (dataset / "masks" / "root").symlink_to("/")
    (dataset / "masks" / "up").symlink_to("..")
    (dataset / "masks" / "deep" / "sub-01_mask.nii.gz").write_bytes(b"")
    for pattern in ("**/{sub}*mask.nii.gz", "masks/**/*_mask.nii.gz"):
        found = find_file(dataset, Source.of(PATH), pattern.replace("{sub}", "sub-01"), "mask")
        assert found == dataset / "masks/deep/sub-01_mask.nii.gz"


def test_a_pipe_that_is_left_of_a_run_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".n4ax" / "unfinished").mkdir(parents=True)
    os.mkfifo(tmp_path / ".n4ax" / "unfinished" / "x")
    (tmp_path / ".n4ax" / "unfinished" / "y").symlink_to(tmp_path)
    discard_leftovers(tmp_path)
    assert not list((tmp_path / ".n4ax" / "unfinished").iterdir())


def test_settings_that_nobody_can_use_are_those_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "sub-01" / "figures").mkdir(parents=True)
    (tmp_path / "sub-01" / "figures" / "sub-01_T1w.json").write_text('{"Source": "x"}')
    settings = {"T1w": {"shrink_factor": "a", "Mask": "otsu"}}
    (tmp_path / "n4ax_study.json").write_text(json.dumps({"Settings": settings}))
    with pytest.raises(ValueError, match=r"n4ax_study\.json has settings that nobody can use"):
        write_folder_citation(tmp_path)


def test_a_folder_that_is_named_as_an_image_is_told_so(dataset: Path) -> None:
    (dataset / PATH).unlink()
    (dataset / PATH).mkdir()
    with pytest.raises(ValueError, match=r"sub-01_T1w\.nii\.gz is a folder; expected an image"):
        read_image_header(dataset / PATH)


def test_a_name_of_several_lines_is_told_in_one() -> None:
    bad, good = (Source.of(f"sub-01/anat/sub-01_{name}.nii.gz") for name in ("acq-a\nb_T1w", "T2w"))
    problem = Problem("cannot be read", "it is empty")
    recipe = Recipe(Path("in"), Path("out"), N4Settings())
    found = spread_problems(recipe, [(bad, good)], {bad.path: problem})
    assert "acq-a b_T1w" in found[good.path].reason
