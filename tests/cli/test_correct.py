"""``n4ax correct`` and ``n4ax demo``: what they write and print."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import n4ax
from tests.cli.program import AFFINE, QUICK, expect_error, phantom, read_voxels, run, save


def test_correct_writes_what_the_library_finds(scan: Path, tmp_path: Path) -> None:
    target, bias, field = tmp_path / "out.nii", tmp_path / "bias.nii.gz", tmp_path / "field.npz"
    assert run("correct", scan, "-o", target, "--bias", bias, "--field", field, *QUICK) == 0
    image = phantom().astype(np.float32)
    expected = n4ax.fit(image, iters=(3, 2), conv_threshold=0, voxel_order="F")
    assert np.array_equal(read_voxels(target), expected.corrected)
    assert nib.load(target).get_data_dtype() == np.float32
    np.testing.assert_allclose(read_voxels(bias), np.exp(expected.log_bias), rtol=1e-6)
    np.testing.assert_allclose(image / read_voxels(bias), read_voxels(target), rtol=1e-6)
    loaded = n4ax.BiasField.load(field)
    assert np.array_equal(loaded.evaluate(), expected.log_bias)
    np.testing.assert_allclose(loaded.affine, AFFINE)


def test_default_output_lies_beside_the_input(scan: Path, tmp_path: Path) -> None:
    assert run("correct", scan, "-q", *QUICK) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.nii.gz", "scan_n4.nii.gz"]


def test_summary_is_one_paragraph_and_quiet_prints_nothing(
    scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("correct", scan, *QUICK) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "24 x 20 x 16" in out
    assert "3 (iteration limit), 2 (iteration limit)" in out
    assert err == ""
    assert run("correct", scan, "-q", *QUICK) == 0
    assert capsys.readouterr() == ("", "")


def test_options_reach_the_solver(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    options = ["--spline-distance", "30", "--shrink-factor", "2", "--nbins", "100", "--fwhm", "0.2",
               "--wiener", "0.02", "--over-relax", "1.2", "--outside", "zero", "--mask", "otsu",
               "--num-threads", "1", "--spline-order", "2", "--engine", "cpu"]  # fmt: skip
    assert run("correct", scan, "-o", target, *QUICK, *options) == 0
    expected = n4ax.n4(
        phantom().astype(np.float32), "otsu", iters=(3, 2), conv_threshold=0, voxel_order="F",
        spline_distance=30, spacing=(2, 2, 2.5), shrink_factor=2, nbins=100, fwhm=0.2,
        wiener=0.02, over_relax=1.2, outside="zero", spline_order=2,
    )  # fmt: skip
    assert np.array_equal(read_voxels(target), expected)


def test_mesh_and_shrink_per_axis_follow_the_files_axes(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    assert (
        run("correct", scan, "-o", target, "--mesh", "1x2x3", "--shrink-factor", "2x1x1", *QUICK)
        == 0
    )
    expected = n4ax.n4(
        phantom().astype(np.float32), iters=(3, 2), conv_threshold=0, voxel_order="F",
        mesh=(1, 2, 3), shrink_factor=(2, 1, 1),
    )  # fmt: skip
    assert np.array_equal(read_voxels(target), expected)


def test_presets_start_from_other_programs_defaults(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    assert run("correct", scan, "-o", target, "--preset", "ants", "--iters", "4") == 0
    expected = n4ax.n4(
        phantom().astype(np.float32), "all", iters=(4,), conv_threshold=0, shrink_factor=4,
        mesh=1, voxel_order="F",
    )  # fmt: skip
    assert np.array_equal(read_voxels(target), expected)


def test_the_fast_preset_accelerates(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, image = tmp_path / "out.nii.gz", phantom().astype(np.float32)
    assert run("correct", scan, "-o", target, "--preset", "fast") == 0
    fast = {**n4ax.N4Settings.fast().keywords(), "voxel_order": "F"}
    assert np.array_equal(read_voxels(target), n4ax.n4(image, **fast))
    assert run("correct", scan, "-o", target, "--preset", "fast", "--no-accelerate") == 0
    assert np.array_equal(read_voxels(target), n4ax.n4(image, **fast | {"accelerate": False}))
    capsys.readouterr()
    message = expect_error(capsys, "correct", scan, "--accelerate")
    assert "--conv-threshold 0, or do not accelerate" in message


def test_a_distance_takes_the_place_of_a_presets_mesh(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    options = [
        "--preset",
        "ants",
        "--iters",
        "4",
        "--spline-distance",
        "30",
        "--shrink-factor",
        "2",
    ]
    assert run("correct", scan, "-o", target, *options) == 0
    expected = n4ax.n4(
        phantom().astype(np.float32), "all", iters=(4,), conv_threshold=0, shrink_factor=2,
        spline_distance=30, spacing=(2, 2, 2.5), voxel_order="F",
    )  # fmt: skip
    assert np.array_equal(read_voxels(target), expected)


@pytest.mark.parametrize("with_mask", [False, True])
def test_shrinking_takes_the_voxels_that_the_library_takes_on_oblique_images(
    tmp_path: Path, with_mask: bool
) -> None:
    path = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
    head, target, mask = nib.load(path), tmp_path / "out.nii.gz", tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(n4ax.otsu_mask(np.asarray(head.dataobj)), head.affine), mask)
    words = ["--mask", mask] if with_mask else []
    assert run("correct", path, "-o", target, "--shrink-factor", "4", *words) == 0
    given = nib.load(mask) if with_mask else None
    expected = n4ax.n4(head, given, shrink_factor=4)
    assert np.array_equal(read_voxels(target), np.asarray(expected.dataobj))
    plain = n4ax.n4(np.asarray(head.dataobj), shrink_factor=4, voxel_order="F")
    assert not np.array_equal(read_voxels(target), plain)  # samples lie midway between voxels


def test_mask_file_label_and_weights(scan: Path, tmp_path: Path) -> None:
    image = phantom().astype(np.float32)
    labels = (image > 300).astype(np.uint8) + (image > 700)
    weights = np.linspace(0, 1, image.size).reshape(image.shape).astype(np.float32)
    mask = save(tmp_path / "mask.nii.gz", labels[..., None])
    trust = save(tmp_path / "weights.nii.gz", weights)
    target = tmp_path / "out.nii.gz"
    options = ["--mask", mask, "--mask-label", "2", "--weights", trust]
    assert run("correct", scan, "-o", target, *options, *QUICK) == 0
    expected = n4ax.n4(
        image, labels == 2, weights=weights, iters=(3, 2), conv_threshold=0, voxel_order="F"
    )
    assert np.array_equal(read_voxels(target), expected)


def test_words_for_the_whole_image_are_one(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []
    for word in ("all", "none"):
        assert run("correct", scan, "-o", tmp_path / f"{word}.nii", "--mask", word, *QUICK) == 0
        assert "mask all (7,680 voxels)." in capsys.readouterr().out
        made.append(read_voxels(tmp_path / f"{word}.nii"))
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("shape", [(40, 36), (40, 36, 1), (24, 20, 16, 1), (12, 10, 8, 6)])
def test_two_to_four_dimensions_keep_their_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pytest.importorskip("matplotlib")
    long = tuple(n for n in shape if n > 1)
    scan = save(tmp_path / "scan.nii.gz", phantom(long).reshape(shape))
    figure = tmp_path / "figure.png"
    target = tmp_path / "out.nii.gz"
    series = ["--series", "4d"] if len(long) == 4 else []
    options = [*series, *QUICK]
    assert run("correct", scan, "-o", target, "--mask", "none", "--figure", figure, *options) == 0
    assert nib.load(target).shape == nib.load(scan).shape
    assert figure.read_bytes().startswith(b"\x89PNG")
    expected = n4ax.n4(
        phantom(long).astype(np.float32),
        "all",
        iters=(3, 2),
        conv_threshold=0,
        voxel_order="F",
        series="4d" if series else None,
    )
    assert np.array_equal(read_voxels(target).reshape(long), expected)


def test_same_dtype_rounds_and_keeps_the_scaling(tmp_path: Path) -> None:
    made = nib.Nifti1Image(phantom(), AFFINE)
    made.header.set_slope_inter(0.5, 0)
    nib.save(made, tmp_path / "scan.nii.gz")
    target = tmp_path / "out.nii.gz"
    assert run("correct", tmp_path / "scan.nii.gz", "-o", target, "--dtype", "same", *QUICK) == 0
    exact = n4ax.n4(
        phantom().astype(np.float32) / 2, iters=(3, 2), conv_threshold=0, voxel_order="F"
    )
    result = nib.load(target)
    assert result.get_data_dtype() == np.int16
    assert np.abs(np.asarray(result.dataobj) - exact).max() <= 0.25 + 1e-4


def test_nonfinite_voxels_can_be_excluded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = phantom().astype(np.float32)
    image[12, 10, 8], image[12, 10, 9] = np.nan, np.inf
    scan = save(tmp_path / "scan.nii.gz", image)
    message = expect_error(capsys, "correct", scan, "--mask", "none", *QUICK)
    assert "2 NaN or infinite" in message
    assert "--nonfinite exclude" in message
    assert run("correct", scan, "--mask", "none", "--nonfinite", "exclude", "-q", *QUICK) == 0
    corrected = read_voxels(tmp_path / "scan_n4.nii.gz")
    assert np.isfinite(corrected).sum() == image.size - 2


def test_demo_writes_its_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert run("demo", "-o", tmp_path / "a" / "b") == 0
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["head_field.nii.gz", "head_n4.nii.gz", "head_n4.png"]
    assert "converged" in capsys.readouterr().out


def test_both_engines_write_the_same_image(scan: Path, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    written = []
    for engine in ("cpu", "xla"):
        output = tmp_path / f"{engine}.nii"
        assert run("correct", scan, "-o", output, "--engine", engine, "--iters", "4x3") == 0
        written.append(np.asarray(nib.load(output).dataobj))
    np.testing.assert_allclose(written[1], written[0], rtol=1e-5)
