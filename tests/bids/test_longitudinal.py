"""One setting for all images of a participant."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.bids.together import correct_sources
from n4ax.cli import main
from n4ax.settings import N4Settings
from tests.bids.runs import read_errors
from tests.conftest import ROOT

SESSIONS = {
    f"sub-01/ses-{label}/anat/sub-01_ses-{label}_T1w.nii.gz": strength
    for label, strength in (("1", 0.0), ("2", 0.35), ("3", 0.5))
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three sessions of one head under shading of different strengths, and another head."""
    folder = tmp_path / "study"
    scan = nib.load(ROOT / "src" / "n4ax" / "data" / "head.nii.gz").slicer[::2, ::2, ::2]
    voxels = scan.get_fdata(dtype=np.float32)
    ramp = np.linspace(-1, 1, scan.shape[0], dtype=np.float32).reshape(-1, 1, 1)
    others = {"sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz": 0.3}
    for name, strength in {**SESSIONS, **others}.items():
        (folder / name).parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(voxels * np.exp(strength * ramp), scan.affine), folder / name)
    return folder


def read_made(output: Path, name: str) -> dict[str, Any]:
    sidecar = output / name.replace("_T1w.nii.gz", "_desc-n4_T1w.json")
    return json.loads(sidecar.read_text())["N4"]


def correct(dataset: Path, longitudinal: bool) -> list[dict[str, Any]]:
    output = dataset.parent / f"out-{longitudinal}"
    recipe = Recipe(dataset, output, N4Settings.auto(), engine="cpu", longitudinal=longitudinal)
    sources = [Source.of(name) for name in SESSIONS]
    groups = [sources] if longitudinal else [[source] for source in sources]
    outcomes = [one for group in groups for one in correct_sources(recipe, group)]
    assert [outcome.state for outcome in outcomes] == ["corrected"] * 3
    return [read_made(output, name) for name in SESSIONS]


def test_sessions_get_the_same_settings_chosen_on_all(dataset: Path) -> None:
    alone, together = correct(dataset, False), correct(dataset, True)
    assert len({json.dumps(made["Settings"]) for made in alone}) > 1
    assert len({json.dumps(made["Settings"]) for made in together}) == 1
    (sentence,) = {made["Choice"]["Sentence"] for made in together}
    assert "median of 3 images" in sentence
    assert all("SharedFieldWith" not in made for made in together)


def test_the_command(dataset: Path, scheduler: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = dataset.parent / "out"
    words = ["bids", str(dataset), str(output), "participant", "--longitudinal"]
    words += ["--scheduler", scheduler]
    assert main(words) == 2
    assert "--longitudinal chooses one setting for each participant" in capsys.readouterr().err
    words += ["--preset", "auto"]
    assert main([*words, "--dry-run"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert f"settings shared with {list(SESSIONS)[1]}, {list(SESSIONS)[2]}" in listed[0]
    for wrong, reason in (
        (("--shared-field", "echo"), "--longitudinal and --shared-field are both given"),
        (("--output-settings", "exception"), "leave out --longitudinal"),
    ):
        assert main([*words, *wrong]) == 2
        assert reason in capsys.readouterr().err
    assert main(words) == 0
    assert "4 corrected" in capsys.readouterr().out
    made = [read_made(output, name) for name in SESSIONS]
    assert made[0]["Settings"] == made[1]["Settings"] == made[2]["Settings"]
    last = list(SESSIONS)[2]
    (dataset / last).write_bytes(b"")
    assert main(words) == 1
    capsys.readouterr()
    reasons = read_errors(output)
    assert set(reasons) == set(SESSIONS)
    start = f"its settings are chosen with {last}, which failed: "
    assert reasons[next(iter(SESSIONS))].startswith(start)
