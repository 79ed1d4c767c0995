"""The axes of a user's image: to ITK's order and back."""

from typing import Literal

import numpy as np
import pytest

from n4ax.images.axes import ImageAxes

Order = Literal["C", "F"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(7, 8, 9), (7, 1, 9), (1, 7, 8, 1, 9), (5, 6)])
def test_an_array_comes_back_as_it_was(shape: tuple[int, ...], order: Order) -> None:
    axes = ImageAxes.of(shape, order)
    array = np.arange(np.prod(shape)).reshape(shape)
    inside = axes.to_itk(array)
    assert 1 not in inside.shape
    assert inside.shape == axes.turn(axes.lengths)
    assert np.shares_memory(inside, array)
    assert np.array_equal(axes.from_itk(inside), array)


def test_itks_x_is_the_last_axis_inside() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(ImageAxes.of(array.shape, "C").to_itk(array), array)
    assert np.array_equal(ImageAxes.of(array.shape, "F").to_itk(array), array.T)


@pytest.mark.parametrize("order", ["C", "F"])
def test_samples_are_those_of_the_turned_array(order: Order) -> None:
    array = np.arange(7 * 8 * 9).reshape(7, 1, 8, 9)
    axes = ImageAxes.of(array.shape, order)
    voxels = (slice(1, None, 2), slice(0, 4), slice(2, 8, 3))
    assert np.array_equal(axes.sample(array, voxels), axes.to_itk(array)[voxels])


@pytest.mark.parametrize(("order", "numbers"), [("C", [0, 1, 2]), ("F", [2, 1, 0])])
def test_axes_keep_the_numbers_that_a_user_knows(order: Order, numbers: list[int]) -> None:
    axes = ImageAxes.of((7, 8, 9), order)
    assert [axes.number_outside(axis) for axis in range(3)] == numbers
