"""``--slicewise``: a field for each slice."""

from pathlib import Path

import numpy as np
import pytest

import n4ax
from tests.cli.program import QUICK, expect_error, phantom, read_voxels, run, save


def test_each_slice_has_the_field_of_its_own(tmp_path: Path) -> None:
    image = phantom().astype(np.float32)
    image[:, :, 5] *= 3
    scan = save(tmp_path / "scan.nii.gz", image)
    mask = (image > 200).astype(np.uint8)
    mask[:, :, 0] = 0
    inside = save(tmp_path / "mask.nii.gz", mask)
    bias, target = tmp_path / "bias.nii", tmp_path / "out.nii"
    words = ["correct", scan, "-o", target, "--bias", bias, "--mask", inside, "--slicewise", "-q"]
    assert run(*words, *QUICK, "--spline-distance", "25") == 0
    found, field = read_voxels(target), read_voxels(bias)
    assert np.array_equal(found[:, :, 0], image[:, :, 0])
    assert (field[:, :, 0] == 1).all()
    for k in np.nonzero(mask.any(axis=(0, 1)))[0]:
        expected = n4ax.n4(
            np.ascontiguousarray(image[:, :, k]), mask[:, :, k], iters=(3, 2), conv_threshold=0,
            voxel_order="F", spline_distance=25, spacing=(2, 2),
        )  # fmt: skip
        np.testing.assert_allclose(found[:, :, k], expected, rtol=2e-6)


def test_slices_cannot_have_one_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = save(tmp_path / "scan.nii.gz", phantom())
    message = expect_error(capsys, "correct", scan, "--slicewise", "--field", "f.npz")
    assert "--field writes one field, but there is one for each volume or slice" in message
    message = expect_error(capsys, "correct", scan, "--slicewise", "--series", "each")
    assert "--shared-field and --weights-from exclude each other" in message


def test_slices_without_a_voxel_to_use_stay_as_they_are(tmp_path: Path) -> None:
    image = phantom().astype(np.float32)
    image[:, :, 3] = np.nan
    scan = save(tmp_path / "scan.nii", image[..., None])  # an axis of length 1 changes nothing
    weights = np.ones(image.shape, np.float32)
    weights[:, :, 5] = 0
    mask = np.ones(image.shape, np.uint8)
    words = ["--mask", save(tmp_path / "mask.nii", mask), "--nonfinite", "exclude"]
    words += ["--weights", save(tmp_path / "weights.nii", weights), "-o", tmp_path / "out.nii"]
    assert run("correct", scan, "--slicewise", "-q", *words, *QUICK) == 0
    found = read_voxels(tmp_path / "out.nii")
    assert found.shape == (*image.shape, 1)
    changed = [not np.array_equal(found[:, :, k, 0], image[:, :, k]) for k in (4, 5, 6)]
    assert changed == [True, False, True]
    assert np.isnan(found[:, :, 3]).all()
