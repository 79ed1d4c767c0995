"""Histogram sharpening (N3, Sled 1998): from the histogram of the log intensities to their map.

The histogram V of the corrected log intensities is taken to be the true histogram U blurred by
a Gaussian F, the distribution of the bias field. A Wiener filter estimates U,

    G = conj(F) / (|F|^2 + noise),   U = max(0, V * G),

and the expected true intensity of a voxel measured in bin n is

    E[n] = (F * (x U))[n] / (F * U)[n],   x the centres of the bins.

Types follow ITK: parameters and bin centres float32, the Fourier transforms double.

References
----------
J. G. Sled, A. P. Zijdenbos, A. C. Evans, "A nonparametric method for automatic correction of
intensity nonuniformity in MRI data", IEEE Transactions on Medical Imaging 17(1), 1998,
doi:10.1109/42.668698.
"""

from math import ceil, log, pi, sqrt

import numpy as np
import numpy.typing as npt

from n4ax.settings import N4Settings


def bin_width(lowest: np.float32, highest: np.float32, nbins: int) -> np.float32:
    """Distance of neighbouring bin centres, in log intensity: the ends are centres."""
    return np.float32((highest - lowest) / np.float32(nbins - 1))


def sharpened_intensities(
    histogram: npt.NDArray[np.float64],
    lowest: np.float32,
    width: np.float32,
    settings: N4Settings,
) -> npt.NDArray[np.float32]:
    """The expected true log intensity E at every bin centre.

    Parameters
    ----------
    histogram
        Voxels per bin, shared linearly between the two nearest centres, shape (nbins,).
    lowest
        Log intensity of the first bin centre.
    width
        Distance of neighbouring bin centres, in log intensity.
    settings
        ``nbins``, ``fwhm`` and ``wiener`` are used.

    Returns
    -------
    ndarray, shape (nbins,), float32
        E; 0 at a bin that nothing reaches.
    """
    nbins = settings.nbins
    size = _padded_size(nbins)
    pad = (size - nbins) // 2
    counts = np.zeros(size)
    counts[pad : pad + nbins] = histogram

    blur = np.fft.rfft(_bias_distribution(size, settings.fwhm, width))
    wiener = (np.conj(blur) / (np.conj(blur) * blur + np.float32(settings.wiener))).real
    true_counts = np.maximum(np.fft.irfft(np.fft.rfft(counts) * wiener, size), 0.0)

    centres = lowest + (np.arange(size, dtype=np.float32) - np.float32(pad)) * width
    weighted = np.fft.irfft(np.fft.rfft(centres.astype(np.float64) * true_counts) * blur, size)
    total = np.fft.irfft(np.fft.rfft(true_counts) * blur, size)
    expected = np.divide(weighted, total, out=np.zeros(size), where=total != 0)
    return expected[pad : pad + nbins].astype(np.float32)


def _padded_size(nbins: int) -> int:
    """Twice the next power of two, as ITK finds it: from a float32 logarithm.

    That comes out just above the true one for powers of two, which are so padded fourfold.
    """
    return 2 ** (ceil(float(np.float32(log(nbins))) / log(2.0)) + 1)


def _bias_distribution(size: int, fwhm: float, width: np.float32) -> npt.NDArray[np.float64]:
    """A normalised Gaussian in bin units, circular around index 0, of full width ``fwhm``."""
    scaled = np.float32(np.float32(fwhm) / width)
    exponent = np.float32(4.0 * log(2.0) / (scaled * scaled))
    height = np.float32(2.0 * sqrt(log(2.0) / pi) / scaled)
    n = np.arange(size)
    distance = np.minimum(n, size - n).astype(np.float32)
    # Rounded to float32 from a double exponential, which is the same on every machine.
    gaussian = np.exp(-(distance * distance * exponent).astype(np.float64)).astype(np.float32)
    return (height * gaussian).astype(np.float64)
