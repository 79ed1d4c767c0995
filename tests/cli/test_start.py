"""``--init`` and ``--weights-from``: N4 that starts from a field, or works in stages."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import n4ax
from n4ax.images.multiotsu import find_thresholds
from n4ax.staged import STAGES
from tests.cli.program import QUICK, expect_error, phantom, read_voxels, run, save


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save(tmp_path / "scan.nii.gz", phantom())


@pytest.mark.parametrize("name", ["first.npz", "first.nii.gz", "first.nii"])
def test_a_second_run_goes_on_with_the_field_of_the_first(scan: Path, name: str) -> None:
    assert run("correct", scan, "--field", name, "-q", *QUICK) == 0
    words = ["--init", name, "--spline-distance", "20", "--field", "all.npz", "-o", "out.nii"]
    assert run("correct", scan, *words, "-q", *QUICK) == 0
    first = n4ax.fit(scan, iters=(3, 2), conv_threshold=0)
    second = n4ax.fit(scan, init=first.field, iters=(3, 2), conv_threshold=0, spline_distance=20)
    assert np.array_equal(read_voxels(Path("out.nii")), second.corrected.get_fdata(dtype="f4"))
    whole = n4ax.BiasField.load("all.npz").evaluate()
    assert np.array_equal(whole, second.field.evaluate())
    assert np.abs(whole - first.field.evaluate()).max() > 1e-3
    record = Path("out.json")
    assert run("correct", scan, *words, "--json", record, "-q", *QUICK) == 0
    assert f'"Init": "{name}"' in record.read_text()


def test_fields_to_start_from_are_checked(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("correct", scan, "--bias", "bias.nii", "-q", *QUICK) == 0
    assert "bias.nii" in expect_error(capsys, "correct", scan, "--init", "bias.nii")
    assert "'gone.npz'" in expect_error(capsys, "correct", scan, "--init", "gone.npz")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_thresholds_are_those_of_itk(count: int) -> None:
    rng = np.random.default_rng(count)
    for image in (phantom().astype(np.float32), rng.gamma(2, 50, (20, 20, 20)), phantom()):
        otsu = sitk.OtsuMultipleThresholdsImageFilter()
        otsu.SetNumberOfThresholds(count)
        otsu.SetNumberOfHistogramBins(128)
        labels = sitk.GetArrayFromImage(otsu.Execute(sitk.GetImageFromArray(image)))
        found = np.digitize(image, find_thresholds(image, count), right=True)
        assert np.array_equal(found, labels)


def test_too_few_intensities_for_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="in 3 of 128 histogram bins, which are too few for 5"):
        find_thresholds(np.repeat([1.0, 5.0, 9.0], 20), 4)


def test_stages_take_classes_of_what_is_corrected_so_far(scan: Path) -> None:
    mask = (phantom() > 100).astype(np.uint8)
    inside = save(Path("mask.nii"), mask)
    words = ["--weights-from", "multiotsu", "--mask", inside, "--field", "f.npz", "-q", *QUICK]
    assert run("correct", scan, *words) == 0
    image, field = phantom().astype(np.float32), None
    for classes in STAGES:
        flat = image if field is None else field.apply(image)
        labels = np.digitize(flat, find_thresholds(flat[mask > 0], 4), right=True)
        weights = (np.isin(labels, classes) & (mask > 0)).astype(np.float32)
        field = n4ax.fit(
            image, mask, weights=weights, init=field, iters=(3, 2), conv_threshold=0,
            voxel_order="F",
        ).field  # fmt: skip
    found = n4ax.BiasField.load("f.npz").evaluate()
    np.testing.assert_allclose(found, field.evaluate(), atol=1e-6)
    plain = n4ax.fit(image, mask, iters=(3, 2), conv_threshold=0, voxel_order="F").field
    assert np.abs(found - plain.evaluate()).max() > 1e-3


def test_weights_come_from_one_place(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--weights-from", "multiotsu"]
    message = expect_error(capsys, "correct", scan, "--weights", scan, *words)
    assert "--weights and --weights-from are both given" in message
    series = save(Path("bold.nii"), np.stack([phantom()] * 2, axis=-1))
    message = expect_error(capsys, "correct", series, "--series", "mean", *words)
    assert "--weights-from exclude each other" in message
