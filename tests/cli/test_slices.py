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
