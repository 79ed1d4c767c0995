"""Every format against the library that owns it: what n4ax writes, and what the library writes."""

import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from nibabel.affines import apply_affine

from n4ax.images import names, nifti
from n4ax.images.names import DICOM, FREESURFER, ITK, NRRD, PAIRS, READ, WRITTEN, find_files
from n4ax.images.writing import write_images
from tests.images.needs import need
from tests.support.limits import limit_files

TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
"""A rotation by exact numbers, away from all axes."""

SHAPES = {"3-D": (5, 6, 7), "2-D": (5, 6), "4-D": (5, 6, 7, 3), "left-handed": (5, 6, 7)}


def find_cases(suffixes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Every format with every kind of image, but series of MINC, which ITK cannot write."""
    return [
        (suffix, kind)
        for suffix in suffixes
        for kind in SHAPES
        if suffix not in DICOM and (suffix, kind) != (".mnc", "4-D")
    ]


def make_place(kind: str) -> npt.NDArray[np.float64]:
    """Voxels to mm of a turned grid with oblong voxels; in a plane for 2-D."""
    affine = np.eye(4)
    affine[:3, :3] = TURN * (2.0, 0.75, 3.5)
    affine[:3, 3] = -30.25, 17.5, 8.125
    if kind == "2-D":
        affine[:3, :3] = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]) * (2.0, 0.75, 1.0)
        affine[2, 3] = 0
    if kind == "left-handed":
        affine[:3, 0] *= -1
    return affine


def make_voxels(kind: str, dtype: Any) -> npt.NDArray[Any]:
    values = np.random.default_rng(7).integers(1, 120, SHAPES[kind])
    return (values + (0.25 if np.dtype(dtype).kind == "f" else 0)).astype(dtype)


def make_image(kind: str, dtype: Any = np.float32) -> nib.Nifti1Image:
    image = nib.Nifti1Image(make_voxels(kind, dtype), make_place(kind))
    image.header.set_xyzt_units("mm", "sec")
    if kind == "4-D":
        image.header["pixdim"][4] = 2.5
    return image


def find_corners(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    ends = [(0, n - 1) for n in (*shape, 1, 1)[:3]]
    return np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)


def read_by_itk(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], float | None]:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image).T
    n = image.GetDimension()
    corners = np.pad(find_corners(voxels.shape), ((0, 0), (0, 1)))[:, :n]
    points = np.array([image.TransformIndexToPhysicalPoint(c) for c in corners.tolist()])
    points = np.pad(points, ((0, 0), (0, 3)))[:, :3] * (-1, -1, 1)
    return voxels, points, image.GetSpacing()[3] if n > 3 else None


def read_by_nibabel(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], float | None]:
    image: Any = nib.load(path)
    step = None
    if image.ndim > 3:
        step = float(image.header.get_zooms()[3])
        step = step / 1000 if isinstance(image, nib.MGHImage) else step
    voxels = np.asarray(image.dataobj).copy()
    image.uncache()
    return voxels, apply_affine(image.affine, find_corners(image.shape)), step


def read_by_owner(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], float | None]:
    """Voxels, the points of all corners in mm (RAS), and the seconds between volumes."""
    owned_by_itk = path.name.lower().endswith(ITK)
    return read_by_itk(path) if owned_by_itk else read_by_nibabel(path)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nibabel leaves .mgh open
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize(("suffix", "kind"), find_cases(WRITTEN))
def test_the_owner_of_a_format_reads_what_is_written(
    suffix: str, kind: str, dtype: Any, tmp_path: Path
) -> None:
    need(suffix)
    image, path = make_image(kind, dtype), tmp_path / f"a head{suffix}"
    nifti.write_image(nifti.replace_voxels(image, np.asarray(image.dataobj), "same"), path)
    assert sorted(tmp_path.iterdir()) == sorted(find_files(path))
    voxels, points, step = read_by_owner(path)
    assert voxels.dtype.newbyteorder("=") == dtype
    assert np.array_equal(voxels.reshape(image.shape), np.asarray(image.dataobj))
    expected = apply_affine(image.affine, find_corners(image.shape))
    np.testing.assert_allclose(points, expected, atol=1e-4)
    assert step == (2.5 if kind == "4-D" else None)


def write_by_owner(path: Path, image: nib.Nifti1Image) -> None:
    if path.name.lower().endswith(ITK):
        sitk = pytest.importorskip("SimpleITK")
        voxels, lps = np.asarray(image.dataobj), np.diag([-1.0, -1, 1, 1]) @ image.affine
        n, spatial = voxels.ndim, min(voxels.ndim, 3)
        made = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T), isVector=False)
        sizes = np.linalg.norm(lps[:3, :3], axis=0)
        direction = np.eye(n)
        direction[:spatial, :spatial] = (lps[:3, :3] / sizes)[:spatial, :spatial]
        made.SetSpacing([*sizes[:spatial].tolist(), *[2.5] * (n - spatial)])
        made.SetOrigin([*lps[:spatial, 3].tolist(), *[0.0] * (n - spatial)])
        made.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(made, str(path))
    elif path.name.endswith(FREESURFER):
        made = nib.MGHImage(np.asarray(image.dataobj), image.affine)
        if image.ndim > 3:
            made.header["tr"] = 2500
        made.to_filename(path)
    elif path.name.endswith(PAIRS):
        header = image.header
        nib.Nifti1Pair(np.asarray(image.dataobj), image.affine, header).to_filename(path)
    else:
        image.to_filename(path)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize(("suffix", "kind"), find_cases(READ))
def test_what_the_owner_of_a_format_writes_is_read(
    suffix: str, kind: str, dtype: Any, tmp_path: Path
) -> None:
    need(suffix)
    image, path = make_image(kind, dtype), tmp_path / f"a head{suffix}"
    write_by_owner(path, image)
    read = nifti.read_image(path)
    assert read.get_data_dtype().newbyteorder("=") == dtype
    voxels = nifti.read_voxels(read, path)
    assert np.array_equal(voxels.reshape(image.shape), np.asarray(image.dataobj))
    corners = find_corners(image.shape)
    expected = apply_affine(image.affine, corners)
    np.testing.assert_allclose(apply_affine(read.affine, corners), expected, atol=1e-4)
    space = nifti.read_space(read)  # what ITK's numbers are computed with
    spatial = min(read.ndim, 3)
    matrix = np.array(space.direction)[:spatial, :spatial] * space.spacing[:spatial]
    points = corners[:, :spatial] @ matrix.T + space.origin[:spatial]
    signs = np.array((-1.0, -1.0, 1.0))[:spatial]
    np.testing.assert_allclose(points * signs, expected[:, :spatial], atol=1e-4)
    if kind == "4-D":
        assert nifti.read_voxel_sizes(read)[3] == 2.5


@pytest.mark.parametrize("suffix", WRITTEN)
def test_names_in_capital_letters(suffix: str, tmp_path: Path) -> None:
    need(suffix)
    image, path = make_image("3-D"), tmp_path / f"HEAD{suffix.upper()}"
    nifti.write_image(nifti.replace_voxels(image, np.asarray(image.dataobj)), path)
    files = find_files(path)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.name.isupper() for file in files)
    read = nifti.read_image(path)
    assert np.array_equal(nifti.read_voxels(read, path), np.asarray(image.dataobj))
    np.testing.assert_allclose(read.affine, image.affine, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a.img", "a.img a.hdr"), ("a.hdr", "a.img a.hdr"), ("A.HDR", "A.IMG A.HDR"),
        ("a.b.mhd", "a.b.mhd a.b.zraw"), ("A.NHDR", "A.NHDR A.RAW.GZ"),
        ("a.nhdr", "a.nhdr a.raw.gz"), ("a.mha", "a.mha"), ("a.nii.zst", "a.nii.zst"),
        ("a.Img", "a.Img a.hdr"), ("a.png", "a.png"),
    ],
)  # fmt: skip
def test_the_files_of_an_image(name: str, files: str) -> None:
    assert find_files(Path("folder", name)) == [Path("folder", one) for one in files.split()]


def test_results_are_packed_and_in_one_file() -> None:
    named = {suffix: names.name_result(Path(f"a{suffix}"), "_n4").name[4:] for suffix in READ}
    kept = {".nii.gz", ".nii.zst", *FREESURFER, ".nrrd", ".mha", ".mnc"}
    assert named == {suffix: suffix if suffix in kept else ".nii.gz" for suffix in READ}
    assert names.find_stem(Path("HEAD.NII.ZST")) == "HEAD"
    assert set(WRITTEN) == set(READ) - set(DICOM)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("name", ["a.img", "a.hdr"])
def test_pairs_keep_the_whole_header(name: str, second: bool, tmp_path: Path) -> None:
    made = (nib.Nifti2Image if second else nib.Nifti1Image)(
        make_voxels("3-D", np.int16), make_place("3-D")
    )
    made.header["descrip"] = b"as it was"
    made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a note"))
    made.header.set_slope_inter(0.5, 3)
    made.to_filename(tmp_path / "b.nii")
    image = nifti.read_image(tmp_path / "b.nii")
    voxels = nifti.read_voxels(image, tmp_path / "b.nii")
    nifti.write_image(nifti.replace_voxels(image, voxels, "same"), tmp_path / name)
    pair: Any = nib.load(tmp_path / name)
    assert type(pair) is (nib.Nifti2Pair if second else nib.Nifti1Pair)
    header = (tmp_path / "a.hdr").read_bytes()
    assert header[4:8] == b"ni2\0" if second else header[344:348] == b"ni1\0"
    assert not any(header[168:176] if second else header[108:112])  # where the voxels begin
    assert pair.header["descrip"] == b"as it was"
    assert [one.get_content() for one in pair.header.extensions] == [b"a note"]
    assert np.array_equal(np.asarray(pair.dataobj), voxels)
    assert np.array_equal(pair.affine, image.affine)
    assert (tmp_path / "a.img").stat().st_size == 2 * voxels.size
    again = nifti.read_image(tmp_path / name)
    assert np.array_equal(nifti.read_voxels(again, tmp_path / name), voxels)


@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
@pytest.mark.parametrize("kind", ["3-D", "4-D"])
def test_freesurfer_keeps_times_angle_and_tags(kind: str, suffix: str, tmp_path: Path) -> None:
    header = nib.MGHImage.header_class()
    values = {"tr": 2530.0, "flip_angle": 0.12, "te": 1.7, "ti": 1100.0, "fov": 256.0, "dof": 3}
    made: Any = nib.MGHImage(make_voxels(kind, np.int16), make_place(kind), header)
    for name, value in values.items():
        made.header[name] = value
    tags = b"\0\0\0\x03" + (8).to_bytes(8, "big") + b"mri_info"
    (tmp_path / "a.mgh").write_bytes(made.to_bytes() + tags)
    image = nifti.read_image(tmp_path / "a.mgh")
    for dtype in ("same", np.float32):
        target = tmp_path / f"b{suffix}"
        nifti.write_image(nifti.replace_voxels(image, np.asarray(image.dataobj), dtype), target)
        content = target.read_bytes()
        content = nifti.gzip.decompress(content) if suffix == ".mgz" else content
        again: Any = nib.MGHImage.from_bytes(content)
        assert content.endswith(tags)
        assert len(content) == 284 + again.dataobj.dtype.itemsize * image.dataobj.size + 20 + len(
            tags
        )
        for name, value in values.items():
            assert float(again.header[name]) == np.float32(value), name
        assert np.array_equal(again.affine, image.affine)  # to the last bit
        assert np.array_equal(again.dataobj, image.dataobj)
    nifti.write_image(nifti.replace_voxels(image, np.asarray(image.dataobj)), tmp_path / "c.nii")
    assert nib.load(tmp_path / "c.nii").shape == image.shape


@pytest.mark.parametrize("suffix", WRITTEN)
def test_one_volume_with_an_axis_for_time(suffix: str, tmp_path: Path) -> None:
    need(suffix)
    if suffix == ".mnc":
        return
    image = nib.Nifti1Image(make_voxels("3-D", np.float32)[..., None], make_place("3-D"))
    nifti.write_image(image, tmp_path / f"a{suffix}")
    again = nifti.read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(np.asarray(again.dataobj).reshape(image.shape), image.dataobj)


@pytest.mark.parametrize("target", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("source", [".nrrd", ".mha"])
def test_what_itk_says_in_text_is_kept_in_the_same_format(
    source: str, target: str, tmp_path: Path
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    made = sitk.GetImageFromArray(make_voxels("3-D", np.int16).T)
    made.SetMetaData("Scanner", "of the 3rd floor")
    made.SetMetaData("NRRD_content", "a head")
    sitk.WriteImage(made, str(tmp_path / f"a{source}"))
    image = nifti.read_image(tmp_path / f"a{source}")
    voxels = np.asarray(image.dataobj)
    nifti.write_image(nifti.replace_voxels(image, voxels), tmp_path / f"b{target}")
    again = sitk.ReadImage(str(tmp_path / f"b{target}"))
    same = (source in NRRD) == (target in NRRD)
    assert again.HasMetaDataKey("Scanner") == same
    if same:
        assert again.GetMetaData("Scanner") == "of the 3rd floor"
        assert again.GetMetaData("NRRD_content") == "a head"
    assert again.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(again).T, voxels)


@pytest.mark.parametrize("suffix", [".img", ".mhd", ".nhdr"])
def test_files_of_an_image_are_written_together(suffix: str, tmp_path: Path) -> None:
    need(suffix)
    image = make_image("3-D")
    path = tmp_path / f"a{suffix}"
    first, second = find_files(path)
    for file in (first, second, tmp_path / "note.txt"):
        file.write_text("old")
    (tmp_path / "b.nii").mkdir()
    with pytest.raises(OSError, match=r"b\.nii"):
        write_images({path: image, tmp_path / "b.nii": image}, 1, {tmp_path / "note.txt": b"new"})
    assert {file.read_text() for file in (first, second, tmp_path / "note.txt")} == {"old"}
    assert len(list(tmp_path.iterdir())) == 4
    others = {tmp_path / "note.txt": b"new", tmp_path / "d.txt": lambda to: to.write_text("other")}
    write_images({path: image, tmp_path / "c.nii": image}, 1, others)
    assert len(list(tmp_path.iterdir())) == 6
    assert (tmp_path / "note.txt").read_text() == "new"
    assert (tmp_path / "d.txt").read_text() == "other"
    for written in (path, tmp_path / "c.nii"):
        assert np.array_equal(nifti.read_image(written).dataobj, np.asarray(image.dataobj))
    with pytest.raises(ValueError, match="part of two outputs"):
        write_images(dict.fromkeys([tmp_path / "d.hdr", tmp_path / "d.img"], image))


@pytest.mark.parametrize("suffix", [one for one in WRITTEN if one != ".mnc"])
def test_bytes_are_the_same_every_time(suffix: str, tmp_path: Path) -> None:
    need(suffix)
    for folder, threads in (("a", 1), ("b", 3)):
        (tmp_path / folder).mkdir()
        nifti.write_image(make_image("3-D"), tmp_path / folder / f"head{suffix}", threads)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_minc_has_no_series(tmp_path: Path) -> None:
    need(".mnc")
    with pytest.raises(ValueError, match=r"a\.mnc cannot hold an image of 4 axes"):
        nifti.write_image(make_image("4-D"), tmp_path / "a.mnc")
    assert list(tmp_path.iterdir()) == []


def test_a_slice_across_the_plane_of_itk_keeps_its_place(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    affine = make_place("3-D")
    image = nib.Nifti1Image(make_voxels("2-D", np.float32), affine)
    nifti.write_image(image, tmp_path / "a.nrrd")
    made = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    assert made.GetSize() == (*image.shape, 1)
    _, points, _ = read_by_itk(tmp_path / "a.nrrd")
    np.testing.assert_allclose(points, apply_affine(affine, find_corners(image.shape)), atol=1e-4)


def test_damaged_files_of_zstandard(tmp_path: Path) -> None:
    need(".nii.zst")
    path = tmp_path / "a.nii.zst"
    nifti.write_image(make_image("3-D"), path)
    content = path.read_bytes()
    at = len(content) // 2
    flipped = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
    for damaged in (content[:-9], b"no frame of Zstandard", flipped, b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.nii\.zst cannot be read"):
            nifti.read_image(path)


def test_zstandard_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("compression.zstd", "compression", "backports.zstd", "backports"):
        monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "a.nii.zst"
    with pytest.raises(ImportError, match=r"pip install 'n4ax\[zstd\]'"):
        nifti.write_image(make_image("3-D"), path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"(\xb5/\xfd")
    with pytest.raises(ImportError, match=r"pip install 'n4ax\[zstd\]'"):
        nifti.read_image(path)


def make_noise() -> nib.Nifti1Image:
    voxels = np.random.default_rng(1).normal(size=(20, 20, 20)).astype(np.float32)
    return nib.Nifti1Image(voxels, np.eye(4))


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
def test_a_file_that_itk_did_not_write_whole_is_an_error(tmp_path: Path, suffix: str) -> None:
    need(suffix)
    path = tmp_path / f"a{suffix}"
    write_images({path: nib.Nifti1Image(np.ones((2, 2, 2), np.float32), np.eye(4))})
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with limit_files(8192), pytest.raises(OSError, match="the disk may be full") as caught:
        write_images({path: make_noise()})
    assert ".n4ax-" not in str(caught.value)
    assert caught.value.filename == str(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_call_of_itk_that_is_interrupted_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    calls, write = [], sitk.WriteImage

    def interrupt(*words: Any, **options: Any) -> None:
        calls.append(words)
        if len(calls) == 1:
            raise RuntimeError("Exception: failed to flush pending data")
        write(*words, **options)

    monkeypatch.setattr(sitk, "WriteImage", interrupt)
    path = tmp_path / "a.nrrd"
    write_images({path: make_noise()})
    assert len(calls) == 2
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img", "a.mgz", "a.json"])
def test_a_write_that_fails_names_its_file_among_several(tmp_path: Path, name: str) -> None:
    path, other = tmp_path / name, tmp_path / "other.txt"
    large = name == "a.json"
    with limit_files(8192), pytest.raises(OSError, match=r"a\.") as caught:
        write_images(
            {} if large else {path: make_noise()},
            others={other: b"x"} | ({path: bytes(20_000)} if large else {}),
        )
    assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())
