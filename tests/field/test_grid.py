"""A field on one grid: which engine evaluates it, and how ITK's tools divide by it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import n4ax
from n4ax.engines.cpu import field as cpu
from n4ax.engines.cpu.threads import Threads
from n4ax.engines.itk import field as itk
from n4ax.errors import InputError
from n4ax.field.grid import Spline, is_divided_in_filter, lay_on_grid, read_shape
from n4ax.method.grid import Axis

WHOLE = Axis(5, samples=5)


@pytest.mark.parametrize(
    ("tool", "axes", "expected"),
    [
        ("simpleitk", (WHOLE, Axis(6, samples=6)), True),
        ("ants", (WHOLE, WHOLE), False),
        ("simpleitk", (WHOLE, Axis(6, shrink=2, samples=3)), False),
        ("simpleitk", (Axis(5, lower=1, samples=6), WHOLE), False),
        ("simpleitk", (WHOLE, Axis(5, upper=1, samples=6)), False),
    ],
)
def test_simpleitk_divides_whole_images_in_its_filter(tool: Any, axes: Any, expected: bool) -> None:
    assert is_divided_in_filter(tool, axes) is expected


def test_the_engine_that_is_asked_for_evaluates_the_field() -> None:
    jax = pytest.importorskip("jax")
    image = np.random.default_rng(0).uniform(50, 90, (8, 9, 10)).astype(np.float32)
    field = n4ax.fit(image, "all", iters=(2,)).field
    by_xla, by_cpu = field.evaluate(engine="xla"), field.evaluate()
    assert isinstance(by_xla, jax.Array)
    assert type(by_cpu) is np.ndarray
    np.testing.assert_allclose(by_xla, by_cpu, atol=1e-6)


def test_a_field_is_evaluated_in_its_own_arithmetic() -> None:
    points = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    axes = (Axis(30, samples=30), Axis(20, samples=20))
    threads, found = Threads(1), []
    for arithmetic, engine in (("limit", cpu), ("itk", itk)):
        grid = lay_on_grid(Spline(points, 3, axes, arithmetic, "simpleitk"), (30, 20))  # type: ignore[arg-type]
        found.append(grid.evaluate(grid.bases, threads))
        assert np.array_equal(found[-1], engine.evaluate(points, grid.bases, threads))
    np.testing.assert_allclose(*found, atol=1e-5)
    assert not np.array_equal(*found)


def test_a_grid_has_axes() -> None:
    with pytest.raises(InputError, match=r"^shape is \(\); expected the number of voxels on each"):
        read_shape(())


@pytest.mark.parametrize("name", ["voxel_order", "arithmetic", "itk_tool"])
def test_words_of_a_field_are_checked(name: str) -> None:
    image = np.random.default_rng(0).uniform(50, 90, (8, 9, 10)).astype(np.float32)
    field = n4ax.fit(image, "all", iters=(1,)).field
    with pytest.raises(InputError, match=f"^{name} is 'other'; expected"):
        replace(field, **{name: "other"})


def test_a_grid_has_so_many_voxels_at_most() -> None:
    assert read_shape((2, 1 << 35)) == (2, 1 << 35)
    with pytest.raises(InputError, match=r"expected a grid of at most 6.9e\+10 voxels$"):
        read_shape((2, (1 << 35) + 1))
