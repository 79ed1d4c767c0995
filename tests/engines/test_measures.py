"""Which convergence measures are computed, and when."""

import numpy as np

import n4ax
from n4ax.engines.measures import Measures

IMAGE = np.random.default_rng(3).gamma(4, 30, (16, 15, 14)).astype(np.float32)
ITERATIONS = (70, 0, 3)


def find_measures() -> Measures:
    """Those of a run that needed none of them, since no threshold ends its levels."""
    found = n4ax.fit(IMAGE, "all", iters=ITERATIONS, conv_threshold=0).measures
    assert found is not None
    assert np.isnan(found._values[0]).all()
    return found


def list_known(measures: Measures) -> list[list[int]]:
    """The iterations of each level whose measures are known, from 1."""
    return [(np.flatnonzero(~np.isnan(level)) + 1).tolist() for level in measures._values]


def test_a_sketch_has_the_iterations_1_8_64_and_the_last() -> None:
    measures = find_measures()
    sketch = measures.read_sketch()
    assert [len(level) for level in sketch] == list(ITERATIONS)
    assert list_known(measures) == [[1, 8, 64, 70], [], [1, 3]]
    sketch[0][0] = -1.0
    assert measures.read()[0][0] > 0


def test_ends_are_those_of_each_level_that_has_one() -> None:
    measures = find_measures()
    first, second, third = measures.read_ends()
    assert second is None
    assert list_known(measures) == [[70], [], [3]]
    whole = measures.read()
    assert (first, third) == (whole[0][-1], whole[2][-1])
    assert list_known(measures) == [list(range(1, n + 1)) for n in ITERATIONS]


def test_the_last_measure_is_that_of_the_last_level() -> None:
    measures = find_measures()
    last = measures.read_last()
    assert list_known(measures) == [[], [], [3]]
    assert last == measures.read()[2][-1]
    nothing = n4ax.fit(IMAGE, "all", iters=(3, 0), conv_threshold=0).measures
    assert nothing is not None
    assert nothing.read_last() is None
