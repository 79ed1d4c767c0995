"""ITK's lattice of control points: what n4ax finds is what ITK finds, and ITK's is taken back."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import n4ax
from n4ax import BiasField
from n4ax.field.lattice import ItkLattice
from tests.support.itk_lattices import CASES, Answer, Case, find_lattice, read, take


def make_image(case: Case) -> sitk.Image:
    image = sitk.GetImageFromArray(case.make_image())
    image.SetSpacing(case.spacing)
    image.SetOrigin(case.origin)
    image.SetDirection(case.direction.ravel())
    return image


def fit(case: Case) -> BiasField:
    mesh: dict[str, Any] = {"control_points": case.points}
    if case.padding is not None:
        mesh = {"spline_distance": 13.0}
    return n4ax.fit(
        make_image(case),
        "all",
        iters=case.iters,
        conv_threshold=0,
        spline_order=case.order,
        shrink_factor=case.shrink,
        **mesh,
    ).field


def as_lattice(answer: Answer) -> ItkLattice:
    origin, spacing = tuple(answer.origin.tolist()), tuple(answer.spacing.tolist())
    return ItkLattice(answer.array, origin, spacing, answer.direction)


@pytest.mark.parametrize("name", CASES)
def test_lattice_is_that_of_itk(name: str) -> None:
    expected, found = read(name), fit(CASES[name]).to_itk_lattice()
    assert np.ptp(expected.array) > 0.1
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.array, expected.array, atol=2e-5)
    np.testing.assert_allclose(found.origin, expected.origin, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.spacing, expected.spacing, rtol=1e-6)
    np.testing.assert_allclose(found.direction, expected.direction, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_the_package_itk_still_gives_the_cached_answer(name: str) -> None:
    pytest.importorskip("itk", reason="the package itk is not installed")
    case = CASES[name]
    lattice = find_lattice(case)
    for found, expected in zip(take(lattice), read(name), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
    field = take_back(case, lattice)
    np.testing.assert_allclose(field.evaluate(), fit(case).evaluate(), atol=2e-5)


def take_back(case: Case, lattice: Any, image: Any = None) -> BiasField:
    return BiasField.from_itk_lattice(
        lattice,
        make_image(case) if image is None else image,
        spline_order=case.order,
        shrink_factor=case.shrink,
        padding=case.padding,
    )


@pytest.mark.parametrize("name", CASES)
def test_field_of_itks_lattice_is_the_field_of_n4ax(name: str) -> None:
    case = CASES[name]
    expected, found = fit(case), take_back(case, as_lattice(read(name)))
    assert (found.axes, found.shape, found.order) == (expected.axes, expected.shape, case.order)
    assert (found.voxel_order, found.axes_known) == ("F", True)
    np.testing.assert_allclose(found.evaluate(), expected.evaluate(), atol=2e-5)
    np.testing.assert_allclose(
        found.evaluate_at(case.size, expected.affine),
        expected.evaluate_at(case.size),
        atol=2e-5,
    )
    again = take_back(case, found.to_itk_lattice())
    assert np.array_equal(again.control_points, found.control_points)


def test_plain_arrays_have_the_lattice_of_their_order() -> None:
    case = CASES["turned and shrunk"]
    voxels = case.make_image()
    lattice = as_lattice(read("turned and shrunk"))._replace(direction=np.eye(3))
    millimetres = lattice._replace(spacing=tuple(np.divide(lattice.spacing, case.spacing)))
    plain = take_back(case, millimetres, voxels)
    assert plain.voxel_order == "C"
    assert plain.shape == voxels.shape
    assert np.array_equal(plain.control_points, lattice.array)
    expected = take_back(case, as_lattice(read("turned and shrunk")))
    assert np.array_equal(plain.evaluate(), expected.evaluate().T)
    assert np.array_equal(plain.to_itk_lattice().array, lattice.array)


def test_lattices_that_do_not_fit_are_refused() -> None:
    case = CASES["turned and shrunk"]
    image, lattice = make_image(case), as_lattice(read("turned and shrunk"))

    def expect(message: str, given: Any = lattice, **keywords: Any) -> None:
        keywords = {"spline_order": 3, "shrink_factor": 2} | keywords
        with pytest.raises(ValueError, match=message):
            BiasField.from_itk_lattice(given, image, **keywords)

    expect(r"has points \(14.0, 9.0, 15.0\) mm apart, and the image asks for", shrink_factor=1)
    expect(r"asks for \(28.0, 18.0, 30.0\) mm: give the shrink_factor", spline_order=4)
    expect("padding is .* along each of its 3 axes", padding=[(1, 1)])
    expect("expected 3 axes with at least 7 control points", spline_order=6)
    expect("other directions", lattice._replace(direction=np.eye(3)))
    expect("has shape", lattice._replace(array=lattice.array[0]))
    few = lattice._replace(array=lattice.array[:, :, :3])
    expect("expected 3 axes with at least 4 control points", few)

    class Partial:
        """It has only one of the two methods that are needed."""

        GetPixel = None

    for wrong in (lattice.array, Partial()):
        with pytest.raises(TypeError, match="expected what to_itk_lattice gives"):
            BiasField.from_itk_lattice(wrong, image)


@pytest.mark.parametrize("flat", ["x", "y", "z"])
def test_an_axis_of_one_voxel_is_left_out(flat: str) -> None:
    xarray = pytest.importorskip("xarray")
    lengths = {"z": 9, "y": 12, "x": 14} | {flat: 1}
    steps = {"z": 3.0, "y": 2.0, "x": 1.5}
    places = {axis: np.arange(n) * steps[axis] for axis, n in lengths.items()}
    voxels = np.random.default_rng(1).uniform(50, 90, tuple(lengths.values())).astype(np.float32)
    image = xarray.DataArray(voxels, places, ("z", "y", "x"))
    field = n4ax.fit(image, "all", iters=(2,)).field
    again = BiasField.from_itk_lattice(field.to_itk_lattice(), image)
    assert again.axes == field.axes
    assert np.array_equal(again.control_points, field.control_points)


@pytest.mark.parametrize("size", [(20, 18, 24), (1, 18, 24), (20, 18, 1)])
def test_factors_of_each_axis_and_flat_axes_of_images(size: tuple[int, int, int]) -> None:
    voxels = np.random.default_rng(1).uniform(50, 90, size).astype(np.float32)
    image = sitk.GetImageFromArray(voxels.T)
    image.SetSpacing((1.5, 2.0, 3.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, 1) if size[2] == 1 else (1, 0, 0, 0, 0, 1, 0, 1, 0))
    factors = tuple(min(n, factor) for n, factor in zip(size, (2, 1, 3), strict=True))
    field = n4ax.fit(image, "all", iters=(2,), shrink_factor=factors).field
    again = BiasField.from_itk_lattice(field.to_itk_lattice(), image, shrink_factor=factors)
    assert again.axes == field.axes
    assert np.array_equal(again.control_points, field.control_points)


def test_images_of_the_package_itk_are_read_point_by_point() -> None:
    case = CASES["turned and shrunk"]
    expected = as_lattice(read("turned and shrunk"))

    direction = SimpleNamespace(get=lambda row, column: float(expected.direction[row, column]))
    stand_in = SimpleNamespace(
        GetLargestPossibleRegion=lambda: SimpleNamespace(GetSize=lambda: expected.array.T.shape),
        GetPixel=lambda index: [float(expected.array.T[tuple(index)])],
        GetOrigin=lambda: expected.origin,
        GetSpacing=lambda: expected.spacing,
        GetDirection=lambda: SimpleNamespace(GetVnlMatrix=lambda: direction),
    )
    found, same = take_back(case, stand_in), take_back(case, expected)
    assert np.array_equal(found.control_points, same.control_points)
    assert found.axes == same.axes
