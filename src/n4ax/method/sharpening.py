"""Histogram sharpening (N3, Sled 1998): a map from measured to expected true log intensities.

The histogram V of the corrected log intensities is modelled as the true histogram U blurred by
a Gaussian F, the distribution of the bias field. A Wiener filter estimates U,

    G = conj(F) / (|F|^2 + noise),   U = max(0, V * G),

and the expected true intensity of a voxel measured in bin n is

    E[n] = (F * (x U))[n] / (F * U)[n],   where x are the bin centres.

Types follow ITK: parameters and bin centres are float32, the Fourier transforms are float64.

References
----------
J. G. Sled, A. P. Zijdenbos, A. C. Evans, "A nonparametric method for automatic correction of
intensity nonuniformity in MRI data", IEEE Transactions on Medical Imaging 17(1), 1998,
doi:10.1109/42.668698.
"""

from math import ceil, log, pi, sqrt
from typing import Any

import numpy as np

from n4ax.itk.rounding import float32_product
from n4ax.namespaces import find_namespace


def bin_width(lowest: Any, highest: Any, nbins: int) -> Any:
    """The distance between neighbouring bin centres in log intensity, float32.

    The first and the last bin are centred on ``lowest`` and ``highest``. The division is done in
    float64 and rounded, which equals a float32 division. A float32 division by a constant would
    become a multiplication by the inverse in XLA.
    """
    return ((highest - lowest).astype(np.float64) / (nbins - 1)).astype(np.float32)


def sharpened_intensities(histogram: Any, lowest: Any, width: Any, fwhm: Any, wiener: Any) -> Any:
    """The expected true log intensity E at every bin centre.

    Arrays and numbers may be NumPy's or JAX's; the numbers are float32.

    Parameters
    ----------
    histogram
        Number of voxels per bin, shape (nbins,), float64. Each voxel is shared linearly between
        the two nearest bin centres.
    lowest
        Log intensity of the first bin centre.
    width
        Distance between neighbouring bin centres, in log intensity.
    fwhm
        Full width at half maximum of the distribution of the bias field, in log intensity.
    wiener
        Noise term of the Wiener filter.

    Returns
    -------
    array, shape (nbins,), float32
        E. It is 0 at bins that no intensity reaches.
    """
    xp = find_namespace(histogram)
    nbins = len(histogram)
    size = pad_size(nbins)
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


def pad_size(nbins: int) -> int:
    """Twice the next power of two, as ITK finds it: from a float32 logarithm.

    For powers of two, that logarithm comes out just above the true one, so they are padded to four
    times their size.
    """
    return 2 ** (ceil(float(np.float32(log(nbins))) / log(2.0)) + 1)


def _bias_distribution(size: int, fwhm: Any, width: Any, xp: Any) -> Any:
    """A normalised Gaussian of full width ``fwhm``, in bins, circular around index 0."""
    scaled = fwhm / width
    exponent = np.float32(4.0 * log(2.0)) / (scaled * scaled)
    height = np.float32(2.0 * sqrt(log(2.0) / pi)) / scaled
    n = np.arange(size)
    distance = np.minimum(n, size - n).astype(np.float32)
    # A float64 exponential that is rounded to float32 is the same on every machine.
    gaussian = xp.exp(-(distance * distance * exponent).astype(xp.float64)).astype(xp.float32)
    # If the width is so small that its square vanishes, the first value would be NaN.
    gaussian = xp.where(distance == 0, np.float32(1), gaussian)
    return (height * gaussian).astype(xp.float64)
