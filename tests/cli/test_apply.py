"""``n4ax apply``: a field that was found before, on other images and grids, and back."""

import errno
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from tests.cli.program import AFFINE, QUICK, expect_error, phantom, read_voxels, run, save


@pytest.fixture
def field(scan: Path) -> Path:
    path = scan.with_name("field.npz")
    bias = scan.with_name("bias.nii.gz")
    assert run("correct", scan, "--field", path, "--bias", bias, "-q", *QUICK) == 0
    return path


def test_image_of_the_field_is_corrected_to_the_bit(scan: Path, field: Path) -> None:
    corrected = read_voxels(scan.with_name("scan_n4.nii.gz"))
    assert run("apply", field, scan, "--suffix", "_again") == 0
    again = nib.load(scan.with_name("scan_again.nii.gz"))
    assert np.array_equal(np.asarray(again.dataobj), corrected)
    assert np.array_equal(again.affine, AFFINE)


@pytest.mark.parametrize("name", ["field.npz", "bias.nii.gz"])
def test_correction_is_taken_back(name: str, scan: Path, field: Path) -> None:
    corrected = scan.with_name("scan_n4.nii.gz")
    assert (
        run("apply", field.with_name(name), corrected, "--invert", "--suffix", "_back", "-q") == 0
    )
    back = read_voxels(scan.with_name("scan_n4_back.nii.gz"))
    np.testing.assert_allclose(back, read_voxels(scan), rtol=1e-6)


def test_bias_image_divides_as_the_field_does(scan: Path, field: Path) -> None:
    assert run("apply", field.with_name("bias.nii.gz"), scan, "--suffix", "_b", "-q") == 0
    corrected = read_voxels(scan.with_name("scan_n4.nii.gz"))
    np.testing.assert_allclose(read_voxels(scan.with_name("scan_b.nii.gz")), corrected, rtol=1e-6)


def test_another_grid_is_divided_where_it_lies(scan: Path, field: Path, tmp_path: Path) -> None:
    """Turned, finer and shifted, the image has the field of the same places."""
    between = np.diag([-0.5, 0.8, 1.0, 1.0])  # to voxels of the field's image
    between[:3, 3] = 20.0, 2.0, 1.0
    fine = np.full((30, 18, 12), 1000, np.float32)
    other = save(tmp_path / "other.nii", fine, AFFINE @ between)
    assert run("apply", field, other, "-q") == 0
    index = np.stack(np.indices(fine.shape)).reshape(3, -1)
    places = between[:3, :3] @ index + between[:3, 3:]
    spline = n4ax.BiasField.load(field)
    truth = spline.evaluate_at(fine.shape, AFFINE @ between)
    # On the voxels that fall on voxels of the field's image, it is the field there.
    own = spline.evaluate_at(spline.shape)
    whole = np.isclose(places, np.rint(places)).all(axis=0)
    assert whole.sum() > 100
    at = tuple(np.rint(places[:, whole]).astype(int))
    np.testing.assert_allclose(truth.reshape(-1)[whole], own[at], atol=1e-6)
    divided = read_voxels(tmp_path / "other_n4.nii.gz")
    np.testing.assert_allclose(divided, fine / np.exp(truth), rtol=1e-6)


def test_one_slice_is_divided_where_it_lies(scan: Path, field: Path, tmp_path: Path) -> None:
    place = AFFINE.copy()
    place[:3, 3] = AFFINE[:3, :3] @ (0, 0, 7) + AFFINE[:3, 3]
    flat = save(tmp_path / "flat.nii", phantom()[:, :, 7], place)
    assert run("apply", field, flat, "-q") == 0
    corrected = read_voxels(scan.with_name("scan_n4.nii.gz"))[:, :, 7]
    np.testing.assert_allclose(read_voxels(tmp_path / "flat_n4.nii.gz"), corrected, rtol=1e-5)


def test_index_stretches_the_field_as_itk_does(field: Path, tmp_path: Path) -> None:
    elsewhere = AFFINE.copy()
    elsewhere[:3, 3] = 900
    voxels = np.full((12, 30, 40), 500, np.float32)
    other = save(tmp_path / "other.nii", voxels, elsewhere)
    assert run("apply", field, other, "--by", "index", "-q") == 0
    expected = n4ax.BiasField.load(field).divide(voxels)
    assert np.array_equal(read_voxels(tmp_path / "other_n4.nii.gz"), expected)


@pytest.mark.parametrize("name", ["field.npz", "bias.nii.gz"])
def test_every_volume_of_a_series_is_divided(name: str, field: Path, tmp_path: Path) -> None:
    series = np.stack([phantom() + 10 * t for t in range(3)], axis=-1)
    save(tmp_path / "series.nii.gz", series)
    assert run("apply", field.with_name(name), tmp_path / "series.nii.gz", "-q") == 0
    divided = read_voxels(tmp_path / "series_n4.nii.gz")
    for t in range(3):
        save(tmp_path / "one.nii", series[..., t])
        words = ("-o", tmp_path / "one_n4.nii", "--overwrite", "-q")
        assert run("apply", field.with_name(name), tmp_path / "one.nii", *words) == 0
        assert np.array_equal(divided[..., t], read_voxels(tmp_path / "one_n4.nii"))


