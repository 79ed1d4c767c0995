"""Image files that share one field."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.inputs import Run
from n4ax.mask_files import MaskChoice
from n4ax.scan import read_scan
from n4ax.settings import N4Settings
from n4ax.shared_scans import correct_scans

SETTINGS = N4Settings(iters=(3, 2), shrink_factor=2, voxel_order="F")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two contrasts, the mask of one of them, weights, and images that do not fit."""
    head: Any = nib.load(Path(n4ax.__file__).parent / "data" / "head.nii.gz")
    head = head.slicer[30:70, 30:70, 30:60]
    voxels: npt.NDArray[np.float32] = head.get_fdata(dtype=np.float32)
    moved = head.affine + np.diag([0, 0, 0.5, 0])
    images = {
        "one": (voxels, head.affine),
        "two": (900 - voxels.clip(0, 800), head.affine),
        "mask": ((voxels > 60).astype(np.uint8), head.affine),
        "weights": (np.where(voxels > 200, 0.5, 1).astype(np.float32), head.affine),
        "cut": (voxels[1:], head.affine),
        "moved": (voxels, moved),
        "series": (np.stack([voxels, voxels], axis=-1), head.affine),
    }
    for name, (values, affine) in images.items():
        nib.save(nib.Nifti1Image(values, affine), tmp_path / f"{name}.nii.gz")
    return {name: tmp_path / f"{name}.nii.gz" for name in images}


def test_each_file_has_its_mask_and_its_weights(files: dict[str, Path]) -> None:
    pair = [files["one"], files["two"]]
    scans = [read_scan(path) for path in pair]
    masks = [MaskChoice(str(files["mask"])), MaskChoice("all")]
    weights = [None, files["weights"]]
    run = Run("cpu", num_threads=1)
    done = correct_scans(SETTINGS, scans, masks, weights=weights, run=run)
    expected = n4ax.fit(
        pair, [files["mask"], "all"], weights=weights, shared_field=True, settings=SETTINGS
    )
    for scan, one, result in zip(scans, done, expected, strict=True):
        assert one.scan is scan
        assert np.array_equal(one.corrected, result.corrected.get_fdata(dtype=np.float32))
        assert np.array_equal(one.log_bias, done[0].log_bias)
        assert one.results[0].iterations == result.iterations
    assert [int(one.mask.sum()) for one in done] == [
        int(nib.load(files["mask"]).get_fdata().sum()), scans[1].voxels.size
    ]  # fmt: skip
    without = correct_scans(SETTINGS, scans, masks)
    assert not np.array_equal(without[0].log_bias, done[0].log_bias)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("cut", "{cut} has shape (39, 40, 30) and {one} has shape (40, 40, 30)"),
        ("moved", "{moved} and {one} do not occupy the same physical space"),
        ("series", "{series} is a series of 2 volumes, and shared_field is for single volumes"),
        ("mask", "{mask}: image has no voxel above its Otsu threshold"),
    ],
)
def test_errors_name_the_files(files: dict[str, Path], other: str, words: str) -> None:
    scans = [read_scan(files[name]) for name in ("one", other)]
    if other == "mask":
        scans[1].voxels[:] = 3
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        correct_scans(SETTINGS, scans, [MaskChoice(), MaskChoice()])
    assert words.format(**files) in str(caught.value)
