"""The engine of ITK's arithmetic: its parts against plain loops, and where it can be had."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import dask.array
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.engines.cpu.threads import Threads
from n4ax.engines.itk import libm
from n4ax.engines.itk.engine import ItkEngine
from n4ax.engines.itk.field import exponentiate
from n4ax.engines.itk.refinement import refine
from n4ax.itk.bspline import compute_fit_weights, find_fit_coordinates
from n4ax.itk.versions import find_halving_weights
from n4ax.method.problem import Problem
from n4ax.settings import N4Settings
from tests.engines.test_engine import posed

Array = npt.NDArray[Any]
F = np.float32


def make_problem(ndim: int, order: int, units: int, weights: bool) -> tuple[Problem, N4Settings]:
    problem, settings, _, _ = posed(ndim, order, weights)
    return problem, settings.override(arithmetic="itk", itk_work_units=units)


def list_voxels(problem: Problem, order: int) -> list[tuple[tuple[int, ...], Array]]:
    """The first control point of every voxel that counts, and its weights, in ITK's order."""
    first: list[Array] = []
    weights: list[Array] = []
    for axis, points in zip(problem.axes, problem.control_points, strict=True):
        p = find_fit_coordinates(axis.position, axis.samples, points - order)
        first.append(np.floor(p).astype(int))
        weights.append(compute_fit_weights(p, order))
    voxels: list[tuple[tuple[int, ...], Array]] = []
    for index in np.argwhere(problem.included):
        block = np.ones(1, F)
        for axis in reversed(range(len(index))):  # x first
            b = weights[axis][index[axis]]
            block = (block.astype(np.float64) * b.reshape(-1, *[1] * block.ndim)).astype(F)
        control = tuple(int(first[axis][i]) for axis, i in enumerate(index))
        voxels.append((control, block[..., 0]))
    return voxels


def fit_one_by_one(problem: Problem, settings: N4Settings, residuals: Array) -> tuple[Array, Array]:
    """Omega and delta, added voxel by voxel and control point by control point in float32."""
    voxels = list_voxels(problem, settings.spline_order)
    weights = problem.weights
    confidence = np.ones(len(voxels), F) if weights is None else weights[problem.included]
    units, share = settings.work_units, len(voxels) // settings.work_units
    totals: list[Array] = []
    for unit in range(units):
        end = len(voxels) if unit == units - 1 else (unit + 1) * share
        sums = np.zeros((2, *problem.control_points), F)
        for n in range(unit * share, end):
            control, t = voxels[n]
            squares = F(0)
            for weight in t.ravel():
                squares = F(squares + F(weight * weight))
            place = tuple(slice(c, c + k) for c, k in zip(control, t.shape, strict=True))
            c, z = confidence[n], residuals[n]
            sums[0][place] = sums[0][place] + c * t * t
            sums[1][place] = sums[1][place] + z * (t * t * t * c / squares)
        totals.append(sums)
    total = totals[0]
    for sums in totals[1:]:
        total = total + sums
    return total[0], total[1]


@pytest.mark.parametrize(("ndim", "order"), [(2, 1), (2, 3), (2, 5), (3, 2), (3, 3), (4, 1)])
@pytest.mark.parametrize(("units", "weights"), [(1, True), (7, False)])
def test_sums_are_those_of_plain_loops_with_any_threads(
    ndim: int, order: int, units: int, weights: bool
) -> None:
    problem, settings = make_problem(ndim, order, units, weights)
    few = (*[slice(0, 7)] * (ndim - 2), slice(0, 15), slice(0, 30))
    included = np.zeros_like(problem.included)
    included[few] = problem.included[few]
    problem = replace(problem, included=included)
    residuals = np.random.default_rng(1).normal(0, 0.1, int(included.sum())).astype(F)
    omega, delta = fit_one_by_one(problem, settings, residuals)
    for count in (1, 2, 3, 8):
        with Threads(count) as threads:
            engine = ItkEngine(problem, settings, threads)
            mesh = engine.mesh(0)
            np.testing.assert_array_equal(mesh.omega, omega)
            voxels = (residuals, mesh.squares, engine._confidence)
            np.testing.assert_array_equal(engine._sum_units(mesh.fit, voxels, omega.shape), delta)


