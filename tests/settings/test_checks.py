"""Checks of single values: what is taken at the ends of a range, and whole messages."""

from math import inf
from typing import Any

import numpy as np
import pytest

from n4ax.errors import InputError
from n4ax.settings import N4Settings
from n4ax.settings.checks import check_flag, read_number


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("conv_threshold", -1, "is -1; expected a number of at least 0"),
        ("wiener", -1, "is -1; expected a number of at least 0 and at most 3.4e+38"),
        ("spline_order", 6, "is 6; expected a whole number of at least 1 and at most 5"),
        ("nbins", 2, "is 2; expected a whole number of at least 3 and at most 65536"),
    ],
)
def test_a_message_names_the_bounds_that_there_are(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        N4Settings(**{name: value})
    assert str(caught.value) == f"{name} {message}"


@pytest.mark.parametrize("label", [-(2**63), -1000, 2**64 - 1])
def test_a_label_is_any_value_of_a_whole_type(label: int) -> None:
    assert N4Settings(mask_label=label).mask_label == label
    beyond = label - 1 if label < 0 else label + 1
    if abs(label) > 1000:
        with pytest.raises(InputError, match=r"^mask_label is"):
            N4Settings(mask_label=beyond)


def test_a_number_too_large_for_a_float_is_infinite() -> None:
    assert read_number(10**400) == inf
    assert read_number(-(10**400)) == -inf


@pytest.mark.parametrize("flag", [True, np.True_, np.uint8(1) == 1, 0])
def test_a_flag_is_a_bool_of_any_library(flag: Any) -> None:
    check_flag("verbose", flag)
    for other in (1.0, np.uint8(1), 2, "yes", np.ones(1, bool)):
        with pytest.raises(InputError, match=r"^verbose is .*; expected True or False$"):
            check_flag("verbose", other)
