"""The Fourier transform of ITK 5 in double precision."""

import numpy as np
import pytest

from n4ax.engines.itk.fourier import transform

SIZES = [2**power for power in range(2, 13)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("direction", [1, -1])
def test_it_is_the_unnormalised_transform_of_each_row(size: int, direction: int) -> None:
    real, imaginary = np.random.default_rng(size).normal(size=(2, 3, size))
    found = transform(real, imaginary, direction)
    values = real + 1j * imaginary
    expected = np.fft.ifft(values) * size if direction == 1 else np.fft.fft(values)
    error = np.abs(found[0] + 1j * found[1] - expected).max() / np.abs(expected).max()
    assert error < 2e-15


@pytest.mark.parametrize("size", SIZES)
def test_a_row_has_the_same_bits_alone(size: int) -> None:
    real, imaginary = np.random.default_rng(size).normal(size=(2, 3, size))
    together, alone = transform(real, imaginary, 1), transform(real[1], imaginary[1], 1)
    np.testing.assert_array_equal(together[0][1], alone[0])
    np.testing.assert_array_equal(together[1][1], alone[1])


@pytest.mark.parametrize("size", [64, 128, 512])
def test_a_length_is_done_in_passes_of_four_with_a_two_or_an_eight_in_the_middle(size: int) -> None:
    """The textbook's recursion by halves has other last bits: the order of the passes matters."""

    def halve(values: np.ndarray) -> np.ndarray:
        if len(values) == 1:
            return values
        even, odd = halve(values[::2]), halve(values[1::2])
        turned = odd * np.exp(2j * np.pi * np.arange(len(odd)) / len(values))
        return np.concatenate([even + turned, even - turned])

    real = np.random.default_rng(size).normal(size=size)
    found = transform(real, np.zeros(size), 1)[0]
    other = halve(real.astype(complex)).real
    np.testing.assert_allclose(found, other, rtol=0, atol=1e-12)
    assert (found != other).any()
