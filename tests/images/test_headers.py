"""Headers that break the rules of NIfTI are read as ITK reads them, or refused by name."""

import gzip
import struct
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from n4ax.images.libraries import open_image
from n4ax.images.nifti import (
    read_image,
    read_space,
    read_voxels,
    replace_voxels,
    write_image,
)
from n4ax.images.volumes import take_volume
from n4ax.itk.space import Space
from tests.itk.random_images import SPACINGS
from tests.support.headers import SROW, write_raw

NAN, INF = float("nan"), float("inf")
RAMP: npt.NDArray[np.float32] = np.arange(1, 121, dtype=np.float32).reshape(4, 5, 6)


def place(path: Path) -> Space:
    """Where ITK places a file."""
    return open_image(sitk.ReadImage(str(path))).space  # type: ignore[return-value]


def values(path: Path) -> npt.NDArray[np.float32]:
    """The intensities that ITK reads from a file."""
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32)
    return sitk.GetArrayFromImage(image).T


def srow(row: int, column: int, value: float) -> list[list[float]]:
    """The usual sform with another value at one place."""
    rows = [list(line) for line in SROW]
    rows[row][column] = value
    return rows


def lengthened(excess: float) -> dict[str, Any]:
    """An oblique quaternion whose squared length is above 1, and no sform."""
    unit = np.sqrt([0.09, 0.87, 0.04])
    return {"quatern": unit * np.sqrt(1 + excess), "sform_code": 0}


ODD_PLACES = {
    **{f"quaternion {excess} above 1": lengthened(excess) for excess in (5e-7, 2e-6, 1e-3, 3.0)},
    "NaN in the quaternion": {"quatern": [0, NAN, 0], "sform_code": 0},
    "infinity in the quaternion": {"quatern": [0, INF, 0], "sform_code": 2},
    "NaN in the qform's offset": {"qoffset": [NAN, -66, -60], "sform_code": 0},
    "infinity in the qform's offset": {"qoffset": [INF, -66, -60], "sform_code": 2},
    "NaN in pixdim": {"pixdim": [-1, NAN, 3, 3.5, 1, 0, 0, 0]},
    "infinity in pixdim": {"pixdim": [-1, INF, 3, 3.5, 1, 0, 0, 0], "sform_code": 0},
    "NaN for the sign of z": {"pixdim": [NAN, 3, 3, 3.5, 1, 0, 0, 0], "sform_code": 0},
    "-5 for the sign of z": {"pixdim": [-5, 3, 3, 3.5, 1, 0, 0, 0], "sform_code": 0},
    "0 in pixdim": {"pixdim": [-1, 0, 3, 3.5, 1, 0, 0, 0]},
    "negative pixdim, qform": {"pixdim": [-1, -3, 3, 3.5, 1, 0, 0, 0], "sform_code": 0},
    "negative pixdim, sform": {"pixdim": [-1, 3, -3, 3.5, 1, 0, 0, 0], "qform_code": 0},
    "negative pixdim, no form": {
        "pixdim": [-1, 3, 3, -3.5, 1, 0, 0, 0],
        "qform_code": 0,
        "sform_code": 0,
    },
    "unknown codes": {"qform_code": 9, "sform_code": 9},
    "negative codes": {"qform_code": -1, "sform_code": -1},
    "infinity in the sform beside a qform": {"srow": srow(0, 3, INF)},
    "unknown units": {"xyzt_units": 255},
    "wrong bitpix": {"bitpix": 8},
    "wrong size of the header": {"sizeof_hdr": 0},
}


