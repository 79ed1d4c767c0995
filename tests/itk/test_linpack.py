"""Inverse and singular values of small matrices, compared with ITK's and NumPy's."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from n4ax.itk.linpack import decompose, invert
from tests.itk.random_images import random_image


@pytest.mark.parametrize("ndim", [2, 3])
def test_inverse_is_that_of_itk_to_the_last_bit(ndim: int) -> None:
    for seed in range(100):
        image, space = random_image(seed, ndim)
        image.SetOrigin([0.0] * ndim)
        points = np.eye(ndim).tolist()
        columns = [image.TransformPhysicalPointToContinuousIndex(point) for point in points]
        matrix = np.array(space.direction) * space.spacing
        np.testing.assert_array_equal(invert(matrix), np.array(columns).T)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_inverse_is_right_for_every_size(size: int) -> None:
    matrix = np.random.default_rng(size).normal(size=(size, size))
    np.testing.assert_allclose(invert(matrix) @ matrix, np.eye(size), atol=1e-10)


def test_singular_values_and_vectors_are_right() -> None:
    matrix = np.random.default_rng(0).normal(size=(4, 4))
    values, vectors = decompose(matrix)
    np.testing.assert_allclose(values, np.linalg.svd(matrix)[1])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-12)


def test_single_precision_is_single_throughout() -> None:
    for seed in range(20):
        matrix = np.random.default_rng(seed).normal(size=(3, 3)).astype(np.float32)
        values, vectors = decompose(matrix, single=True)
        exact = decompose(matrix)
        for found, expected in zip((values, vectors), exact, strict=True):
            assert np.array_equal(found, found.astype(np.float32))
            np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((3, 3)),
        [[0.0, -1.0], [0.0, 0.0]],  # QR steps do not converge on this one
        [[1.0, 0.0], [0.0, np.nan]],
    ],
)
def test_a_matrix_without_an_inverse_is_refused(matrix: npt.ArrayLike) -> None:
    with pytest.raises(ValueError, match="singular or not finite"):
        invert(matrix)


def test_a_shift_below_the_range_of_numbers_is_none() -> None:
    matrix = np.array([[1, 1e-10, 0], [0, 1e-180, 1e-180], [0, 0, 1e-180]])
    values, vectors = decompose(matrix)
    assert np.all(np.isfinite(vectors))
    np.testing.assert_allclose(values[0], 1.0)
    assert np.all(values[1:] < 1e-179)


def test_factors_are_given_in_double_precision() -> None:
    for single in (False, True):
        values, vectors = decompose(np.diag([2.0, 3.0]), single=single)
        assert values.dtype == vectors.dtype == np.float64
        assert values.tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("whole numbers", "7c1b3e2c141943c2"),
        ("spread", "8fdde72a82f2d744"),
        ("nearly singular", "f32e5cdc610c0a86"),
        ("equal roots", "1a43a5cb8775b19f"),
    ],
)
def test_every_bit_is_as_it_was(kind: str, expected: str) -> None:
    found = hashlib.sha256()
    for matrix in make_matrices(kind):
        for give in (decompose, invert, lambda m: decompose(m, single=True)):
            found.update(list_bytes(give, matrix))
    assert found.hexdigest()[:16] == expected


def make_matrices(kind: str) -> Iterator[npt.NDArray[np.float64]]:
    """Random matrices; those of whole numbers have zeros and equal singular values.

    In those of equal roots, the equation for the shift of the first step has two equal roots.
    """
    if kind == "equal roots":
        for a, b, c in ((3, 4, 5), (7, 24, 25), (12, 35, 37), (33, -56, 65), (48, -55, 73)):
            yield np.array([[a, b], [0.0, c]])
        return
    random = np.random.default_rng(5)
    for _ in range(150):
        size = int(random.integers(1, 5))
        if kind == "whole numbers":
            yield random.integers(-1, 2, (size, size)) * 1.0
        elif kind == "spread":
            yield (random.random((size, size)) - 0.5) * 2.0 ** random.integers(-9, 10, size)
        else:
            thin = random.random((size, max(1, size - 1))) - 0.5
            product = (thin[:, None] * thin).sum(axis=-1)
            yield product + 2.0**-42 * random.random((size, size))


def list_bytes(give: Any, matrix: npt.NDArray[np.float64]) -> bytes:
    """The bytes of an answer, or of its refusal; -0 and 0 count as different."""
    try:
        return b"".join(np.ascontiguousarray(part).tobytes() for part in give(matrix))
    except ValueError:
        return b"refused"
