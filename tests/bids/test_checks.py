"""All images are checked before the first is corrected, and what is wrong is told once."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from n4ax.bids.checks import describe_problems, find_problems
from n4ax.bids.derivatives import Derivative
from n4ax.bids.headers import read_headers
from n4ax.bids.image import correct_source
from n4ax.bids.inputs import Source, find_sources
from n4ax.bids.recipe import Recipe
from n4ax.bids.together import correct_sources
from n4ax.cli import main
from n4ax.images import nifti
from n4ax.settings import N4Settings
from tests.bids.runs import find_images, make_small_study, read_errors, run_small_study

MASKS = "derivatives/masks/{folder}/{name}_mask.nii.gz"
SETTINGS = N4Settings(shrink_factor=4, iters=(2,), voxel_order="F")


def name_image(label: str, suffix: str = "T1w") -> str:
    return f"sub-{label}/anat/sub-{label}_{suffix}.nii.gz"


def write_beside(dataset: Path, image: str, file: Path, change: str = "") -> Path:
    """Write a mask of an image: the inner part of its grid, or that of a changed grid."""
    scan = nib.load(dataset / image)
    inside = np.zeros(scan.shape[:3], np.uint8)
    inside[8:-8, 8:-8, 8:-8] = 1
    affine = scan.affine.copy()
    if change == "shape":
        inside = inside[1:]
    if change in ("moved", "nearly"):
        affine[0, 3] += 1.0 if change == "moved" else 1e-4
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(inside, affine), file)
    return file


def find_mask(dataset: Path, image: str) -> Path:
    folder, name = image.rsplit("/", 1)
    return dataset / MASKS.format(folder=folder, name=name.removesuffix("_T1w.nii.gz"))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A dataset in which images and masks have everything that can be wrong with a header."""
    labels = ["good", "lost", "moved", "cut", "empty", "text", "zip", "none", "note", "rgb", "link"]
    dataset = make_small_study(tmp_path / "ds", *map(name_image, labels))
    changes = {"moved": "moved", "cut": "shape", "good": "nearly"}
    for label in labels:
        if label != "lost":
            image = name_image(label)
            write_beside(dataset, image, find_mask(dataset, image), changes.get(label, ""))
    (dataset / name_image("empty")).write_bytes(b"")
    (dataset / name_image("text")).write_text("no image, but a text that is long enough" * 20)
    start = (dataset / name_image("zip")).read_bytes()
    (dataset / name_image("zip")).write_bytes(start[:20] + b"\xff" * 500)
    find_mask(dataset, name_image("none")).write_bytes(b"")
    find_mask(dataset, name_image("note")).write_bytes(b"/annex/objects/MD5E-s1--1.nii.gz")
    colours = np.zeros((40, 40, 30), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    affine = nib.load(dataset / name_image("rgb")).affine
    nib.save(nib.Nifti1Image(colours, affine), find_mask(dataset, name_image("rgb")))
    (dataset / name_image("link")).unlink()
    (dataset / name_image("link")).symlink_to("../../.git/annex/objects/x")
    return dataset


def test_images_are_refused_for_the_reasons_that_the_run_would_give(
    broken: Path, tmp_path: Path
) -> None:
    recipe = Recipe(broken, tmp_path / "out", SETTINGS, mask=MASKS, names={"mask": "--mask"})
    sources = find_sources(broken)
    problems = find_problems(recipe, sources, read_headers(broken, sources))
    assert len(sources) == 11
    assert len(problems) == 10
    for source in sources:
        outcome = correct_source(recipe, source)
        assert outcome.reason == getattr(problems.get(source.path), "reason", "")
        assert outcome.state == ("failed" if source.path in problems else "corrected")
    assert describe_problems(problems, 11)[-1].startswith(
        "1 of 11 images has a mask without numbers: sub-rgb/anat/sub-rgb_T1w.nii.gz (derivatives"
    )


def test_what_the_run_accepts_is_not_refused(tmp_path: Path) -> None:
    dataset = make_small_study(tmp_path / "ds", *(name_image(label) for label in "abcd"))
    series = dataset / "sub-e" / "func" / "sub-e_task-rest_bold.nii.gz"
    scan = nib.load(dataset / name_image("a"))
    series.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.stack([scan.get_fdata()] * 2, -1), scan.affine), series)
    masks = {
        label: write_beside(dataset, name_image(label), dataset / "m" / f"sub-{label}_mask.nii.gz")
        for label in "abcd"
    }
    (tmp_path / "kept").mkdir()
    nib.save(nib.load(masks["b"]), tmp_path / "kept" / "b.mgz")
    masks["b"].unlink()
    shutil.copy(tmp_path / "kept" / "b.mgz", dataset / "m" / "sub-b_mask.mgz")
    deep = nib.load(masks["c"])
    nib.save(nib.Nifti1Image(np.asarray(deep.dataobj)[..., None], deep.affine), masks["c"])
    masks["d"].write_bytes(nib.load(masks["d"]).to_bytes())  # a .nii.gz that is not compressed
    shutil.copy(masks["a"], dataset / "m" / "sub-e_mask.nii.gz")
    recipe = Recipe(dataset, tmp_path / "out", SETTINGS, mask="m/sub-{sub}_mask.*", engine="cpu")
    sources = find_sources(dataset, suffixes=["T1w", "bold"])
    assert find_problems(recipe, sources, read_headers(dataset, sources)) == {}
    assert {correct_source(recipe, source).reason for source in sources} == {""}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("code", [0, 1, 2])