@pytest.mark.parametrize("name", ODD_PLACES)
def test_odd_place_is_read_as_itk_reads_it(tmp_path: Path, name: str) -> None:
    path = write_raw(tmp_path / "odd.nii", RAMP, **ODD_PLACES[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(path)
    assert read_space(image) == place(path)
    assert np.array_equal(read_voxels(image, path), values(path))


@pytest.mark.parametrize("name", ODD_PLACES)
def test_what_is_written_with_an_odd_header_can_be_read_by_all(tmp_path: Path, name: str) -> None:
    path = write_raw(tmp_path / "odd.nii", RAMP, **ODD_PLACES[name])
    image = read_image(path)
    write_image(replace_voxels(image, RAMP), tmp_path / "new.nii")
    new = nib.load(tmp_path / "new.nii")
    np.testing.assert_array_equal(np.asarray(new.dataobj), RAMP)  # type: ignore[attr-defined]
    assert np.isfinite(new.affine).all()  # type: ignore[attr-defined]
    ours, theirs = read_space(image), place(tmp_path / "new.nii")
    if "negative pixdim" not in name:
        assert ours.describe_difference(theirs, 1e-6) is None


@pytest.mark.parametrize("fields", [{"srow": srow(0, 0, NAN)}, {"srow": srow(0, 3, NAN)}])
def test_nan_in_the_sform_leaves_the_qform(tmp_path: Path, fields: dict[str, Any]) -> None:
    """ITK computes with NaN, so its reading of the qform alone is the reference."""
    alone = write_raw(tmp_path / "alone.nii", RAMP, sform_code=0)
    both = write_raw(tmp_path / "both.nii", RAMP, **fields)
    assert read_space(read_image(both)) == place(alone)


@pytest.mark.parametrize("value", [NAN, INF])
def test_sform_that_is_not_finite_is_refused_without_a_qform(tmp_path: Path, value: float) -> None:
    path = write_raw(tmp_path / "a.nii", RAMP, srow=srow(1, 1, value), qform_code=0)
    with pytest.raises(
        ValueError, match=r"a\.nii cannot be read as NIfTI: its header has an sform"
    ):
        read_image(path)
    with pytest.raises(RuntimeError):
        sitk.ReadImage(str(path))


@pytest.mark.parametrize("offset", [0, 1, 347, -352, NAN, INF])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_within_the_header_are_refused(tmp_path: Path, name: str, offset: float) -> None:
    path = write_raw(tmp_path / name, RAMP, vox_offset=offset)
    path.write_bytes(path.read_bytes() + bytes(8))  # so the end of the file says nothing either
    with pytest.raises(ValueError, match=r"a\.nii.* its header says .* vox_offset") as caught:
        read_image(path)
    assert "352" in str(caught.value)


@pytest.mark.parametrize("extension", [b"", bytes(4)])
@pytest.mark.parametrize("offset", [0, 100, NAN])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_are_found_if_they_are_the_rest_of_the_file(
    tmp_path: Path, name: str, offset: float, extension: bytes
) -> None:
    path = write_raw(tmp_path / name, RAMP, vox_offset=offset, extension=extension)
    assert np.array_equal(read_voxels(read_image(path), path), RAMP)


@pytest.mark.parametrize("offset", [348, 350, 352, 352.5, 368])
def test_other_offsets_are_taken_as_in_itk(tmp_path: Path, offset: float) -> None:
    path = write_raw(tmp_path / "a.nii", RAMP, vox_offset=offset)
    path.write_bytes(path.read_bytes() + bytes(16))
    assert np.array_equal(read_voxels(read_image(path), path), values(path), equal_nan=True)


@pytest.mark.parametrize("offset", [-16, NAN, INF])
def test_offsets_of_a_pair_are_checked(tmp_path: Path, offset: float) -> None:
    path = write_raw(tmp_path / "a.hdr", RAMP, vox_offset=offset)
    with pytest.raises(ValueError, match="vox_offset"):
        read_image(path)


def test_offset_of_a_pair_may_be_0(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.hdr", RAMP)
    assert np.array_equal(read_voxels(read_image(path), path), RAMP)


def test_nibabel_image_with_voxels_within_the_header_is_refused(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.nii", RAMP, vox_offset=0)
    with pytest.raises(ValueError, match=r"image comes from a file .* byte 0 \(vox_offset\)"):
        open_image(nib.load(path))


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize(
    ("slope", "inter"),
    [
        (0, 0),
        (0, 5),
        (NAN, 5),
        (INF, 0),
        (1, NAN),
        (2, INF),
        (1e-20, 0),
        (-2, 3),
        (1, 5.5),
        (0.0137, 3.3),
        (3e38, 0),
    ],
)
def test_scaling_is_that_of_itk(tmp_path: Path, dtype: str, slope: float, inter: float) -> None:
    random = np.random.default_rng(0)
    stored = random.normal(0, 1e3, (4, 5, 6)).astype(dtype)
    if stored.dtype.kind in "iu":
        limits = np.iinfo(stored.dtype)
        stored = random.integers(limits.min, limits.max, (4, 5, 6), stored.dtype)
    path = write_raw(tmp_path / "a.nii", stored, scl_slope=slope, scl_inter=inter)
    expected = values(path)
    assert np.array_equal(read_voxels(read_image(path), path), expected)
    if np.isfinite([slope, inter]).all() and abs(slope) > 1e-9:  # else nibabel has another reading
        opened = np.asarray(open_image(nib.load(path)).voxels)
        with np.errstate(over="ignore"):
            assert np.array_equal(opened.astype(np.float32), expected)


@pytest.mark.parametrize("lengths", [[3, 4, 5, 0], [4, 4, 5, 6, 0], [3, 12, 10, -1], [2, 12, 10]])
def test_axes_without_a_length_have_one_voxel(tmp_path: Path, lengths: list[int]) -> None:
    path = write_raw(tmp_path / "a.nii", RAMP, dim=[*lengths, *(0,) * (8 - len(lengths))])
    read, expected = read_voxels(read_image(path), path), values(path)
    assert np.array_equal(read.reshape(expected.shape), expected)


@pytest.mark.parametrize("lengths", [[0, 4, 5, 6], [8, 4, 5, 6], [3, 0, 5, 6], [3, -4, 5, 6]])
def test_headers_without_a_shape_are_refused(tmp_path: Path, lengths: list[int]) -> None:
    path = write_raw(tmp_path / "a.nii", RAMP, dim=[*lengths, *(1,) * (8 - len(lengths))])
    with pytest.raises(ValueError, match=r"a\.nii cannot be read as NIfTI: .* dimensions"):
        read_image(path)


@pytest.mark.parametrize(("code", "words"), [(1, "type 1"), (5, "type 5"), (-1, "type -1")])
def test_unknown_data_types_are_refused(tmp_path: Path, code: int, words: str) -> None:
    path = write_raw(tmp_path / "a.nii", RAMP, datatype=code)
    with pytest.raises(ValueError, match=words):
        read_image(path)


def test_colours_are_refused_in_words(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.nii", RAMP, datatype=128)
    with pytest.raises(ValueError, match="colours; expected real numbers"):
        read_voxels(read_image(path), path)


def test_bytes_after_the_compressed_image_do_not_count(tmp_path: Path) -> None:
    plain = write_raw(tmp_path / "a.nii", RAMP).read_bytes()
    path = tmp_path / "b.nii.gz"
    halves = gzip.compress(plain[:300]) + gzip.compress(plain[300:])
    for content in (halves, halves + b"not a part of it", halves + bytes(9)):
        path.write_bytes(content)
        assert np.array_equal(read_voxels(read_image(path), path), RAMP)
    path.write_bytes(halves[:-20])
    with pytest.raises(ValueError, match=r"b\.nii\.gz"):
        read_image(path)


@pytest.mark.parametrize("size", [-16, 0, 17, 1600])
def test_damaged_extensions_do_not_hide_the_image(tmp_path: Path, size: int) -> None:
    extension = b"\1\0\0\0" + struct.pack("<ii", size, 6) + b"12345678"
    path = write_raw(tmp_path / "a.nii", RAMP, extension=extension)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(path)
    assert np.array_equal(read_voxels(image, path), values(path))


def test_an_extension_takes_no_more_memory_than_it_has_bytes(tmp_path: Path) -> None:
    extension = b"\1\0\0\0" + struct.pack("<ii", 2**31 - 16, 6) + b"12345678"
    for name in ("a.nii", "a.hdr"):
        path = write_raw(tmp_path / name, RAMP, extension=extension)
        tracemalloc.start()
        try:
            read_image(path)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


def test_good_extensions_are_kept(tmp_path: Path) -> None:
    extension = b"\1\0\0\0" + struct.pack("<ii", 16, 6) + b"12345678"
    for name in ("a.nii", "a.hdr"):
        image = read_image(write_raw(tmp_path / name, RAMP, extension=extension))
        assert [one.get_content() for one in image.header.extensions] == [b"12345678"]


def test_time_of_a_series_begins_where_itk_says(tmp_path: Path) -> None:
    series = np.stack([RAMP, RAMP + 1], axis=-1)
    for units, start in ((10, 5), (18, 5), (26, 5), (10, NAN)):  # s, ms, µs
        path = write_raw(tmp_path / "a.nii", series, xyzt_units=units, toffset=start)
        assert read_space(read_image(path)) == place(path)


def test_voxels_of_any_size_give_no_warning(tmp_path: Path) -> None:
    path = write_raw(
        tmp_path / "a.nii",
        RAMP,
        pixdim=[1, 3e38, 3e38, 3e38, 1, 0, 0, 0],
        qform_code=0,
        sform_code=0,
    )
    assert read_space(read_image(path)).spacing == (np.float32(3e38),) * 3


def test_first_volume_of_a_series_lies_where_the_series_does(tmp_path: Path) -> None:
    series = np.stack([RAMP, RAMP + 1], axis=-1)
    path = write_raw(tmp_path / "a.nii", series, **lengthened(1e-3))
    volume = take_volume(read_image(path), 3, 0)
    assert volume.shape == RAMP.shape
    assert read_space(volume) == place(write_raw(tmp_path / "b.nii", RAMP, **lengthened(1e-3)))


def test_directions_have_the_bits_of_itk(tmp_path: Path) -> None:
    """The seeds include some where raising to the power of a half is not the square root."""
    for seed in range(300):
        random = np.random.default_rng(seed)
        affine: npt.NDArray[np.float64] = np.eye(4)
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        affine[:3, :3] = turn * random.choice([0.5, 0.7, 0.9375, 1, 1.2, 2, 3.3], 3)
        affine[:3, 3] = random.normal(0, 90, 3)
        image = nib.Nifti1Image(RAMP, affine)
        nib.save(image, tmp_path / "a.nii")
        expected = place(tmp_path / "a.nii")
        assert read_space(image) == expected
        assert Space.from_affine(affine, 3) == expected


def test_affine_of_a_slice_is_placed_as_its_file(tmp_path: Path) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        affine: npt.NDArray[np.float64] = np.eye(4)
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        affine[:3, :3] = turn * random.choice(SPACINGS, 3)
        nib.save(nib.Nifti1Image(RAMP[..., :1], affine), tmp_path / "a.nii")
        assert Space.from_affine(affine, 3) == place(tmp_path / "a.nii")


def test_image_without_an_affine_has_no_place() -> None:
    opened = open_image(nib.Nifti1Image(RAMP, None))
    assert opened.space is None
    assert opened.affine is None
    assert opened.order == "F"
    image = nib.Nifti1Image(RAMP, None)
    image.header.set_zooms((2, 2, 3))
    assert open_image(image).space == Space.from_spacing((2, 2, 3))