def test_units_whose_lattices_do_not_fit_together_are_summed_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, settings = make_problem(3, 3, 64, False)
    omegas: list[Array] = []
    for most in (1 << 24, 3 * int(np.prod(problem.control_points)), 1):
        monkeypatch.setattr("n4ax.engines.itk.engine.MOST_LATTICES", most)
        with Threads(2) as threads:
            omegas.append(ItkEngine(problem, settings, threads).mesh(0).omega)
    np.testing.assert_array_equal(omegas[0], omegas[1])
    np.testing.assert_array_equal(omegas[0], omegas[2])


@pytest.mark.parametrize("version", [5, 6])
@pytest.mark.parametrize(("ndim", "order"), [(2, 1), (2, 4), (3, 3), (3, 2)])
def test_knot_halving_is_one_sum_for_each_fine_control_point(
    ndim: int, order: int, version: int
) -> None:
    shape = (order + 1, order + 3, order + 2)[:ndim]
    lattice = np.random.default_rng(order).normal(size=shape).astype(F)
    weights = find_halving_weights(version, order)
    expected = np.zeros([2 * n - order for n in shape], F)
    for fine in np.ndindex(*expected.shape):
        total = F(0)
        for taps in product(range(order + 1), repeat=ndim):  # x varies fastest
            coarse = tuple(i // 2 + k for i, k in zip(fine, taps, strict=True))
            if any(i >= n for i, n in zip(coarse, shape, strict=True)):
                continue
            coefficient = F(1)
            for axis in reversed(range(ndim)):
                coefficient = F(coefficient * weights[fine[axis] % 2, taps[axis]])
            total = F(total + F(lattice[coarse] * coefficient))
        expected[fine] = total
    np.testing.assert_array_equal(refine(lattice, order, version), expected)


# ---- where the bits can be had ---------------------------------------------------------------

IMAGE = np.random.default_rng(0).gamma(3, 40, (14, 16, 18)).astype(F)
FEW: dict[str, Any] = {"iters": (2, 2), "conv_threshold": 0, "arithmetic": "itk"}


@pytest.mark.parametrize(
    ("name", "answer", "shown"),
    [
        ("sys.platform", "darwin", "darwin"),
        ("platform.machine", lambda: "aarch64", "aarch64"),
        ("platform.libc_ver", lambda: ("", ""), "another C library"),
        ("platform.libc_ver", lambda: ("musl", "1.2.5"), "musl 1.2.5"),
    ],
)
def test_another_platform_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, answer: Any, shown: str
) -> None:
    monkeypatch.setattr(name, answer)
    with pytest.raises(ValueError, match=f"^arithmetic is 'itk', .*{shown}.*'limit'$"):
        n4ax.n4(IMAGE, "all", **FEW)
    assert n4ax.n4(IMAGE, "all", **{**FEW, "arithmetic": "limit"}).shape == IMAGE.shape


def test_functions_of_another_library_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        """A library whose logarithm rounds correctly, unlike GNU's."""

        expf = staticmethod(libm._load_library().expf)
        exp = staticmethod(libm._load_library().exp)

        @staticmethod
        def logf(value: float) -> float:
            return float(F(np.log(value))) if value > 400 else float(F(np.log(value * 1.0001)))

    libm._has_functions_of_library.cache_clear()
    monkeypatch.setattr(libm, "_load_library", Other)
    with pytest.raises(ValueError, match="do not call the C library's logarithm"):
        libm.check_platform()
    monkeypatch.undo()
    libm._has_functions_of_library.cache_clear()
    libm.check_platform()


