"""A field as an image of NIfTI: exact, readable by others by the page about it, and refused if not
a field."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from nibabel.nifti1 import Nifti1Extension

import n4ax
from n4ax import BiasField
from n4ax.saved_field import read_field

PAGE = Path(__file__).parents[2] / "docs" / "field-format.md"
AFFINE = np.array([[0.0, -2, 0, 60], [1.5, 0, 0.1, -20], [0, 1 / 3, 2.5, 5], [0, 0, 0, 1.0]])

CASES: dict[str, dict[str, Any]] = {
    "3-D": {"affine": AFFINE},
    "order F": {"affine": AFFINE, "voxel_order": "F"},
    "no affine": {},
    "shrunk": {"affine": AFFINE, "shrink_factor": 3},
    "padded": {"affine": AFFINE, "shrink_factor": 2, "spline_distance": 13.0, "spacing": 1.1},
    "ITK": {"affine": AFFINE, "arithmetic": "itk", "spacing": (1.5, 2.5, 1 / 3)},
    "quadratic": {"spline_order": 2, "control_points": (4, 3, 5)},
    "order 5": {"spline_order": 5, "voxel_order": "F"},
    "2-D": {"shape": (14, 17), "affine": AFFINE},
    "thin": {"shape": (14, 1, 17), "affine": AFFINE, "voxel_order": "F"},
    "thin C": {"shape": (1, 14, 17), "affine": AFFINE},
    "4-D": {"shape": (9, 8, 7, 6), "affine": AFFINE, "voxel_order": "F", "series": "4d"},
    "4-D C": {"shape": (5, 8, 7, 6), "series": "4d"},
}


def make_image(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    at = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else [0] for n in shape], indexing="ij")
    tissue = np.where(sum(x * x for x in at) < 0.6, 800.0, 300.0)
    noise = np.random.default_rng(0).normal(0, 8, shape)
    return (tissue * np.exp(0.4 * at[0] - 0.3 * at[-1]) + noise).clip(1).astype(np.float32)


def fit(shape: tuple[int, ...] = (12, 14, 17), **keywords: Any) -> BiasField:
    keywords = {"iters": (3, 2), "conv_threshold": 0.0} | keywords
    return n4ax.fit(make_image(shape), "all", **keywords).field


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_field_comes_back_to_the_last_bit(name: str, suffix: str, tmp_path: Path) -> None:
    field = fit(**CASES[name])
    path = tmp_path / f"field{suffix}"
    field.save(path)
    loaded = BiasField.load(path)
    for part in ("order", "shape", "axes", "voxel_order", "axes_known", "arithmetic", "itk_tool"):
        assert getattr(loaded, part) == getattr(field, part), part
    assert [axis.position for axis in loaded.axes] == [axis.position for axis in field.axes]
    assert np.array_equal(loaded.control_points, field.control_points)
    image, other = make_image(field.shape), tuple(n if n == 1 else n + 3 for n in field.shape)
    assert np.array_equal(loaded.evaluate(), field.evaluate())
    assert np.array_equal(loaded.evaluate(other), field.evaluate(other))
    assert np.array_equal(loaded.evaluate_at(field.shape), field.evaluate_at(field.shape))
    assert np.array_equal(loaded.apply(image), field.apply(image))
    if field.affine is None:
        assert loaded.affine is None
        return
    assert loaded.affine is not None
    assert loaded.affine.tobytes() == field.affine.tobytes()
    if len(field.shape) < 4:
        there = AFFINE @ np.diag([0.9, 1.1, 1, 1])
        found, expected = (f.evaluate_at(field.shape, there) for f in (loaded, field))
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", [name for name in CASES if name != "ITK"])
def test_reader_of_the_page_evaluates_the_same_field(name: str, tmp_path: Path) -> None:
    program = next(
        block
        for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
        if "def evaluate" in block
    )
    assert "n4ax" not in program.replace("n4ax_bias_field", "")
    assert len(program.splitlines()) <= 42
    names: dict[str, Any] = {}
    exec(program, names)
    field = fit(**CASES[name])
    field.save(tmp_path / "field.nii")
    found = names["evaluate"](str(tmp_path / "field.nii"))
    found = found.T if field.voxel_order == "C" else found
    assert found.shape == field.shape
    assert np.ptp(found) > 0.02
    np.testing.assert_allclose(found, field.evaluate(), atol=5e-6)


def test_image_has_the_dimensions_and_the_place_of_the_control_points(tmp_path: Path) -> None:
    for name in ("3-D", "order F", "shrunk", "padded", "quadratic", "thin"):
        field = fit(**{"affine": AFFINE, **CASES[name]})
        field.save(tmp_path / "field.nii.gz")
        image: Any = nib.load(tmp_path / "field.nii.gz")
        assert (int(image.header["sform_code"]), image.get_data_dtype()) == (1, np.float32)
        assert image.header.get_xyzt_units() == ("mm", "sec")
        points = field.control_points if field.voxel_order == "F" else field.control_points.T
        assert np.array_equal(np.squeeze(np.asarray(image.dataobj)), points)
        # A spline that is 1 at one control point is largest where the image says.
        voxels = np.asarray(image.dataobj)
        index = tuple(n // 2 for n in voxels.shape)
        single = np.zeros_like(voxels)
        single[index] = 1
        single = np.squeeze(single if field.voxel_order == "F" else single.T)
        spline = replace(field, control_points=np.ascontiguousarray(single))
        peak = np.linalg.solve(AFFINE, image.affine @ [*index, 1])[:3]
        near = [peak, *(peak + 0.2 * step for step in (*np.eye(3), *-np.eye(3)))]
        values = spline.evaluate_voxels(np.array(near).T, None)
        for step, value in enumerate(values[1:]):
            assert value < values[0] or field.shape[step % 3] == 1, (name, step)


def test_field_without_a_place_has_no_form(tmp_path: Path) -> None:
    fit().save(tmp_path / "field.nii")
    header: Any = nib.load(tmp_path / "field.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    assert header.get_data_shape() == (5, 5, 5)


def test_files_have_the_same_bytes_again(tmp_path: Path) -> None:
    field = fit(affine=AFFINE)
    for name in ("a.nii.gz", "b.nii.gz"):
        field.save(tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    BiasField.load(tmp_path / "a.nii.gz").save(tmp_path / "c.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "c.nii.gz").read_bytes()


def test_numpys_file_is_known_by_its_content(tmp_path: Path) -> None:
    field = fit()
    field.save(tmp_path / "field.npz")
    (tmp_path / "field.npz").rename(tmp_path / "field.nii")
    assert np.array_equal(BiasField.load(tmp_path / "field.nii").evaluate(), field.evaluate())


def change(path: Path, **changed: Any) -> Path:
    """Write the file again with another description, or with other voxels."""
    image: Any = nib.load(path)
    about = json.loads(image.header.extensions[0].get_content().rstrip(b"\0"))
    voxels = changed.pop("voxels", np.asarray(image.dataobj))
    about = {key: value for key, value in (about | changed).items() if value != "left out"}
    other = nib.Nifti1Image(voxels, image.affine)
    other.header.extensions.append(Nifti1Extension(6, json.dumps(about).encode()))
    nib.save(other, path.with_name("changed.nii"))
    return path.with_name("changed.nii")


def test_other_images_and_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "field.nii"
    fit().save(path)
    points = np.asarray(nib.load(path).dataobj)  # pyright: ignore[reportAttributeAccessIssue]

    def expect(message: str, given: Path) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            BiasField.load(given)
        assert str(given) in str(caught.value)
        assert "\n" not in str(caught.value)

    nib.save(nib.Nifti1Image(points, None), tmp_path / "x.nii.gz")
    expect("an image of NIfTI without control points; .* takes the image of --bias too",
           tmp_path / "x.nii.gz")  # fmt: skip
    expect("has version 3 of the format, and this n4ax reads versions up to 2",
           change(path, n4ax_bias_field=3))  # fmt: skip
    expect("has version 'new' of the format; expected 2", change(path, n4ax_bias_field="new"))
    expect("another program has changed it", change(path, voxels=points[1:]))
    expect("not a bias field", change(path, axes="left out"))
    expect("NaN or infinite", change(path, voxels=points * np.float32(np.nan)))
    expect(r"axes do not have the voxels of shape=\(17, 14, 12\)", change(path, shape=[12, 14, 17]))
    (tmp_path / "cut.nii").write_bytes(path.read_bytes()[:-40])
    expect("not a bias field", tmp_path / "cut.nii")
    with pytest.raises(FileNotFoundError):
        BiasField.load(tmp_path / "none.nii.gz")


def test_a_device_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="/dev/zero is a pipe or a device; expected a file"):
        BiasField.load("/dev/zero")


def test_later_versions_of_numpys_file_are_refused(tmp_path: Path) -> None:
    fit().save(tmp_path / "field.npz")
    with np.load(tmp_path / "field.npz") as data:
        parts = dict(data)
    np.savez(tmp_path / "later.npz", **{**parts, "n4ax_bias_field": 7})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"has version 7 of the format, .* up to 1: install"):
        BiasField.load(tmp_path / "later.npz")


def test_fields_that_nifti_cannot_hold_are_refused(tmp_path: Path) -> None:
    field = fit((1, 1, 1, 1, 1, 1, 14, 17))
    with pytest.raises(ValueError, match=r"too large for NIfTI.*save it as \.npz"):
        field.save(tmp_path / "field.nii")
    assert not list(tmp_path.iterdir())
    field.save(tmp_path / "field.npz")


def test_saved_field_tells_control_points_from_an_image_of_a_field(tmp_path: Path) -> None:
    fit(affine=AFFINE, voxel_order="F").save(tmp_path / "field.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.float32), AFFINE), tmp_path / "bias.nii.gz")
    field, bias = (read_field(tmp_path / name) for name in ("field.nii.gz", "bias.nii.gz"))
    assert field.bias is None
    assert field.spline is not None
    assert field.spline.shape == (12, 14, 17)
    assert bias.spline is None
    assert bias.bias is not None
    other = BiasField.load(tmp_path / "field.nii.gz")
    assert np.array_equal(other.evaluate(), field.spline.evaluate())
    change(tmp_path / "field.nii.gz", n4ax_bias_field=3)
    with pytest.raises(ValueError, match="has version 3"):
        read_field(tmp_path / "changed.nii")


def test_a_damaged_name_inside_a_file_is_not_repeated_at_length(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "field.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a" * 5000, b"x" * 10)
    content = bytearray(path.read_bytes())
    content[40] = ord("b")  # the name in front of the data, and not that in the directory
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a bias field saved by n4ax") as refusal:
        n4ax.BiasField.load(path)
    assert len(str(refusal.value)) < 600
