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
from typing import Any

import numpy as np

from n4ax.images.arrays import float32_product


def bin_width(lowest: Any, highest: Any, nbins: int) -> Any:
    """Distance of neighbouring bin centres, in log intensity, float32: the ends are centres.

    The quotient is that of float32; in float32, XLA would multiply with the constant's inverse.
    """
    return ((highest - lowest).astype(np.float64) / (nbins - 1)).astype(np.float32)


def sharpened_intensities(histogram: Any, lowest: Any, width: Any, fwhm: Any, wiener: Any) -> Any:
    """The expected true log intensity E at every bin centre.

    Arrays and numbers are NumPy's or JAX's, the numbers float32.

    Parameters
    ----------
    histogram
        Voxels per bin, shared linearly between the two nearest centres, shape (nbins,), float64.
    lowest
        Log intensity of the first bin centre.
    width
        Distance of neighbouring bin centres, in log intensity.
    fwhm
        Full width at half maximum of the bias field's distribution, in log intensity.
    wiener
        Noise term of the Wiener filter.

    Returns
    -------
    array, shape (nbins,), float32
        E; 0 at a bin that nothing reaches.
    """
    xp = histogram.__array_namespace__()
    nbins = len(histogram)
    size = _padded_size(nbins)
    pad = (size - nbins) // 2
    counts = xp.concatenate([xp.zeros(pad), histogram, xp.zeros(size - nbins - pad)])

    spread = _bias_distribution(size, fwhm, width, xp)
    measured, blur = xp.fft.rfft(xp.stack([counts, spread]))
    filtered = (xp.conj(blur) / (xp.conj(blur) * blur + wiener)).real
    true_counts = xp.maximum(xp.fft.irfft(measured * filtered, size), 0.0)

    centres = lowest + float32_product(np.arange(-pad, size - pad, dtype=np.float32), width)
    moments = xp.stack([centres.astype(xp.float64) * true_counts, true_counts])
    weighted, total = xp.fft.irfft(xp.fft.rfft(moments) * blur, size)
    reached = total != 0
    expected = xp.where(reached, weighted / xp.where(reached, total, 1.0), 0.0)
    return expected[pad : pad + nbins].astype(xp.float32)


def _padded_size(nbins: int) -> int:
    """Twice the next power of two, as ITK finds it: from a float32 logarithm.

    That comes out just above the true one for powers of two, which are so padded fourfold.
    """
    return 2 ** (ceil(float(np.float32(log(nbins))) / log(2.0)) + 1)


def _bias_distribution(size: int, fwhm: Any, width: Any, xp: Any) -> Any:
    """A normalised Gaussian in bin units, circular around index 0, of full width ``fwhm``."""
    scaled = fwhm / width
    exponent = np.float32(4.0 * log(2.0)) / (scaled * scaled)
    height = np.float32(2.0 * sqrt(log(2.0) / pi)) / scaled
    n = np.arange(size)
    distance = np.minimum(n, size - n).astype(np.float32)
    # Rounded to float32 from a double exponential, which is the same on every machine.
    gaussian = xp.exp(-(distance * distance * exponent).astype(xp.float64)).astype(xp.float32)
    return (height * gaussian).astype(xp.float64)
