"""Reading and writing NIfTI: headers, scaling, types, and files that are not NIfTI."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from n4ax.images.nifti import (
    read_image,
    read_on_grid,
    read_space,
    read_voxel_sizes,
    read_voxels,
    replace_voxels,
    write_image,
)
from tests.itk.random_images import SPACINGS

AFFINE = np.array(
    [[-0.9, 0.1, 0.0, 40.0], [0.1, 0.9, 0.2, -30.0], [0.0, -0.2, 2.1, 7.0], [0, 0, 0, 1.0]]
)


def voxels(dtype: Any = np.int16) -> npt.NDArray[Any]:
    random = np.random.default_rng(0)
    return random.integers(0, 120, (7, 8, 9)).astype(dtype)


def image(dtype: Any = np.int16, kind: Any = nib.Nifti1Image) -> Any:
    made = kind(voxels(dtype), AFFINE)
    made.header.set_xyzt_units("mm", "sec")
    made.header["descrip"] = b"a scan"
    made.set_sform(AFFINE, code=4)
    made.set_qform(AFFINE, code=1)
    return made


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_written_images_are_read_back_by_us_and_by_nibabel(
    tmp_path: Path, name: str, kind: Any
) -> None:
    write_image(image(kind=kind), tmp_path / name)
    for read in (read_image(tmp_path / name), nib.load(tmp_path / name)):
        assert isinstance(read, kind)
        assert np.array_equal(np.asarray(read.dataobj), voxels())
        np.testing.assert_allclose(read.affine, AFFINE, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(image(), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_pairs_and_big_endian_files_are_read(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(voxels(), AFFINE), tmp_path / "a.img")
    big = nib.Nifti1Image(voxels(), AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(big, tmp_path / "b.nii.gz")
    for name in ("a.hdr", "b.nii.gz"):
        read = read_image(tmp_path / name)
        assert np.array_equal(read_voxels(read, tmp_path / name), voxels())


def test_file_named_gz_need_not_be_compressed(tmp_path: Path) -> None:
    nib.save(image(), tmp_path / "a.nii")
    (tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
    read = read_image(tmp_path / "a.nii.gz")
    assert np.array_equal(read_voxels(read, tmp_path / "a.nii.gz"), voxels())


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    made = image()
    made.header.set_slope_inter(0.25, -3)
    nib.save(made, tmp_path / "a.nii.gz")
    read = read_voxels(read_image(tmp_path / "a.nii.gz"), tmp_path / "a.nii.gz")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, voxels() * 0.25 - 3)


def test_header_is_kept_and_scaling_reset(tmp_path: Path) -> None:
    made = image()
    made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept"))
    made.header.set_slope_inter(0.5, 1)
    nib.save(made, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii")
    values = np.random.default_rng(1).normal(size=(7, 8, 9)).astype(np.float32)
    write_image(replace_voxels(read, values), tmp_path / "b.nii.gz")
    result = nib.load(tmp_path / "b.nii.gz")
    assert result.get_data_dtype() == np.float32
    assert np.array_equal(np.asarray(result.dataobj), values)
    assert (int(result.header["sform_code"]), int(result.header["qform_code"])) == (4, 1)
    assert result.header.get_xyzt_units() == ("mm", "sec")
    assert bytes(result.header["descrip"]).startswith(b"a scan")
    assert [extension.get_content() for extension in result.header.extensions] == [b"kept"]
    np.testing.assert_allclose(result.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "slope", "inter"), [(np.int16, 1, 0), (np.uint8, 0.5, 0), (np.int16, 0.25, -3)]
)
def test_same_type_rounds_and_clips_with_the_same_scaling(
    tmp_path: Path, dtype: Any, slope: float, inter: float
) -> None:
    made = image(dtype)
    made.header.set_slope_inter(slope, inter)
    nib.save(made, tmp_path / "a.nii.gz")
    read = read_image(tmp_path / "a.nii.gz")
    values = np.full((7, 8, 9), 10.26, np.float32)
    values[0] = 1e9
    values[1] = -1e9
    write_image(replace_voxels(read, values, "same"), tmp_path / "b.nii.gz")
    result = nib.load(tmp_path / "b.nii.gz")
    assert result.get_data_dtype() == dtype
    info = np.iinfo(dtype)
    found = np.asarray(result.dataobj, np.float64)
    np.testing.assert_allclose(found[2:], np.rint((10.26 - inter) / slope) * slope + inter)
    np.testing.assert_allclose(found[0], info.max * slope + inter)
    np.testing.assert_allclose(found[1], info.min * slope + inter)


def test_same_type_of_a_float64_image_is_float64(tmp_path: Path) -> None:
    nib.save(image(np.float64), tmp_path / "a.nii")
    result = replace_voxels(read_image(tmp_path / "a.nii"), voxels(np.float32), "same")
    assert result.get_data_dtype() == np.float64


def test_files_that_are_no_images_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"not an image at all"))
    (tmp_path / "text.nii").write_text("not an image at all")
    (tmp_path / "plain.nii.gz").write_text("not even gzip")
    scan = nib.MGHImage(voxels(np.float32), AFFINE).to_bytes()
    (tmp_path / "scan.mgz").write_bytes(gzip.compress(scan)[:-100])
    write_image(image(), tmp_path / "whole.nii.gz")
    whole = (tmp_path / "whole.nii.gz").read_bytes()
    (tmp_path / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.nii.gz", "text.nii", "plain.nii.gz", "scan.mgz", "half.nii.gz", "none.nii"):
        path = tmp_path / name
        with pytest.raises(ValueError, match=name) as caught:
            read_voxels(read_image(path), path)
        assert "\n" not in str(caught.value)


def test_truncated_plain_file_is_refused(tmp_path: Path) -> None:
    nib.save(image(), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(content[:600])
    with pytest.raises(ValueError, match=r"a\.nii"):
        read_voxels(read_image(tmp_path / "a.nii"), tmp_path / "a.nii")


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    nib.save(image(np.complex64), tmp_path / "a.nii")
    with pytest.raises(ValueError, match="complex64"):
        read_voxels(read_image(tmp_path / "a.nii"), tmp_path / "a.nii")


def test_other_shape_or_affine_names_both_files(tmp_path: Path) -> None:
    mask = tmp_path / "mask.nii"
    moved = AFFINE.copy()
    moved[2, 3] += 0.01
    nib.save(nib.Nifti1Image(voxels()[..., None], AFFINE + 5e-4), mask)
    assert np.array_equal(read_on_grid(mask, image(), Path("image.nii"))[0], voxels())
    for other in (nib.Nifti1Image(voxels()[:6], AFFINE), nib.Nifti1Image(voxels(), moved)):
        nib.save(other, mask)
        with pytest.raises(ValueError, match=r"mask\.nii") as caught:
            read_on_grid(mask, image(), Path("image.nii"))
        assert "image.nii" in str(caught.value)


def test_voxel_sizes_are_those_of_the_header() -> None:
    expected = np.sqrt((AFFINE[:3, :3] ** 2).sum(axis=0))
    np.testing.assert_allclose(read_voxel_sizes(image()), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("sform_code", "qform_code"),
    [(1, 1), (2, 0), (0, 1), (1, 0), (1, 2), (2, 1), (4, 1), (2, 2), (0, 0)],
)
def test_headers_are_read_as_itk_reads_them(
    tmp_path: Path, sform_code: int, qform_code: int
) -> None:
    path = tmp_path / "scan.nii"
    for seed in range(60):
        random = np.random.default_rng(seed)
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        affine: npt.NDArray[np.float64] = np.eye(4)
        affine[:3, :3] = turn * random.choice(SPACINGS, 3)
        affine[:3, 3] = random.normal(0, 90, 3)
        scan = nib.Nifti1Image(random.integers(-99, 999, (5, 6, 7)).astype(np.int16), affine)
        scan.header.set_sform(affine, sform_code)
        scan.header.set_qform(affine, qform_code)
        scan.header.set_slope_inter(0.0137 if seed % 2 else 1.0, 3.3 if seed % 2 else 0.0)
        nib.save(scan, path)
        ours, theirs = read_image(path), sitk.ReadImage(str(path))
        space = read_space(ours)
        assert space.spacing == theirs.GetSpacing()
        assert space.origin == theirs.GetOrigin()
        assert sum(space.direction, ()) == theirs.GetDirection()
        expected = sitk.GetArrayFromImage(sitk.Cast(theirs, sitk.sitkFloat32)).T
        np.testing.assert_array_equal(read_voxels(ours, path), expected)


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.nii.gz"
    write_image(image(), target)
    before = target.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("n4ax.images.plain.write_pieces", full)
    with pytest.raises(OSError, match="No space"):
        write_image(image(np.uint8), target)
    monkeypatch.undo()
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]
