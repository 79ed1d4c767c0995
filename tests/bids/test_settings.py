"""An output folder has one setting: others are refused, replace it, or are exceptions."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids.image import correct_source
from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.bids.study_file import check_folder, take_folder
from n4ax.cli import main
from n4ax.errors import InputError
from n4ax.settings import N4Settings
from tests.bids.runs import make_small_study

T1W = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz")
T2W = "sub-01/anat/sub-01_T2w.nii.gz"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_small_study(tmp_path / "study", *T1W, T2W)


def read_study(output: Path) -> dict[str, Any]:
    return json.loads((output / "n4ax_study.json").read_text())


def read_made(output: Path, label: str = "01", suffix: str = "T1w") -> dict[str, Any]:
    sidecar = output / f"sub-{label}/anat/sub-{label}_desc-n4_{suffix}.json"
    return json.loads(sidecar.read_text())["N4"]


class Study:
    """A dataset that is corrected by the command, with what it prints."""

    def __init__(self, dataset: Path, scheduler: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.dataset, self.output = dataset, dataset.parent / "out"
        self._scheduler, self._capsys = scheduler, capsys

    def run(self, *words: str, iters: str = "3") -> tuple[int, str]:
        start = ["bids", str(self.dataset), str(self.output), "participant", "--iters", iters]
        status = main([*start, "--shrink-factor", "4", "--scheduler", self._scheduler, *words])
        return status, "".join(self._capsys.readouterr())


@pytest.fixture
def study(dataset: Path, scheduler: str, capsys: pytest.CaptureFixture[str]) -> Study:
    return Study(dataset, scheduler, capsys)


def test_other_settings_are_refused_with_both_named(study: Study) -> None:
    assert study.run()[0] == 0
    before = {path: path.read_bytes() for path in study.output.rglob("*") if path.is_file()}
    status, said = study.run("--participant-label", "02", iters="4")
    assert status == 2
    assert "holds images with other settings (iters is [3] there and [4] here): choose" in said
    assert "--output-settings replace" in said
    assert "--output-settings exception" in said
    status, said = study.run("--engine", "xla", "--dry-run")  # before any work
    assert status == 2
    assert 'Engine is "cpu" there and "xla" here' in said
    assert {path: path.read_bytes() for path in study.output.rglob("*") if path.is_file()} == before


def test_settings_that_replace_others_are_those_of_the_folder(study: Study) -> None:
    assert study.run()[0] == 0
    old = read_study(study.output)
    words = ("--participant-label", "02", "--output-settings", "replace")
    assert "1 corrected" in study.run(*words, iters="4")[1]
    new = read_study(study.output)
    assert {suffix: own["iters"] for suffix, own in new["Settings"].items()} == {
        "T1w": [4], "T2w": [4]  # although there is no new T2w yet
    }  # fmt: skip
    hashes = {made: read_made(study.output, made)["SettingsHash"] for made in ("01", "02")}
    assert hashes == {"01": old["SettingsHash"]["T1w"], "02": new["SettingsHash"]["T1w"]}
    assert study.run()[0] == 2
    assert "2 corrected, 1 unchanged" in study.run(iters="4")[1]


def test_exceptions_are_left_alone_until_their_files_change(study: Study) -> None:
    assert study.run()[0] == 0
    folder = read_study(study.output)["Settings"]
    words = ("--participant-label", "02", "--output-settings", "exception")
    assert "1 corrected" in study.run(*words, iters="4")[1]
    assert "1 of 1 images are up to date" in study.run(*words, iters="4")[1]
    assert read_study(study.output)["Settings"] == folder
    assert (read_made(study.output)["Settings"]["iters"], "Exception") == ([3], "Exception")
    made = read_made(study.output, "02")
    assert (made["Settings"]["iters"], made["Exception"]) == ([4], True)
    record = study.output / "sub-02/figures/sub-02_desc-n4_T1w.json"
    assert json.loads(record.read_text())["Exception"] is True

    assert "3 of 3 images are up to date" in study.run()[1]
    assert read_made(study.output, "02") == made
    described = (study.dataset / T1W[1]).with_name("sub-02_T1w.json")
    described.write_text('{"EchoTime": 0.003}')
    said = study.run()[1]
    assert "1 corrected, 2 unchanged" in said
    assert "sub-02_T1w.nii.gz: it had settings of its own, and its files have changed" in said
    assert "Exception" not in read_made(study.output, "02")

    assert "1 corrected" in study.run(*words, iters="4")[1]
    assert "1 corrected, 2 unchanged" in study.run("--output-settings", "replace")[1]


def test_an_exception_outlives_a_new_version(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, source = N4Settings(iters=(2,), shrink_factor=4), Source.of(T1W[0])
    own = Recipe(dataset, dataset.parent / "out", settings, engine="cpu", own_settings=True)
    other = Recipe(dataset, dataset.parent / "out", N4Settings(iters=(3,)), engine="cpu")
    assert correct_source(own, source).state == "corrected"
    monkeypatch.setattr("n4ax.bids.sidecar.__version__", "99.0")
    assert correct_source(other, source).state == "unchanged"
    assert correct_source(own, source).state == "corrected"


def test_a_kind_of_image_may_have_a_mask_of_its_own_but_no_parameters(study: Study) -> None:
    assert study.run("--suffix", "T1w")[0] == 0
    assert study.run("--suffix", "T2w", "--mask", "all")[0] == 0
    assert study.run("--suffix", "T2w", "--mask", "otsu")[0] == 2
    assert study.run("--suffix", "T2w", "--mask", "all", "--fwhm", "0.2")[0] == 2
    found = {suffix: own["Mask"] for suffix, own in read_study(study.output)["Settings"].items()}
    assert found == {"T1w": "otsu", "T2w": "all"}


def test_the_file_tells_of_the_runs_that_did_something(study: Study) -> None:
    assert study.run("--participant-label", "01", "--suffix", "T1w")[0] == 0
    assert (
        "1 of 1 images are up to date"
        in study.run("--participant-label", "01", "--suffix", "T1w")[1]
    )
    assert "2 corrected" in study.run()[1]
    content = read_study(study.output)
    assert content["Dataset"] == "study"
    first, second = content["Runs"]
    assert (first["Counts"], second["Counts"]["corrected"]) == ({"corrected": 1}, 2)
    command = f"n4ax bids {study.dataset} {study.output} participant"
    assert first["Command"].startswith(f"{command} --iters 3 --shrink-factor 4 --scheduler tls:")
    assert content["Rerun"].startswith(f"{command} --scheduler tls:")
    assert "core" in first["Machine"]


def test_a_folder_of_an_earlier_version_has_no_settings(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    wanted = {"T1w": {"fwhm": 0.15}}
    for content in (None, "broken", "[]", '{"Settings": 5}', '{"Settings": {"T1w": 5}}'):
        shutil.rmtree(output, ignore_errors=True)
        (output / "sub-01" / "figures").mkdir(parents=True)
        (output / "sub-01" / "figures" / "sub-01_desc-n4_T1w.json").touch()
        if content is not None:
            (output / "n4ax_study.json").write_text(content)
        assert not check_folder(output, wanted, "error")
        take_folder(dataset, output, wanted, "error")
        assert read_study(output)["Settings"] == wanted
        with pytest.raises(InputError, match=r"\(fwhm is 0.15 there and 0.2 here\)"):
            take_folder(dataset, output, {"T1w": {"fwhm": 0.2}}, "error")


def test_a_folder_without_images_takes_any_settings(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    take_folder(dataset, output, {"T1w": {"fwhm": 0.15}}, "error")
    take_folder(dataset, output, {"T1w": {"fwhm": 0.2}}, "error")
    assert read_study(output)["Settings"] == {"T1w": {"fwhm": 0.2}}


def test_what_is_not_known_is_refused(dataset: Path) -> None:
    policy: Any = "mix"
    with pytest.raises(InputError, match="output_settings=mix; expected one of error, rep"):
        Recipe(dataset, dataset, N4Settings(), output_settings=policy)


def rate(study: Study, *rows: str) -> None:
    """Rate images: ``"sub-01 reject"``; the first word is the participant."""
    lines = ["source\trating\tnote\trater\tdate\tresult"]
    for number, row in enumerate(rows):
        name, rating = row.split()
        record = study.output / f"{name}/figures/{name}_desc-n4_T1w.json"
        result = json.loads(record.read_text())["Result"]
        source = f"{name}/anat/{name}_T1w.nii.gz"
        lines.append(f"{source}\t{rating}\t\tAda\t2026-01-01T00:00:0{number}Z\t{result}")
    exported = study.output.parent / "exported.tsv"
    exported.write_text("\n".join(lines) + "\n")
    assert main(["report", str(study.output), "--ratings", str(exported), "-q"]) == 0


def test_rejected_scans_are_corrected_again_with_other_settings(study: Study) -> None:
    status, said = study.run("--rated", "reject")
    assert status == 2
    assert "has no ratings.tsv: save the ratings from the page of the group" in said
    assert study.run()[0] == 0
    rate(study, "sub-01 accept", "sub-02 reject")
    again = shlex.split(read_study(study.output)["Rerun"])
    assert "--iters" not in again
    words = ["--rated", "reject", "--output-settings", "exception", "--preset", "auto"]
    assert main([*again[1:], *words]) == 0
    assert read_made(study.output, "02")["Exception"] is True
    assert "Exception" not in read_made(study.output, "01")
    assert main([*again[1:], *words]) == 2  # the rating was of the earlier result
    assert study.run()[0] == 0
    assert read_made(study.output, "02")["Exception"] is True
