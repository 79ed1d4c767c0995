"""One field for several images of a study: which images share it, and how they are written."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.bids import together
from n4ax.bids.image import Outcome
from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.bids.sharing import group_sources
from n4ax.bids.staging import put_in_place, reserve
from n4ax.bids.together import correct_sources
from n4ax.cli import main
from n4ax.errors import InputError
from n4ax.report.pages import write_participant
from n4ax.settings import N4Settings
from tests.bids.runs import find_images, make_small_study, read_errors, read_results
from tests.bids.runs import run_small_study as run

SETTINGS = N4Settings(iters=(4, 3), shrink_factor=2, voxel_order="F")
ECHOES = tuple(f"sub-01/anat/sub-01_echo-{k}_MEGRE.nii.gz" for k in (1, 2, 3))


def make_contrasts(folder: Path, *names: str) -> Path:
    """A dataset of images of one volume, which are the darker and the noisier the later."""
    make_small_study(folder, *names)
    random = np.random.default_rng(0)
    for number, name in enumerate(names):
        change(folder / name, lambda voxels, k=number: voxels ** (1 - 0.1 * k) + 2 * k)
        change(folder / name, lambda voxels: voxels + random.normal(0, 3, voxels.shape).clip(0))
    return folder


def change(path: Path, voxels: Callable[[Any], Any], affine: Any = None) -> None:
    scan = nib.load(path)
    changed = np.asarray(voxels(scan.get_fdata(dtype=np.float32)), np.float32)
    nib.save(nib.Nifti1Image(changed, scan.affine if affine is None else affine), path)


def correct(dataset: Path, *names: str, wait: bool = True, **keywords: Any) -> list[Outcome]:
    recipe = Recipe(dataset, dataset.parent / "out", SETTINGS, engine="cpu", **keywords)
    return correct_sources(recipe, [Source.of(name) for name in names], wait=wait)


def read_sidecar(output: Path, source: str) -> dict[str, Any]:
    return json.loads(find_sidecar(output, source).read_text())


def find_sidecar(output: Path, source: str) -> Path:
    folder, _, name = source.rpartition("/")
    stem, _, suffix = name.removesuffix(".nii.gz").rpartition("_")
    return output / folder / f"{stem}_desc-n4_{suffix}.json"


@pytest.fixture
def echoes(tmp_path: Path) -> Path:
    return make_contrasts(tmp_path / "study", *ECHOES)


def test_echoes_have_the_field_that_fit_estimates(echoes: Path) -> None:
    outcomes = correct(echoes, *ECHOES)
    assert [outcome.state for outcome in outcomes] == ["corrected"] * 3
    assert [outcome.notes for outcome in outcomes] == [()] * 3
    output = echoes.parent / "out"
    expected = n4ax.fit([echoes / name for name in ECHOES], shared_field=True, settings=SETTINGS)
    for name, result in zip(ECHOES, expected, strict=True):
        sidecar = find_sidecar(output, name)
        image = nib.load(sidecar.with_suffix(".nii.gz")).get_fdata(dtype=np.float32)
        assert np.array_equal(image, result.corrected.get_fdata(dtype=np.float32))
        made = json.loads(sidecar.read_text())
        others = [f"bids:raw:{other}" for other in ECHOES if other != name]
        assert made["Sources"] == [f"bids:raw:{name}", *others]
        assert made["N4"]["SharedFieldWith"] == others
        assert made["N4"]["Iterations"] == result.iterations
    page = write_participant(output, "01", (None, None)).read_text()
    assert page.count("<dt>Field</dt><dd>shared with ") == 3
    assert '<span class="file">sub-01_echo-3_MEGRE.nii.gz</span></dd>' in page


def test_the_same_group_is_done_once_and_another_anew(echoes: Path) -> None:
    def states(*names: str) -> list[str]:
        return [outcome.state for outcome in correct(echoes, *names)]

    output = echoes.parent / "out"
    assert states(*ECHOES) == ["corrected"] * 3
    before = read_results(output)
    assert states(*ECHOES) == ["unchanged"] * 3
    find_sidecar(output, ECHOES[1]).unlink()
    assert states(*ECHOES) == ["unchanged", "corrected", "unchanged"]
    assert read_results(output) == before
    change(echoes / ECHOES[2], lambda voxels: voxels * 1.5)
    assert states(*ECHOES) == ["corrected"] * 3  # each depends on all of them
    assert states(*ECHOES[1::-1]) == ["corrected"] * 2  # another order, another first image
    assert states(*ECHOES[:2]) == ["corrected"] * 2
    assert states(ECHOES[0]) == ["corrected"]
    assert "SharedFieldWith" not in read_sidecar(output, ECHOES[0])["N4"]


def test_a_changed_mask_of_one_image_changes_all(echoes: Path) -> None:
    masks = {name: echoes / "masks" / Path(name).name for name in ECHOES[:2]}
    for name, mask in masks.items():
        mask.parent.mkdir(exist_ok=True)
        mask.write_bytes((echoes / name).read_bytes())
        change(mask, lambda voxels: voxels > 60)
    pattern = "masks/{stem}.nii.gz"
    correct(echoes, *ECHOES[:2], mask=pattern)
    listed = read_sidecar(echoes.parent / "out", ECHOES[0])["Sources"]
    own, other = ((f"bids:raw:{name}", f"bids:raw:masks/{Path(name).name}") for name in masks)
    assert listed == [*own, *other]
    change(masks[ECHOES[1]], lambda voxels: voxels * (np.arange(30) < 20))
    again = correct(echoes, *ECHOES[:2], mask=pattern)
    assert [outcome.state for outcome in again] == ["corrected"] * 2


def test_only_images_of_one_grid_share_a_field(tmp_path: Path) -> None:
    kinds = ("T1w", "T2w", "FLAIR", "PDw", "bold")
    names = [f"sub-01/anat/sub-01_{kind}.nii.gz" for kind in kinds]
    dataset, output = make_contrasts(tmp_path / "study", *names), tmp_path / "out"
    change(dataset / names[2], lambda voxels: voxels[2:])
    change(dataset / names[3], lambda voxels: voxels, np.diag([2, 2, 2, 1]))
    change(dataset / names[4], lambda voxels: np.stack([voxels, voxels * 1.1], axis=-1))
    outcomes = correct(dataset, *names)
    assert [outcome.state for outcome in outcomes] == ["corrected"] * 5
    notes = [" ".join(outcome.notes) for outcome in outcomes]
    assert notes[:2] == ["", ""]
    assert all("has its grid, so it has a field of its own" in note for note in notes[2:4])
    assert "it is a series of volumes" in notes[4]
    shared = [read_sidecar(output, name)["N4"].get("SharedFieldWith") for name in names]
    assert shared == [[f"bids:raw:{names[1]}"], [f"bids:raw:{names[0]}"], None, None, None]
    alone = n4ax.fit(dataset / names[2], settings=SETTINGS)
    image = nib.load(find_sidecar(output, names[2]).with_suffix(".nii.gz"))
    assert np.array_equal(image.get_fdata(), alone.corrected.get_fdata())
    # Where the images that are missing lie on a grid of their own, the others are left alone.
    find_sidecar(output, names[2]).unlink()
    states = [outcome.state for outcome in correct(dataset, *names)]
    assert states == ["unchanged", "unchanged", "corrected", "unchanged", "unchanged"]


@pytest.mark.parametrize("damage", ["empty", "missing", "constant"])
def test_if_one_image_fails_all_fail_and_say_which(echoes: Path, damage: str) -> None:
    broken = echoes / ECHOES[1]
    broken.unlink()
    if damage == "empty":
        broken.touch()
    elif damage == "constant":
        nib.save(nib.Nifti1Image(np.ones((40, 40, 30), np.float32), np.eye(4)), broken)
        scan = nib.load(echoes / ECHOES[0])
        change(broken, lambda voxels: voxels, scan.affine)
    outcomes = correct(echoes, *ECHOES)
    assert [outcome.state for outcome in outcomes] == ["failed"] * 3
    assert all(ECHOES[1] in f"{outcome.source}: {outcome.reason}" for outcome in outcomes)
    if damage != "constant":
        words = f"its field is shared with {ECHOES[1]}, which failed: "
        assert [words in outcome.reason for outcome in outcomes] == [True, False, True]
    assert find_images(echoes.parent / "out") == []


def test_a_run_that_ends_between_two_images_is_taken_up(
    echoes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = echoes.parent / "out"
    correct(echoes, *ECHOES)
    undisturbed = read_results(output)
    change(echoes / ECHOES[0], lambda voxels: voxels * 2)
    change(echoes / ECHOES[0], lambda voxels: voxels / 2)
    error: BaseException

    def put(staging: Path, place: Path, sidecar: str) -> None:
        if "echo-2" in sidecar:
            raise error
        put_in_place(staging, place, sidecar)

    for error, expected in (
        (KeyboardInterrupt(), ["unchanged", "corrected", "corrected"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["unchanged", "corrected", "unchanged"]),
    ):
        for name in ECHOES:
            find_sidecar(output, name).unlink()
        with monkeypatch.context() as patched:
            patched.setattr(together, "put_in_place", put)
            if isinstance(error, KeyboardInterrupt):
                with pytest.raises(KeyboardInterrupt):
                    correct(echoes, *ECHOES)
            else:
                outcomes = correct(echoes, *ECHOES)
                assert [one.state for one in outcomes] == ["corrected", "failed", "corrected"]
                assert [one.disk_full for one in outcomes] == [False, True, False]
        assert [one.state for one in correct(echoes, *ECHOES)] == expected
        assert read_results(output) == undisturbed


def test_a_group_waits_for_each_of_its_images(echoes: Path) -> None:
    with reserve(echoes.parent / "out", "sub-01_echo-2_desc-n4_MEGRE", wait=True):
        outcomes = correct(echoes, *ECHOES, wait=False)
    assert [outcome.state for outcome in outcomes] == ["busy"] * 3
    assert [outcome.state for outcome in correct(echoes, *ECHOES)] == ["corrected"] * 3


@pytest.mark.parametrize(
    ("shared_field", "groups"),
    [
        ((), ["0", "1", "2", "3", "4", "5", "6", "7", "8"]),
        (("echo",), ["01", "2", "3", "4", "5", "6", "7", "8"]),
        (("echo", "acquisition"), ["012", "3", "4", "5", "6", "7", "8"]),
        (("suffix",), ["0", "1", "2", "34", "5", "6", "7", "8"]),
        (("inv",), ["0", "1", "2", "3", "4", "56", "7", "8"]),
        (("session",), ["0123456", "7", "8"]),
    ],
)
def test_groups_by_entities(shared_field: tuple[str, ...], groups: list[str]) -> None:
    one = "sub-1/ses-1/anat/sub-1_ses-1"
    paths = [
        f"{one}_acq-a_echo-1_MEGRE.nii.gz", f"{one}_acq-a_echo-2_MEGRE.nii",
        f"{one}_acq-b_echo-1_MEGRE.nii.gz", f"{one}_T1w.nii.gz", f"{one}_T2w.nii.gz",
        f"{one}_inv-1_part-mag_MP2RAGE.nii.gz", f"{one}_inv-2_part-mag_MP2RAGE.nii.gz",
        "sub-1/ses-2/anat/sub-1_ses-2_T2w.nii.gz", "sub-2/anat/sub-2_T2w.nii.gz",
    ]  # fmt: skip
    made = group_sources([Source.of(path) for path in paths], shared_field)
    assert ["".join(str(paths.index(one.path)) for one in group) for group in made] == groups


@pytest.mark.parametrize("words", [("colour",), ("sub",), ("ses",), ("session", "echo")])
def test_what_is_no_entity_to_share_over(words: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=f"shared_field is {' '.join(words)}"):
        group_sources([Source.of(ECHOES[0])], words)


def test_the_command_shows_groups_corrects_them_and_goes_on(
    tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"sub-0{k}/anat/sub-0{k}_{kind}.nii.gz" for k in (1, 2) for kind in ("T1w", "T2w")]
    dataset, output = make_contrasts(tmp_path / "study", *names), tmp_path / "out"
    odd = dataset / "sub-02" / "anat" / "sub-02_T1w.nii"  # one name but for the extension
    nib.save(nib.load(dataset / names[2]), odd)
    words = ["--scheduler", scheduler, "--shared-field", "suffix", "echo"]
    assert main(["bids", *words[2:], str(dataset), str(output), "participant", "-n"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"(mask otsu; field shared with {names[1]})")
    assert lines[-2].endswith("sub-02_desc-n4_T2w.nii.gz (mask otsu)")  # the T1w are refused
    assert run(dataset, output, *words) == 1
    assert len(read_errors(output)) == 2
    assert len(find_images(output)) == 6
    assert len(read_sidecar(output, names[0])["N4"]["SharedFieldWith"]) == 1
    odd.unlink()
    assert main(["bids", str(dataset), str(output), "participant", *words, "--shrink", "2",
                 "--iterations", "10x10"]) == 0  # fmt: skip
    assert "2 corrected, 2 unchanged, 0 failed" in capsys.readouterr().out
    broken = dataset / names[1]
    broken.write_bytes(b"")
    assert run(dataset, output, *words) == 1
    assert set(read_errors(output)) == set(names[:2])
    assert names[1] in read_errors(output)[names[0]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("colour",), "--shared-field is colour; expected session, or entities"),
        (("suffix", "--arithmetic", "itk"), "--shared-field is suffix, and --arithmetic is 'itk'"),
    ],
)
def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    dataset = make_small_study(tmp_path / "study", ECHOES[0].replace("MEGRE", "T1w"))
    assert run(dataset, tmp_path / "out", "--shared-field", *words) == 2
    assert message in capsys.readouterr().err