def test_field_through_time(tmp_path: Path) -> None:
    series = np.stack([phantom((16, 14, 12)) + 50 * t for t in range(5)], axis=-1)
    scan = save(tmp_path / "series.nii.gz", series)
    field = tmp_path / "f.npz"
    words = ("--series", "4d", "--field", field, "-q", "--mask", "all", *QUICK)
    assert run("correct", scan, *words) == 0
    assert run("apply", field, scan, "--suffix", "_again", "-q") == 0
    corrected, again = (read_voxels(tmp_path / f"series_{x}.nii.gz") for x in ("n4", "again"))
    assert np.array_equal(corrected, again)


def test_several_images_go_into_a_folder(scan: Path, field: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other.nii", phantom() // 2)
    folder = tmp_path / "results"
    folder.mkdir()
    assert run("apply", field, scan, other, "-o", folder, "--dtype", "same", "-q") == 0
    assert sorted(path.name for path in folder.iterdir()) == ["other_n4.nii.gz", "scan_n4.nii.gz"]
    assert read_voxels(folder / "other_n4.nii.gz").dtype == np.int16


def test_mistakes(
    scan: Path, field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def expect(expected: str, *words: Any) -> None:
        assert expected in expect_error(capsys, "apply", *words)

    far = AFFINE.copy()
    far[:3, 3] = 900
    elsewhere = save(tmp_path / "far.nii", phantom(), far)
    small = save(tmp_path / "small.nii", phantom((12, 10, 8)))
    flat = save(tmp_path / "flat.nii", phantom()[:, :, 0])
    bias = field.with_name("bias.nii.gz")
    expect("scan_n4.nii.gz exists: give --overwrite", field, scan)
    expect("x -20 to 26, y -18 to 20, z -15 to 22 mm, and", field, elsewhere)
    expect("lies at x 900 to 946", field, elsewhere)
    expect("fits its own grid only", bias, small)
    expect("fits its own grid only", bias, elsewhere)
    expect(
        "voxels that are not above 0, so it is no field",
        save(tmp_path / "0.nii", 0 * phantom()),
        small,
    )
    expect("is one file for 2 images", field, small, elsewhere, "-o", "new.nii")
    expect(
        "expected a folder that exists, or a name ending in .nii",
        field,
        small,
        "-o",
        tmp_path / "x.png",
    )
    expect("would overwrite an input", field, small, "-o", small)
    (tmp_path / "other").mkdir()
    again = save(tmp_path / "other" / "small.nii", phantom((12, 10, 8)))
    expect("two results would be", field, small, again, "-o", tmp_path)
    expect("is a field of 3 axes, and", field, flat, "--by", "index")
    expect("does not exist", tmp_path / "none.npz", small)
    expect("is not a bias field saved by n4ax", save_text(tmp_path / "text.npz"), small)


def save_text(path: Path) -> Path:
    path.write_text("no field")
    return path


def test_patterns_folders_and_fields_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    for name in ("a", "b"):
        save(tmp_path / "scans" / f"{name}.nii", phantom())
    words = ["--field", "f.npz", "-o", "x.nii", "-q", *QUICK]
    assert run("correct", "scans/a.nii", *words) == 0
    assert run("apply", "f.npz", "scans", "-o", "one", "-q") == 0
    assert run("apply", "f.npz", "scans/*.nii", "-o", "two", "-q") == 0
    for folder in ("one", "two"):
        assert sorted(path.name for path in Path(folder).iterdir()) == [
            "a_n4.nii.gz",
            "b_n4.nii.gz",
        ]
    assert np.array_equal(read_voxels(Path("one/b_n4.nii.gz")), read_voxels(Path("x.nii")))
    save(tmp_path / "bold.nii", np.stack([phantom()] * 4, axis=-1))
    words = ["--series", "4d", "--field", "t.npz", "-o", "y.nii", "-q", *QUICK]
    assert run("correct", "bold.nii", *words) == 0
    assert run("apply", "t.npz", "bold.nii", "-o", "z.nii", "-q") == 0
    assert np.array_equal(read_voxels(Path("y.nii")), read_voxels(Path("z.nii")))
    assert run("apply", "t.npz", "scans/a.nii") == 2
    assert "over 4 volumes, and scans/a.nii has 1" in capsys.readouterr().err


def test_one_image_that_fails_does_not_keep_the_others_back(
    scan: Path, field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, broken, missing = tmp_path / "out", tmp_path / "broken.nii", tmp_path / "cut.nii.gz"
    broken.write_bytes(b"no image")
    missing.write_bytes(scan.read_bytes()[:500])
    assert run("apply", field, broken, scan, missing, "-o", folder, "-q") == 1
    assert [path.name for path in folder.iterdir()] == ["scan_n4.nii.gz"]
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" cannot ")[0] for line in told] == [
        f"n4ax: failed: {path}" for path in (broken, missing)
    ]


def test_no_folder_is_made_for_a_field_that_is_none(
    scan: Path, field: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = save(scan.with_name("mask.nii"), phantom() * 0)
    folder = scan.with_name("out")
    assert "so it is no field" in expect_error(capsys, "apply", none, scan, field, "-o", folder)
    assert not folder.exists()


def test_a_field_that_cannot_be_looked_at_is_not_called_missing(
    scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = scan.with_name("loop.npz")
    loop.symlink_to(loop.name)
    message = expect_error(capsys, "apply", loop, scan)
    assert f"{loop}: {os.strerror(errno.ELOOP)}" in message
