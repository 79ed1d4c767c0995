"""The map of intensities compared with a direct form of its definition, and its special cases."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from n4ax.method.sharpening import bin_width, sharpened_intensities

FWHM, WIENER = 0.15, 0.01
SINGLE = np.float32(FWHM), np.float32(WIENER)


def sharpen_directly(
    histogram: npt.NDArray[Any], low: float, width: float, size: int
) -> npt.NDArray[Any]:
    """The definition with complex float64 transforms; it shares no code with the module."""
    nbins = len(histogram)
    pad = (size - nbins) // 2
    v = np.zeros(size, complex)
    v[pad : pad + nbins] = histogram
    n = np.arange(size)
    ring = np.minimum(n, size - n)
    scaled = FWHM / width
    gauss = 2 * np.sqrt(np.log(2) / np.pi) / scaled
    blur = np.fft.fft(gauss * np.exp(-4 * np.log(2) * ring**2 / scaled**2))
    g = np.conj(blur) / (np.conj(blur) * blur + WIENER)
    u = np.maximum(np.fft.ifft(np.fft.fft(v) * g.real).real, 0)
    centres = low + (n - pad) * width
    weighted = np.fft.ifft(np.fft.fft(centres * u) * blur).real
    total = np.fft.ifft(np.fft.fft(u) * blur).real
    inner = slice(pad, pad + nbins)
    return weighted[inner] / total[inner]


@pytest.mark.parametrize(
    ("nbins", "size"), [(200, 512), (100, 256), (128, 512), (64, 256), (256, 1024), (3, 8)]
)
def test_map_equals_its_definition_on_itks_padding(nbins: int, size: int) -> None:
    # Powers of two are padded to four times their size: ITK's float32 logarithm comes out just
    # above the true one.
    x = np.arange(nbins)
    peaks = ((0.3, 900.0), (0.7, 500.0))
    histogram = sum(a * np.exp(-(((x / nbins - c) / 0.1) ** 2)) for c, a in peaks) + 5.0
    low, width = np.float32(3.0), bin_width(np.float32(3.0), np.float32(5.0), nbins)
    found = sharpened_intensities(histogram, low, width, *SINGLE)
    expected = sharpen_directly(histogram, 3.0, float(width), size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=3e-6)


def test_peaks_are_pulled_together() -> None:
    x = np.linspace(-1, 1, 200)
    histogram = 1e4 * np.exp(-((x / 0.08) ** 2))
    width = bin_width(np.float32(4.0), np.float32(6.0), 200)
    expected = sharpened_intensities(histogram, np.float32(4.0), width, *SINGLE)
    near = np.abs(x) < 0.15
    centres = 4.0 + np.arange(200) * width
    assert np.ptp(expected[near]) < 0.7 * np.ptp(centres[near])


@pytest.mark.parametrize("peak", [20, 71, 100, 179])
def test_a_single_narrow_peak_stays_and_draws_its_surroundings(peak: int) -> None:
    histogram = np.zeros(200)
    histogram[peak] = 1000.0
    low, width = np.float32(2.0), bin_width(np.float32(2.0), np.float32(4.0), 200)
    expected = sharpened_intensities(histogram, low, width, *SINGLE)
    assert expected[peak] == pytest.approx(low + peak * width, abs=1e-6)
    for bins in (-5, -2, 2, 5):
        moved = (expected[peak + bins] - expected[peak]) / (bins * width)
        assert 0 <= moved < 0.95, bins


@pytest.mark.parametrize("fwhm", [1e-3, 1e-20, 1e-30, 1e-37])
def test_intensities_stay_where_nothing_blurs_them(fwhm: float) -> None:
    """The square of so small a width is 0 in single precision."""
    low, width = np.float32(3.0), bin_width(np.float32(3.0), np.float32(5.0), 200)
    histogram = np.random.default_rng(0).random(200) * 100 + 1
    with np.errstate(all="ignore"):
        found = sharpened_intensities(histogram, low, width, np.float32(fwhm), np.float32(WIENER))
    np.testing.assert_allclose(found, 3.0 + np.arange(200) * width, atol=1e-5)


def test_bin_that_nothing_reaches_maps_to_zero() -> None:
    width = bin_width(np.float32(1.0), np.float32(2.0), 200)
    nothing = sharpened_intensities(np.zeros(200), np.float32(1.0), width, *SINGLE)
    assert np.array_equal(nothing, np.zeros(200))


def test_ends_of_the_range_are_bin_centres_in_float32() -> None:
    width = bin_width(np.float32(1.25), np.float32(7.5), 200)
    assert width.dtype == np.float32
    assert width == np.float32(np.float32(6.25) / np.float32(199))
