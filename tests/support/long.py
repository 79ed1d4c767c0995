"""Tests that take long and show little more than others, which run where they are asked for."""

import os

import pytest

LONG_TESTS = bool(os.environ.get("N4AX_LONG_TESTS"))

only_long = pytest.mark.skipif(
    not LONG_TESTS, reason="this takes long: set N4AX_LONG_TESTS=1 to run it"
)


def mark(slow: bool, long: bool) -> list[pytest.MarkDecorator]:
    """The marks of a case that is slow, or takes so long that it is left out."""
    return [pytest.mark.slow] * (slow or long) + [only_long] * long