def test_the_kernels_call_the_c_library() -> None:
    library = libm._load_library()
    given = np.random.default_rng(0).uniform(0.01, 3000, 5000).astype(F)
    found = given.copy()
    libm.take_logarithms(0, len(found), found)
    np.testing.assert_array_equal(found, [F(library.logf(x)) for x in given.tolist()])
    exponents = np.random.default_rng(1).normal(0, 1, 5000).astype(F)
    expected = [F(library.expf(x)) for x in exponents.tolist()]
    np.testing.assert_array_equal(libm.exponentiate(exponents), expected)


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"engine": "xla"}, "^arithmetic is 'itk', which the XLA engine cannot do: use engine=cpu"),
        ({"shared_field": True}, "^arithmetic is 'itk', and ITK has no field that several images"),
    ],
)
def test_what_only_the_default_arithmetic_can_do_is_refused(
    keywords: dict[str, Any], named: str
) -> None:
    image = [IMAGE, IMAGE] if "shared_field" in keywords else IMAGE
    with pytest.raises(ValueError, match=named):
        n4ax.fit(image, "all", **FEW, **keywords)


def test_arrays_of_jax_and_dask_are_corrected_to_the_same_bits() -> None:
    expected = n4ax.n4(IMAGE, "all", **FEW)
    for image in (jnp.asarray(IMAGE), dask.array.from_array(IMAGE, chunks=(5, 9, 18))):
        np.testing.assert_array_equal(np.asarray(n4ax.n4(image, "all", **FEW)), expected)


def test_a_field_keeps_its_arithmetic_in_a_file(tmp_path: Path) -> None:
    result = n4ax.fit(IMAGE, "all", shrink_factor=2, spacing=1.3, itk_tool="ants", **FEW)
    result.field.save(tmp_path / "field.npz")
    field = n4ax.BiasField.load(tmp_path / "field.npz")
    assert (field.arithmetic, field.itk_tool) == ("itk", "ants")
    assert [axis.position for axis in field.axes] == [a.position for a in result.field.axes]
    np.testing.assert_array_equal(field.evaluate(), result.log_bias)
    np.testing.assert_array_equal(field.apply(IMAGE), result.corrected)


def test_a_field_of_an_older_file_has_the_default_arithmetic(tmp_path: Path) -> None:
    n4ax.fit(IMAGE, "all", iters=(2,), conv_threshold=0).field.save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as data:
        old = {k: v for k, v in data.items() if k not in ("arithmetic", "itk_tool", "positions")}
    np.savez(tmp_path / "old.npz", **old)
    field = n4ax.BiasField.load(tmp_path / "old.npz")
    assert field.arithmetic == "limit"
    np.testing.assert_array_equal(
        field.evaluate(), n4ax.BiasField.load(tmp_path / "new.npz").evaluate()
    )


def test_a_field_in_the_arithmetic_of_itk_is_not_evaluated_by_xla() -> None:
    field = n4ax.fit(IMAGE, "all", **FEW).field
    with pytest.raises(ValueError, match="which the XLA engine does not have: use engine=cpu"):
        field.evaluate(engine="xla")


def test_images_far_from_the_origin_are_refused_as_itk_refuses_them() -> None:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(IMAGE)
    image.SetOrigin((1e6, 0, 0))
    image.SetSpacing((0.01, 1, 1))
    mask = sitk.GetImageFromArray(np.ones(IMAGE.shape, np.uint8))
    mask.CopyInformation(image)
    with pytest.raises(ValueError, match="move its origin towards 0"):
        n4ax.fit(image, mask, **FEW)
    itk = sitk.N4BiasFieldCorrectionImageFilter()
    itk.SetMaximumNumberOfIterations([2, 2])
    with pytest.raises(RuntimeError, match="parametric domain"):
        itk.Execute(image, mask)


def test_exponentials_are_those_of_the_filter_of_itk() -> None:
    sitk = pytest.importorskip("SimpleITK")
    log_field = np.random.default_rng(4).normal(0, 2, (9, 10, 11)).astype(F)
    expected = sitk.GetArrayFromImage(sitk.Exp(sitk.GetImageFromArray(log_field)))
    for given in (log_field, np.asfortranarray(log_field)):
        found = exponentiate(given)
        assert found.dtype == F
        assert np.array_equal(found, expected)