def test_headers_are_those_of_the_images(suffix: str, code: int, tmp_path: Path) -> None:
    path = tmp_path / f"sub-1/anat/sub-1_T1w{suffix}"
    path.parent.mkdir(parents=True)
    image = nib.Nifti1Image(np.zeros((3, 4, 5, 1), np.int16), np.diag([-2, 3, 4, 1]))
    image.header.set_xyzt_units("micron" if code else "mm")
    image.set_qform(image.affine, code)
    image.set_sform(image.affine if code == 2 else None, code=code)
    nib.save(image, path)
    source = Source.of(f"sub-1/anat/sub-1_T1w{suffix}")
    told: list[tuple[int, int]] = []
    found = read_headers(tmp_path, [source], lambda *numbers: told.append(numbers))[source.path]
    whole = nifti.read_grid(nifti.read_image(path))
    assert not isinstance(found, Exception)
    assert (found.shape, found.kind) == (whole.shape, whole.kind) == ((3, 4, 5, 1), np.int16)
    assert np.array_equal(found.affine, whole.affine)
    assert told == [(1, 1)]


def test_problems_are_told_once_and_the_others_go_on(
    broken: Path, tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    status = main([
        "bids", str(broken), str(output), "participant", "--shrink-factor", "4", "--iters", "2",
        "--mask", MASKS, "--scheduler", scheduler,
    ])  # fmt: skip
    assert status == 1
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len([line for line in lines if " of 11 images " in line]) == 5  # once for each kind
    assert "failed: sub-" not in printed.err
    assert f"n4ax: 1 of 11 images has no mask: nothing at {MASKS}: {name_image('lost')}" in lines
    unread = "n4ax: 4 of 11 images cannot be read: sub-empty/anat/sub-empty_T1w.nii.gz, "
    (line,) = (line for line in lines if line.startswith(unread))
    assert line.endswith(", and 1 more (the first: cannot be read as NIfTI: the file is empty)")
    assert "n4ax: failed: 10 images for the reasons above; n4ax_errors.json lists all" in lines[-1]
    assert "n4ax: 1 image: looking for workers" in lines  # the others are not counted
    assert "1 corrected, 0 unchanged, 10 failed in" in printed.out
    assert len(find_images(output)) == 2
    reasons = read_errors(output)
    assert len(reasons) == 10
    assert "do not occupy the same physical space" in reasons[name_image("moved")]
    assert "do not occupy" in (output / "sub-moved.html").read_text()


def test_nothing_starts_if_all_images_lack_their_mask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_small_study(tmp_path / "ds", name_image("1"), name_image("2"))
    assert run_small_study(dataset, tmp_path / "out", "--mask", "m/{name}.nii.gz") == 2
    expected = f"2 of 2 images have no mask: nothing at m/{{name}}.nii.gz: {name_image('1')}, "
    assert capsys.readouterr().err == f"n4ax: error: {expected}{name_image('2')}\n"
    assert not (tmp_path / "out").exists()


def test_other_files_are_checked_too(tmp_path: Path) -> None:
    dataset = make_small_study(tmp_path / "ds", name_image("1"), name_image("2"))
    dwi = "sub-1/dwi/sub-1_dwi.nii.gz"
    (dataset / dwi).parent.mkdir()
    scan = nib.load(dataset / name_image("1"))
    nib.save(nib.Nifti1Image(np.stack([scan.get_fdata()] * 3, -1), scan.affine), dataset / dwi)
    write_beside(dataset, name_image("1"), dataset / "w" / "sub-1_T1w.nii.gz")
    write_beside(dataset, name_image("1"), dataset / "w" / "sub-1_dwi.nii.gz")
    write_beside(dataset, name_image("2"), dataset / "w" / "sub-2_T1w.nii.gz")
    write_beside(dataset, name_image("2"), dataset / "t" / "sub-2_T1w_x.nii.gz")
    write_beside(dataset, name_image("2"), dataset / "t" / "sub-2_T1w_y.nii.gz")
    sources = find_sources(dataset, suffixes=["T1w", "dwi"])
    headers = read_headers(dataset, sources)

    def list_problems(**given: object) -> list[str]:
        recipe = Recipe(dataset, tmp_path / "out", SETTINGS, **given)  # type: ignore[arg-type]
        problems = find_problems(recipe, sources, headers)
        return [line.split(": sub")[0] for line in describe_problems(problems, 3)]

    assert list_problems() == ["1 of 3 images has no .bval file"]
    (dataset / "dwi.bval").write_text("1000 1000 1000\n")
    assert list_problems() == ["1 of 3 images has gradients that cannot be used"]
    (dataset / "dwi.bval").write_text("0 1000 1000\n")
    assert list_problems(weights="w/{stem}.nii.gz") == []
    assert list_problems(weights="v/{stem}.nii.gz") == [
        "3 of 3 images have no weights: nothing at v/{stem}.nii.gz"
    ]
    assert list_problems(tissues=("t/{stem}*.nii.gz",)) == [
        "2 of 3 images have no tissues: nothing at t/{stem}*.nii.gz",
        "1 of 3 images has more than one file for tissues t/{stem}*.nii.gz",
    ]
    assert list_problems(mask="{ses}/x.nii") == ["3 of 3 images have no mask by {ses}/x.nii"]
    places = (Derivative("own", dataset / "w"),)
    assert list_problems(mask="desc-brain_mask", derivatives=places) == [
        "3 of 3 images have no mask: no desc-brain_mask in own"
    ]


def test_images_that_would_be_left_out_are_not_refused(tmp_path: Path) -> None:
    dataset = make_small_study(tmp_path / "ds", name_image("1"))
    beside = dataset / name_image("1").replace(".nii.gz", ".json")
    beside.write_text(json.dumps({"ImageType": ["ORIGINAL", "PRIMARY", "NORM"]}))
    write_beside(dataset, name_image("1"), find_mask(dataset, name_image("1")), "moved")
    sources = find_sources(dataset)
    for already, number in (("skip", 0), ("warn", 1)):
        recipe = Recipe(dataset, tmp_path / "out", SETTINGS, mask=MASKS, already=already)
        assert len(find_problems(recipe, sources, read_headers(dataset, sources))) == number
        states = {"skip": "skipped", "warn": "failed"}
        assert correct_sources(recipe, sources)[0].state == states[already]


def test_images_that_share_a_field_fail_together(
    tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name_image(label, suffix) for label in "12" for suffix in ("T1w", "T2w")]
    dataset, output = make_small_study(tmp_path / "ds", *names), tmp_path / "out"
    for name in names[1:]:
        file = dataset / "m" / Path(name).name
        write_beside(dataset, name, file)
    arguments = ["--mask", "m/{stem}.nii.gz", "--shared-field", "suffix"]
    assert run_small_study(dataset, output, *arguments, "--scheduler", scheduler) == 1
    reasons = read_errors(output)
    assert sorted(reasons) == names[:2]
    missing = "--mask finds no mask at m/sub-1_T1w.nii.gz; expected one"
    assert reasons[names[0]] == missing
    assert reasons[names[1]] == f"its field is shared with {names[0]}, which failed: {missing}"
    assert "1 of 4 images cannot be corrected, since an image with" in capsys.readouterr().err
    assert len(find_images(output)) == 4


def make_derivatives(dataset: Path, folder: Path, *labels: str) -> Path:
    """Write masks and maps of two tissues as fMRIPrep does."""
    for label in labels:
        start = folder / f"sub-{label}" / "anat" / f"sub-{label}"
        mask = write_beside(dataset, name_image(label), Path(f"{start}_desc-brain_mask.nii.gz"))
        brain = nib.load(mask)
        for tissue, half in (("GM", np.s_[:20]), ("WM", np.s_[20:])):
            values = np.zeros(brain.shape, np.float32)
            values[half] = np.asarray(brain.dataobj)[half]
            nib.save(
                nib.Nifti1Image(values, brain.affine), f"{start}_label-{tissue}_probseg.nii.gz"
            )
    return folder


def test_a_dry_run_says_which_files_belong_to_which_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_small_study(tmp_path / "ds", *(name_image(label) for label in ("1", "23")))
    folder = make_derivatives(dataset, tmp_path / "fmriprep", "1")
    write_beside(dataset, name_image("1"), dataset / "w" / "sub-1_T1w.nii.gz")
    monkeypatch.chdir(tmp_path)
    arguments = ["--derivatives", "fmriprep", "--tissues", "label-GM", "--tissues", "label-WM"]
    arguments += ["--weights", "w/{stem}.nii.gz", "--preset", "auto", "--dry-run"]
    assert main(["bids", "ds", "out", "participant", *arguments]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "sub-1/anat/sub-1_T1w.nii.gz   -> sub-1/anat/sub-1_desc-n4_T1w.nii.gz",
        "    mask     fmriprep: sub-1/anat/sub-1_desc-brain_mask.nii.gz",
        "    weights  w/sub-1_T1w.nii.gz",
        "    tissues  fmriprep: sub-1/anat/sub-1_label-GM_probseg.nii.gz",
        "             fmriprep: sub-1/anat/sub-1_label-WM_probseg.nii.gz",
        "sub-23/anat/sub-23_T1w.nii.gz -> --mask finds no desc-brain_mask for this image in "
        f"{folder}/sub-23",
        f"Derivatives fmriprep: {folder}",
        "1 of 2 images has no mask: no desc-brain_mask in fmriprep: sub-23/anat/sub-23_T1w.nii.gz",
        "2 images of 2 participants; nothing was done (--dry-run).",
    ]
    assert not Path("out").exists()


def test_masks_and_weights_of_derivatives_make_what_their_files_make(
    tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_small_study(tmp_path / "ds", name_image("1"), name_image("2"))
    make_derivatives(dataset, tmp_path / "prep", "1", "2")
    output = tmp_path / "out"
    arguments = ["--derivatives", f"fmriprep={tmp_path / 'prep'}", "--weights", "label-WM_probseg"]
    arguments += ["--scheduler", scheduler]
    assert run_small_study(dataset, output, *arguments) == 0
    made = json.loads((output / "sub-1" / "anat" / "sub-1_desc-n4_T1w.json").read_text())
    start = "sub-1/anat/sub-1"
    assert made["Sources"] == [
        f"bids:raw:{start}_T1w.nii.gz",
        f"bids:fmriprep:{start}_desc-brain_mask.nii.gz",
        f"bids:fmriprep:{start}_label-WM_probseg.nii.gz",
    ]
    assert (made["N4"]["Mask"], made["N4"]["Weights"]) == ("desc-brain_mask", "label-WM_probseg")
    links = json.loads((output / "dataset_description.json").read_text())["DatasetLinks"]
    assert (output / links["fmriprep"]).resolve() == tmp_path / "prep"
    record = json.loads((output / "sub-1/figures/sub-1_desc-n4_T1w.json").read_text())
    assert record["Settings"]["Weights"] == "label-WM_probseg"
    one, weights = tmp_path / "one.nii.gz", tmp_path / "prep" / f"{start}_label-WM_probseg.nii.gz"
    words = ["correct", str(dataset / name_image("1")), "-o", str(one), "-q"]
    words += ["--shrink-factor", "2", "--iters", "10x10", "--weights", str(weights)]
    assert main([*words, "--mask", str(tmp_path / "prep" / f"{start}_desc-brain_mask.nii.gz")]) == 0
    corrected = output / "sub-1" / "anat" / "sub-1_desc-n4_T1w.nii.gz"
    assert corrected.read_bytes() == one.read_bytes()
    # Only the image whose weights have changed is corrected again.
    image = nib.load(weights)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) * 0.5, image.affine), weights)
    capsys.readouterr()
    command = ["bids", str(dataset), str(output), "participant", "--shrink-factor", "2"]
    command += ["--iters", "10x10", *arguments]
    assert main(command) == 0
    assert "1 corrected, 1 unchanged, 0 failed" in capsys.readouterr().out
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Nothing to do: 2 of 2 images are up to date. Reports: ")
    assert "a minute" not in printed
    assert main(["bids", str(dataset), str(output), "group"]) == 0
    assert capsys.readouterr().out.startswith(f"Wrote {output / 'group.html'}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mask", "desc-brain_mask"], "--mask is 'desc-brain_mask', entities that are looked"),
        (["--derivatives", "none"], "--derivatives none: there is no folder"),
        (["--derivatives", "ds", "--mask", "otsu"], "no entities are looked for there; give"),
        (["--derivatives", "ds", "--weights", "desc-w"], "--weights is 'desc-w', which has no"),
        (["--derivatives", "ds", "--tissues", "lable-GM"], "lable is no entity of BIDS"),
        (["--weights", ""], "--weights is empty"),
        (["-d", "a=ds", "a=ds/sub-1"], "is also called 'a'"),
    ],
)
def test_what_cannot_be_looked_for_is_told_first(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_small_study(Path("ds"), name_image("1"))
    assert main(["bids", *arguments, "ds", "out", "participant"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_weights_are_for_shared_fields_too(tmp_path: Path) -> None:
    names = [name_image("1", suffix) for suffix in ("T1w", "T2w")]
    dataset = make_small_study(tmp_path / "ds", *names)
    for name in names:
        write_beside(dataset, name, dataset / "w" / Path(name).name)
    sources = [Source.of(name) for name in names]

    def correct(weights: str | None) -> list[bytes]:
        output = tmp_path / f"out-{weights is None}"
        recipe = Recipe(
            dataset, output, SETTINGS, mask="all", weights=weights, engine="cpu",
            shared_field=("suffix",),
        )  # fmt: skip
        made = correct_sources(recipe, sources)
        assert {outcome.state for outcome in made} == {"corrected"}
        return [path.read_bytes() for path in find_images(output)]

    weighted, plain = correct("w/{stem}.nii.gz"), correct(None)
    assert len(weighted) == 4
    assert set(weighted).isdisjoint(plain)
    made = json.loads((tmp_path / "out-False/sub-1/anat/sub-1_desc-n4_T2w.json").read_text())
    assert f"bids:raw:w/{Path(names[0]).name}" in made["Sources"]
