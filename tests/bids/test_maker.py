"""What made a dataset, and the text for papers beside its logs."""

import json
from pathlib import Path

import pytest

from n4ax.bids.maker import describe_maker
from n4ax.cli import main
from n4ax.provenance import write_methods
from n4ax.settings import N4Settings
from n4ax.version import __version__
from tests.bids.runs import make_small_study, run_small_study


def test_the_description_names_sources_container_and_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APPTAINER_CONTAINER", "docker://example.org/n4ax:1")
    monkeypatch.setenv("N4AX_IMAGE", "n4ax:1")
    made = describe_maker("n4ax bids study out participant")
    assert (made["Name"], made["Version"]) == ("n4ax", __version__)
    assert made["Command"] == "n4ax bids study out participant"
    assert made["Container"] == {
        "Type": "apptainer", "Tag": "n4ax:1", "URI": "docker://example.org/n4ax:1"
    }  # fmt: skip
    assert ":" in made["CodeURL"]


def test_a_study_describes_itself_for_papers(tmp_path: Path, scheduler: str) -> None:
    dataset = make_small_study(tmp_path / "study", "sub-01/anat/sub-01_T1w.nii.gz")
    output = tmp_path / "out"
    words = ("--scheduler", scheduler)
    assert run_small_study(dataset, output, *words) == 0
    (maker,) = json.loads((output / "dataset_description.json").read_text())["GeneratedBy"]
    assert maker["Command"].startswith(f"n4ax bids {dataset} {output} participant --shrink-factor")
    page = output / "logs" / "CITATION.md"
    settings = N4Settings(iters=(10, 10), shrink_factor=2)
    text = write_methods(settings, {"Mask": "otsu"}).split("\n\n")[0]
    assert f"*T1w images.* {text}" in page.read_text()
    page.unlink()
    assert main(["bids", str(dataset), str(output), "group"]) == 0
    assert f"*T1w images.* {text}" in page.read_text()
    assert run_small_study(dataset, output, *words) == 0
