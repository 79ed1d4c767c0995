"""Plain files: read and written without nibabel, as with it."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from n4ax.images import gzip, plain
from n4ax.images.nifti import read_image, read_space, read_voxels, replace_voxels, write_image
from tests.images.test_headers import ODD_PLACES, RAMP
from tests.support.headers import write_raw

AFFINE = np.array(
    [[-0.9, 0.1, 0.0, 40.0], [0.1, 0.9, 0.2, -30.0], [0.0, -0.2, 2.1, 7.0], [0, 0, 0, 1.0]]
)
TYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def read(path: Path) -> plain.PlainFile | None:
    return plain.read_file(path, lambda: gzip.read_file(path))


def check_like_nibabel(path: Path, name: str = "new.nii") -> None:
    """Check that a file is read as by way of nibabel, and that the same bytes are written."""
    image, file = read_image(path), read(path)
    assert file is not None
    expected = read_voxels(image, path)
    assert file.voxels.dtype == expected.dtype
    assert file.voxels.flags.f_contiguous
    assert file.voxels.flags.writeable
    np.testing.assert_array_equal(file.voxels, expected)
    assert file.space == read_space(image)
    values = np.random.default_rng(0).normal(size=expected.shape).astype(np.float32)
    plain.write_file(file.header, values, path.with_name(f"ours-{name}"), 2)
    write_image(replace_voxels(image, values), path.with_name(f"theirs-{name}"))
    ours, theirs = (path.with_name(f"{who}-{name}").read_bytes() for who in ("ours", "theirs"))
    assert ours == theirs
    assert np.array_equal(np.asarray(nib.load(path.with_name(f"ours-{name}")).dataobj), values)


def save(
    path: Path, voxels: npt.NDArray[Any], kind: Any = nib.Nifti1Image, order: str = "<"
) -> Any:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(voxels.dtype)
    made = kind(voxels, AFFINE, header)
    made.header.set_xyzt_units("mm", "sec")
    made.header["descrip"], made.header["aux_file"] = b"a scan", b"colours"
    made.header["cal_max"], made.header["intent_code"] = 9, 5
    made.set_sform(AFFINE, code=4)
    made.set_qform(AFFINE, code=1)
    nib.save(made, path)
    return made


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_types_orders_and_versions(tmp_path: Path, dtype: str, order: str, kind: Any) -> None:
    voxels = np.random.default_rng(0).integers(0, 120, (7, 8, 9)).astype(dtype)
    save(tmp_path / "a.nii", voxels, kind, order)
    check_like_nibabel(tmp_path / "a.nii")
    save(tmp_path / "a.nii.gz", voxels, kind, order)
    check_like_nibabel(tmp_path / "a.nii.gz", "new.nii.gz")


@pytest.mark.parametrize("shape", [(7,), (7, 8), (7, 8, 1), (7, 8, 9, 2), (3, 4, 5, 1, 2)])
def test_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save(tmp_path / "a.nii", np.arange(np.prod(shape)).reshape(shape).astype(np.int16))
    check_like_nibabel(tmp_path / "a.nii")


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize(("slope", "inter"), [(0.0137, 3.3), (-2, 0), (0, 0), (0, 5), (1e30, 1e38)])
def test_scaling(tmp_path: Path, dtype: str, slope: float, inter: float) -> None:
    voxels = (1 + RAMP * (2**24 if dtype == "i4" else 1)).astype(dtype)
    path = write_raw(tmp_path / "a.nii", voxels, scl_slope=slope, scl_inter=inter)
    check_like_nibabel(path)


@pytest.mark.parametrize("name", ODD_PLACES)
def test_odd_headers(tmp_path: Path, name: str) -> None:
    check_like_nibabel(write_raw(tmp_path / "odd.nii", RAMP, **ODD_PLACES[name]))


def test_file_named_gz_need_not_be_compressed(tmp_path: Path) -> None:
    save(tmp_path / "a.nii", RAMP)
    check_like_nibabel((tmp_path / "a.nii").rename(tmp_path / "a.nii.gz"))


def test_what_is_not_plain_is_left_to_nibabel(tmp_path: Path) -> None:
    extended = save(tmp_path / "plain.nii", RAMP)
    extended.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept"))
    nib.save(extended, tmp_path / "extended.nii")
    nib.save(nib.Nifti1Image(RAMP.astype(np.complex64), AFFINE), tmp_path / "complex.nii")
    nib.save(nib.Nifti1Pair(RAMP, AFFINE), tmp_path / "pair.img")
    nib.save(nib.MGHImage(RAMP, AFFINE), tmp_path / "other.mgz")
    nib.save(nib.Spm99AnalyzeImage(RAMP, AFFINE), tmp_path / "analyze.img")
    (tmp_path / "analyze.hdr").rename(tmp_path / "analyze.nii")
    content = (tmp_path / "plain.nii").read_bytes()
    (tmp_path / "truncated.nii").write_bytes(content[:-4])
    (tmp_path / "damaged.nii.gz").write_bytes(b"".join(gzip.compress([content], 1))[:-9])
    (tmp_path / "empty.nii").write_bytes(b"")
    (tmp_path / "pointer.nii").write_text("/annex/objects/MD5E-s1--0.nii\n" * 20)
    assert read(tmp_path / "plain.nii") is not None
    names = "extended.nii complex.nii pair.img other.mgz analyze.nii truncated.nii damaged.nii.gz"
    for name in (*names.split(), "empty.nii", "pointer.nii", "missing.nii"):
        assert read(tmp_path / name) is None, name
