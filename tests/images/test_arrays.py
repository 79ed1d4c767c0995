"""Whose array it is, without importing any library."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from n4ax.images.arrays import is_jax, is_lazy, is_masked, is_torch, is_traced

KINDS: dict[str, Callable[[Any], bool]] = {
    "numpy.ma": is_masked, "dask.array": is_lazy, "torch": is_torch, "jax": is_jax,
    "jax.core": is_traced,
}  # fmt: skip


@pytest.mark.parametrize("library", KINDS)
def test_a_library_that_another_thread_is_importing_has_no_arrays_yet(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.ones(3)
    monkeypatch.setitem(sys.modules, library, ModuleType(library))
    assert not KINDS[library](array)
    monkeypatch.delitem(sys.modules, library)
    assert not KINDS[library](array)


def test_arrays_are_those_of_their_library() -> None:
    masked = np.ma.MaskedArray([1.0, 2.0], mask=[True, False])
    lazy = pytest.importorskip("dask.array").ones(3)
    jax = pytest.importorskip("jax")
    seen: list[list[bool]] = []

    def look(array: Any) -> Any:
        seen.append([is_traced(array), is_jax(array)])
        return array

    jax.jit(look)(jax.numpy.ones(3))
    assert seen == [[True, True]]
    given = (masked, lazy, jax.numpy.ones(3), np.ones(3))
    found = [[is_masked(one), is_lazy(one), is_jax(one), is_traced(one)] for one in given]
    assert found == [
        [True, False, False, False],
        [False, True, False, False],
        [False, False, True, False],
        [False] * 4,
    ]
