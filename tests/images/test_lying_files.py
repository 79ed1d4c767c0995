"""Files whose headers lie, and damaged files: one line says what is wrong, and no more happens."""

import gzip as python_gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.errors import InputError
from n4ax.images import gzip, nifti, peek, zstd
from n4ax.images.lengths import measure_mgh, measure_nifti
from tests.images.needs import need

VOXELS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def make_nifti(kind: Any = nib.Nifti1Image, **fields: Any) -> bytes:
    """The content of a file, in which some fields of the header have other values."""
    image = kind(VOXELS, np.eye(4))
    content: bytes = image.to_bytes()
    header = kind.header_class(content[: kind.header_class.sizeof_hdr], check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + content[kind.header_class.sizeof_hdr :]


def read(path: Path) -> Any:
    return nifti.read_voxels(nifti.read_image(path), path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nii.zst"])
def test_header_that_asks_for_more_than_the_file_has_takes_no_memory(
    tmp_path: Path, suffix: str
) -> None:
    need(suffix)
    content = make_nifti(dim=[3, 32767, 32767, 9, 1, 1, 1, 1])
    packed: dict[str, Callable[[bytes], bytes]] = {
        ".nii": bytes,
        ".nii.gz": python_gzip.compress,
        ".nii.zst": lambda given: b"".join(zstd.compress([given])),
    }
    path = tmp_path / f"a{suffix}"
    path.write_bytes(packed[suffix](content))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"a\.nii.*may have been cut off"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_file_of_freesurfer_that_asks_for_more_than_it_has_is_refused(tmp_path: Path) -> None:
    content = bytearray(nib.MGHImage(VOXELS, np.eye(4)).to_bytes())
    content[4:8] = (2**30).to_bytes(4, "big")
    (tmp_path / "a.mgh").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mgh cannot be read: .*cut off") as caught:
        read(tmp_path / "a.mgh")
    assert "\n" not in str(caught.value)


def test_what_follows_the_voxels_is_not_decompressed() -> None:
    need(".nii.zst")
    content = make_nifti()
    bomb = bytes(50_000_000)
    assert len(gzip.decompress(python_gzip.compress(content + bomb, 1), measure_nifti)) < 2e6
    packed = b"".join(zstd.compress([content + bomb]))
    assert len(zstd.decompress(packed, measure_nifti)) < 2e6
    surfer = nib.MGHImage(VOXELS, np.eye(4)).to_bytes()
    assert len(gzip.decompress(python_gzip.compress(surfer + bomb, 1), measure_mgh)) < 2e6


def test_members_may_be_shorter_than_the_header(tmp_path: Path) -> None:
    need(".nii.zst")
    content = make_nifti()
    pieces = [content[start : start + 100] for start in range(0, len(content), 100)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(map(python_gzip.compress, [b"", *pieces])))
    (tmp_path / "a.nii.zst").write_bytes(b"".join(b"".join(zstd.compress([p])) for p in pieces))
    for name in ("a.nii.gz", "a.nii.zst"):
        assert np.array_equal(read(tmp_path / name), VOXELS)


@pytest.mark.parametrize(
    "fields",
    [
        {"srow_x": [1e300, 0, 0, 0], "sform_code": 1, "qform_code": 1},
        {"quatern_b": 1e300, "qform_code": 1},
        {"pixdim": [1, 1e308, 1e308, 1, 1, 1, 1, 1], "qform_code": 1},
        {"pixdim": [1, 1e308, 1, 1, 1, 1, 1, 1], "xyzt_units": 1, "sform_code": 0},
        {"vox_offset": 2**62},
        {"eol_check": [1, 2, 3, 4]},
        {"magic": b"n+2\x80"},
    ],
)
def test_numbers_on_the_edge_give_no_warning_and_print_nothing(
    tmp_path: Path, fields: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(make_nifti(nib.Nifti2Image, **fields))
    refused = None
    try:
        read(path)
    except ValueError as error:
        refused = str(error)
    assert refused is None or str(path) in refused
    assert capfd.readouterr() == ("", "")


def test_extension_of_an_odd_size_gives_no_warning(tmp_path: Path) -> None:
    content = make_nifti(vox_offset=352 + 15)
    extension = struct.pack("<2i", 15, 6) + b"comment"
    (tmp_path / "a.nii").write_bytes(content[:348] + b"\1\0\0\0" + extension + content[352:])
    assert peek.read_shape(tmp_path / "a.nii") == VOXELS.shape
    assert np.array_equal(read(tmp_path / "a.nii"), VOXELS)


def test_what_nibabel_finds_wrong_is_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.hdr").write_bytes((348).to_bytes(4, "little") + bytes(344))
    (tmp_path / "a.img").write_bytes(bytes(10))
    with pytest.raises(ValueError, match=r"a\.hdr"):
        read(tmp_path / "a.hdr")
    assert capfd.readouterr() == ("", "")


def test_reason_of_itk_has_no_address_in_memory(tmp_path: Path) -> None:
    need(".mnc")
    (tmp_path / "a.mnc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match=r"a\.mnc cannot be read") as caught:
        read(tmp_path / "a.mnc")
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("axes", ["2147483647", "-1", "x", "11"])
def test_metaimage_with_impossible_axes_is_refused(tmp_path: Path, axes: str) -> None:
    need(".mha")
    head = f"ObjectType = Image\nNDims = {axes}\nDimSize = 4 2 3\nElementType = MET_USHORT\n"
    (tmp_path / "a.mha").write_bytes(head.encode() + b"ElementDataFile = LOCAL\n" + bytes(48))
    with pytest.raises(ValueError, match=r"a\.mha cannot be read: .*NDims"):
        read(tmp_path / "a.mha")


@pytest.mark.parametrize("place", [-20, -1])  # among the voxels, and in their sum
@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_damaged_voxels_of_metaimage_are_refused(tmp_path: Path, suffix: str, place: int) -> None:
    """ITK would give what its memory happened to hold."""
    need(suffix)
    path = tmp_path / f"a{suffix}"
    nifti.write_image(nib.Nifti1Image(VOXELS, np.eye(4)), path)
    assert np.array_equal(read(path), VOXELS)
    holder = path if suffix == ".mha" else next(tmp_path.glob("*.zraw"))
    content = bytearray(holder.read_bytes())
    content[place] ^= 0xFF
    holder.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\{suffix} cannot be read: its compressed voxels are"):
        read(path)


def test_key_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    need(".nrrd")
    head = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1 1 2\nencoding: raw\n\xff\xfe:=x\n\n"
    (tmp_path / "a.nrrd").write_bytes(head + b"\1\2")
    assert read(tmp_path / "a.nrrd").ravel().tolist() == [1, 2]


def test_truncated_file_is_named_in_python(tmp_path: Path) -> None:
    path = tmp_path / "short.nii"
    path.write_bytes(make_nifti()[:-5])
    with pytest.raises(InputError, match=r"image .*short\.nii cannot be read: .*cut off"):
        n4ax.n4(path)


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        ((0x28, 0x10), (20_000).to_bytes(2, "little"), "may have been cut off"),
        ((0x20, 0x32), b"1,5\\1,5 ", "expected 3 numbers"),
        ((0x20, 0x37), b"1\\0\\0\\1 ", "expected 6 numbers"),
    ],
)
def test_slice_of_dicom_that_lies_is_named(
    tmp_path: Path, tag: tuple[int, int], value: bytes, words: str
) -> None:
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("SimpleITK")
    from reliability.fuzz.targets.dicom import make_slice, replace_element

    for number in range(2):
        content = replace_element(make_slice(number), pydicom.tag.Tag(tag), value)
        (tmp_path / f"{number}.dcm").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        nifti.read_image(tmp_path)
    assert ".dcm" in str(caught.value)
