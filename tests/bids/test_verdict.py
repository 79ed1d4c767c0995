"""What ``n4ax bids`` says about its results, and what it does with images that were corrected."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from n4ax.bids.inputs import Source
from n4ax.bids.journal import Journal
from n4ax.bids.recipe import Recipe
from n4ax.bids.study import Tally
from n4ax.bids.together import correct_sources
from n4ax.cli.bids import bids
from n4ax.cli.notes import list_notes
from n4ax.cli.options import option_names
from n4ax.report.pages import write_participant
from n4ax.settings import N4Settings
from tests.bids.runs import make_small_study, run_small_study
from tests.support.heads import make_small_head

NAMES = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
NORM = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two images with negative voxels, of which the scanner has normalised the second."""
    folder = make_small_study(tmp_path / "study", *NAMES)
    for name in NAMES:
        scan = nib.load(folder / name)
        voxels = np.asarray(scan.dataobj, np.float32)
        voxels[4:6, 4:6, 4:6] = -20
        nib.save(nib.Nifti1Image(voxels, scan.affine), folder / name)
    (folder / NAMES[1].replace(".nii.gz", ".json")).write_text(json.dumps(NORM))
    return folder


def make_recipe(dataset: Path, **keywords: object) -> Recipe:
    settings = N4Settings(iters=(3, 2), conv_threshold=0.0, voxel_order="F")
    return Recipe(
        dataset, dataset.parent / "out", settings, mask="all", engine="cpu",
        names=option_names(bids), **keywords,  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_sidecar_the_log_and_the_page_have_the_notes(dataset: Path) -> None:
    recipe = make_recipe(dataset)
    (outcome,) = correct_sources(recipe, [Source.of(NAMES[1])])
    assert set(outcome.remarks) == {"non-positive", "already-corrected"}
    assert outcome.notes == ()
    text = outcome.remarks["non-positive"]
    assert "--non-positive exclude" in text
    sidecar = recipe.output / "sub-01/anat/sub-01_desc-n4_T2w.json"
    verdict = json.loads(sidecar.read_text())["N4"]["Verdict"]
    assert {message["Code"]: message["Text"] for message in verdict["Messages"]} == outcome.remarks
    record = json.loads((recipe.output / "sub-01/figures/sub-01_desc-n4_T2w.json").read_text())
    assert record["Notes"] == []
    assert record["Messages"] == verdict["Messages"]
    assert verdict["Measures"].items() <= record["Measures"].items()
    page = write_participant(recipe.output, "01", (None, None)).read_text()
    assert text[1:] in re.sub("</?code>", "", page)  # there it begins with a capital letter
    Journal(dataset, recipe.output).add(outcome)
    assert text in (recipe.output / "logs" / "sub-01.log").read_text()
    tally = Tally()
    tally.add(outcome)
    assert ("non-positive", NAMES[1], text) in tally.remarks


@pytest.mark.parametrize("shared", [False, True])
def test_images_that_were_corrected_are_left_out_if_asked(dataset: Path, shared: bool) -> None:
    recipe = make_recipe(dataset, already="skip")
    sources = [Source.of(name) for name in NAMES]
    groups = [sources] if shared else [[source] for source in sources]
    outcomes = [one for group in groups for one in correct_sources(recipe, group)]
    assert [outcome.state for outcome in outcomes] == ["corrected", "skipped"]
    assert outcomes[1].notes == (
        "it was left out, since it was corrected before: ImageType has NORM",
    )
    assert not list(recipe.output.glob("sub-01/anat/*T2w*"))
    (own,) = correct_sources(make_recipe(dataset, already="correct"), sources[1:])
    assert "already-corrected" not in own.remarks


@pytest.mark.slow
def test_a_study_of_corrected_images_ends_well(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / NAMES[0].replace(".nii.gz", ".json")).write_text(json.dumps(NORM))
    words = ("--already", "skip", "--n-procs", "1")
    assert run_small_study(dataset, tmp_path / "out", *words) == 0
    assert capsys.readouterr().err.count("it was left out") == 2


def test_notes_of_a_kind_are_one_line() -> None:
    noted = [("b", "2", "two"), ("a", "1", "one"), ("b", "1", "first"), ("b", "3", "three")]
    assert list(list_notes(noted)) == ["note: 1: one", "note: 1 and 2 more: first"]


def test_settings_are_chosen_for_each_image_by_tissues_among_the_derivatives(
    tmp_path: Path,
) -> None:
    head = make_small_head(0.9, 3)
    affine = np.diag([*(head.spacing,) * 3, 1.0])
    name = "sub-01/anat/sub-01_T1w.nii.gz"
    folder = make_small_study(tmp_path / "study", name)
    nib.save(nib.Nifti1Image(head.image, affine), folder / name)
    labels = folder / "derivatives/seg/sub-01/anat/sub-01_dseg.nii.gz"
    labels.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(head.labels, affine), labels)
    recipe = Recipe(
        folder, tmp_path / "out", N4Settings.auto().override(voxel_order="F"), engine="cpu",
        tissues=("derivatives/seg/{folder}/{name}_dseg.nii.gz",),
    )  # fmt: skip
    (outcome,) = correct_sources(recipe, [Source.of(name)])
    assert outcome.state == "corrected", outcome.reason
    sidecar = json.loads((recipe.output / "sub-01/anat/sub-01_desc-n4_T1w.json").read_text())
    choice = sidecar["N4"]["Choice"]
    assert "makes the two tissues most even" in choice["Sentence"]
    assert sidecar["N4"]["Settings"]["spline_distance"] > 0
    assert any("dseg" in source for source in sidecar["Sources"])
    page = write_participant(recipe.output, "01", (None, None)).read_text()
    assert choice["Sentence"].split(":")[0] in page
    assert "most even" in page
    (again,) = correct_sources(recipe, [Source.of(name)])
    assert again.state == "unchanged"
    nib.save(nib.Nifti1Image(head.labels[::-1], affine), labels)
    (changed,) = correct_sources(recipe, [Source.of(name)])
    assert changed.state == "corrected"
    labels.unlink()
    (failed,) = correct_sources(recipe, [Source.of(name)])
    assert "tissues finds no file" in failed.reason
