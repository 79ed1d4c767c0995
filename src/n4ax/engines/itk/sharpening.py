"""Histogram sharpening with ITK's arithmetic; :mod:`n4ax.method.sharpening` says what it does."""

from math import log, pi, sqrt

import numpy as np
import numpy.typing as npt

from n4ax.engines.itk.libm import exponentiate, exponentiate_one
from n4ax.itk.fourier import Parts, Values, transform
from n4ax.itk.versions import RULES
from n4ax.method.sharpening import pad_size


def sharpen(
    histogram: npt.NDArray[np.float32],
    bins: tuple[np.float32, np.float32],
    fwhm: np.float32,
    wiener: np.float32,
    version: int,
) -> npt.NDArray[np.float32]:
    """Compute the expected true log intensity at every bin centre.

    Parameters
    ----------
    histogram
        Number of voxels per bin, shape (nbins,).
    bins
        Log intensity of the first bin centre, and the distance of neighbouring centres.
    fwhm, wiener
        As for :func:`n4ax.method.sharpening.sharpened_intensities`.
    version
        The version of ITK, 5 or 6.
    """
    lowest, width = bins
    nbins = len(histogram)
    size = pad_size(nbins)
    pad = (size - nbins) // 2
    forward, backward = _choose_transforms(version)
    counts = np.zeros(size)
    counts[pad : pad + nbins] = histogram
    spread = _make_distribution(size, fwhm, width)

    real, imaginary = forward(*_as_complex(np.stack([counts, spread])))
    measured, blur = (real[0], imaginary[0]), (real[1], imaginary[1])
    # The product of a number and its conjugate has an imaginary part of exactly 0.
    squared = blur[0] * blur[0] - (-blur[1]) * blur[1]
    gain = blur[0] / (squared + float(wiener))
    true_counts = np.maximum(backward(measured[0] * gain, measured[1] * gain)[0], 0.0)

    centres = lowest + (np.arange(size, dtype=np.float32) - np.float32(pad)) * width
    moments = np.stack([centres.astype(np.float64) * true_counts, true_counts])
    a, b = forward(*_as_complex(moments))
    product = (a * blur[0] - b * blur[1], a * blur[1] + b * blur[0])
    weighted, total = backward(*product)[0]
    expected = np.where(total != 0, weighted / total, 0.0)
    return expected[pad : pad + nbins].astype(np.float32)


def _as_complex(real: Values) -> Parts:
    return real, np.zeros_like(real)


def _make_distribution(size: int, fwhm: np.float32, width: np.float32) -> Values:
    """Make the Gaussian that the histogram is blurred with, circular around index 0."""
    scaled = fwhm / width
    factor = np.float32(4.0 * log(2.0) / np.float64(scaled * scaled))
    height = np.float32(2.0 * sqrt(log(2.0) / pi) / np.float64(scaled))
    half = size // 2
    distance = np.arange(half, dtype=np.float32)
    gaussian = height * exponentiate(-(distance * distance) * factor)
    gaussian[0] = height
    # ITK computes the value in the middle by itself, in double.
    middle = float(height) * exponentiate_one(0.25 * -(float(size) ** 2) * float(factor))
    return np.concatenate([gaussian.astype(np.float64), [middle], gaussian[:0:-1]])


def _choose_transforms(version: int):
    """Choose the forward and the backward Fourier transform of a version, on parts."""
    if not RULES[version].has_pocketfft:
        return (lambda a, b: transform(a, b, 1)), (lambda a, b: transform(a, b, -1))

    def forward(real: Values, imaginary: Values) -> Parts:
        result = np.fft.fft(real + 1j * imaginary)
        return result.real, result.imag

    def backward(real: Values, imaginary: Values) -> Parts:
        result = np.fft.ifft(real + 1j * imaginary, norm="forward")
        return result.real, result.imag

    return forward, backward
