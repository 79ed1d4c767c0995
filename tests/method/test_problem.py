"""The samples of an image, thinned."""

from math import prod

import numpy as np
import pytest

from n4ax.method.grid import Axis
from n4ax.method.problem import Problem


def make_problem(*, weighted: bool) -> Problem:
    shape = (4, 9, 8)
    numbers = np.arange(prod(shape), dtype=np.float32).reshape(shape)
    return Problem(
        numbers, numbers % 3 == 0, numbers / 7 if weighted else None,
        tuple(Axis(n, samples=n) for n in shape), (4, 5, 6),
    )  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
def test_the_middle_one_of_each_group_of_samples_is_kept(weighted: bool) -> None:
    problem = make_problem(weighted=weighted)
    thinned = problem.thin((1, 3, 2))
    kept = np.s_[:, 1::3, 1::2]
    assert np.array_equal(thinned.intensities, problem.intensities[kept])
    assert np.array_equal(thinned.included, problem.included[kept])
    if weighted:
        assert problem.weights is not None
        assert np.array_equal(thinned.weights, problem.weights[kept])
    else:
        assert thinned.weights is None
    assert [axis.every for axis in thinned.axes] == [1, 3, 2]
    assert thinned.control_points == (4, 5, 6)


def test_of_fewer_samples_than_a_group_the_first_is_kept() -> None:
    thinned = make_problem(weighted=False).thin((4, 10, 9))
    assert thinned.intensities.shape == (1, 1, 1)
    assert thinned.intensities.item() == 2 * 9 * 8
