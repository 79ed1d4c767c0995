"""4-D series: one field for all volumes, or one for each."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.cli import main as n4ax_main
from tests.support.ants import SPACING


def correct_series(*options: str) -> int:
    settings = [
        "--mask",
        "none",
        "--iters",
        "4x4",
        "--conv-threshold",
        "0",
        "--shrink-factor",
        "2",
        "-q",
    ]
    return n4ax_main(["correct", "series.nii.gz", "-o", "out.nii.gz", *settings, *options])


@pytest.mark.parametrize("word", ["mean", "first", "2"])
def test_series_is_divided_by_the_field_of_one_volume(word: str, folder: Path) -> None:
    series = np.asarray(nib.load("series.nii.gz").dataobj, np.float32)
    volume = series.mean(axis=3) if word == "mean" else series[..., 0 if word == "first" else 2]
    assert correct_series("--series", word, "--bias", "bias.nii.gz") == 0
    _, log_bias = n4ax.n4(
        volume.astype(np.float32), "all", iters=(4, 4), conv_threshold=0, shrink_factor=2,
        spacing=SPACING, voxel_order="F", return_bias=True,
    )  # fmt: skip
    bias = np.asarray(nib.load("bias.nii.gz").dataobj)
    np.testing.assert_allclose(bias, np.exp(log_bias), rtol=1e-6)
    corrected = np.asarray(nib.load("out.nii.gz").dataobj)
    np.testing.assert_allclose(corrected, series / np.exp(log_bias)[..., None], rtol=1e-6)


@pytest.mark.parametrize("words", ["0,2", "b0"])
def test_a_field_of_the_mean_of_some_volumes(words: str, folder: Path) -> None:
    Path("series.bval").write_text("0 1000 50\n")
    assert correct_series("--series", words, "--bias", "bias.nii.gz") == 0
    series = np.asarray(nib.load("series.nii.gz").dataobj, np.float32)
    volume = series[..., [0, 2]].mean(axis=3, dtype=np.float64).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, nib.load("series.nii.gz").affine), "mean.nii.gz")
    settings = ["--mask", "none", "--iters", "4x4", "--conv-threshold", "0", "--shrink-factor", "2"]
    assert n4ax_main(["correct", "mean.nii.gz", *settings, "--bias", "mean_bias.nii.gz"]) == 0
    fields = [np.asarray(nib.load(name).dataobj) for name in ("bias.nii.gz", "mean_bias.nii.gz")]
    np.testing.assert_array_equal(*fields)


@pytest.mark.parametrize(
    ("bval", "message"),
    [
        (None, "series.bval does not exist; it tells which volumes"),
        ("1000 800 900", "least is 800: raise --b0-threshold"),
        ("x", "cannot be"),
        ("0 1000", "2 b-values and its image has 3 volumes"),
    ],
)
def test_bad_b_values_are_named(
    bval: str | None, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if bval is not None:
        Path("series.bval").write_text(bval)
    assert correct_series("--series", "b0") == 2
    assert message in capsys.readouterr().err


def test_each_volume_of_a_series_has_a_field_of_its_own(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    assert correct_series("--series", "each", "--bias", "bias.nii.gz", "--figure", "a.png") == 0
    series = np.asarray(nib.load("series.nii.gz").dataobj, np.float32)
    corrected = np.asarray(nib.load("out.nii.gz").dataobj)
    assert nib.load("bias.nii.gz").shape == series.shape
    for t in range(3):
        alone = n4ax.n4(
            series[..., t], "all", iters=(4, 4), conv_threshold=0, shrink_factor=2,
            spacing=SPACING, voxel_order="F",
        )  # fmt: skip
        np.testing.assert_array_equal(corrected[..., t], alone)


@pytest.mark.parametrize("word", ["mean", "each"])
def test_series_of_one_volume(word: str, folder: Path) -> None:
    scan = nib.load("im.nii.gz")
    one = np.asarray(scan.dataobj)[..., None]
    nib.save(nib.Nifti1Image(one, scan.affine), "series.nii.gz")
    assert correct_series("--series", word, "--bias", "bias.nii.gz") == 0
    assert nib.load("out.nii.gz").shape == one.shape
    assert nib.load("bias.nii.gz").shape == (one.shape if word == "each" else one.shape[:3])


@pytest.mark.parametrize("outside", ["keep", "zero"])
def test_series_outside_the_mask(outside: str, folder: Path) -> None:
    options = ["--series", "mean", "--mask", "mask.nii.gz", "--outside", outside]
    assert correct_series(*options) == 0
    series = np.asarray(nib.load("series.nii.gz").dataobj, np.float32)
    inside = np.asarray(nib.load("mask.nii.gz").dataobj) != 0
    expected = series[~inside] if outside == "keep" else 0
    assert np.all(np.asarray(nib.load("out.nii.gz").dataobj)[~inside] == expected)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("series.nii.gz --series 3", "--series is 3; the image has volumes 0 to 2"),
        ("series.nii.gz --series median", "is not mean, first, each, b0, 4d or numbers"),
        (
            "series.nii.gz --series each --field f.npz",
            "--field writes one field, but there is one for each volume",
        ),
        ("im.nii.gz --series mean", "a series has an axis beyond the three of space"),
        ("series.nii.gz --series mean --mask smaller.nii.gz", "has shape (27, 26, 22)"),
    ],
)
def test_bad_series_are_named(
    line: str, words: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert n4ax_main(["correct", *line.split(), "-o", "out.nii.gz"]) == 2
    assert words in capfd.readouterr().err
    assert not Path("out.nii.gz").exists()
