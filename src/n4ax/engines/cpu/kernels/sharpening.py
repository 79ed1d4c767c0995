"""The kernel that sharpens a histogram; :mod:`n4ax.method.sharpening` says what it computes.

All values are real, so that one complex Fourier transform serves two of them: the histogram and
the Gaussian, and later the two convolutions with the Gaussian. The transform is Stockham's, which
puts its result in order by itself: every pass combines four numbers that lie a quarter of what is
left apart, or two numbers in the last pass of an odd power of two.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numpy import float32, float64, uint64

from n4ax.engines.compiled.kernel import compile_kernel


@compile_kernel()
def sharpen_counts(counts, bins, parameters, turns, work, expected):
    """Set ``expected`` to the expected log intensity at each bin centre.

    Parameters
    ----------
    counts
        Number of voxels per bin, shape (nbins,).
    bins
        Log intensity of the first bin centre, and the width of a bin, float32.
    parameters
        Full width at half maximum of the Gaussian and the noise of the Wiener filter, and the
        numbers ``4 ln 2`` and ``2 sqrt(ln 2 / pi)``, float32.
    turns
        Cosines and sines of all whole multiples of 2 pi / size, shape (2, size).
    work
        Room, shape (5, size).
    expected
        The result, shape (nbins,).
    """
    lowest, width = bins[0], bins[1]
    four_ln_2, height = parameters[2], parameters[3]
    nbins, size = uint64(len(counts)), uint64(work.shape[1])
    pad = (size - nbins) >> uint64(1)
    a, b, blur, x, y = work[0], work[1], work[2], work[3], work[4]
    total = counts.sum()
    if total == 0.0 and np.isfinite(width):  # no intensity reaches any bin
        expected[:] = float32(0)
        return
    scale = _find_scale(total)
    for i in range(size):
        a[i] = 0.0
    for i in range(nbins):
        a[pad + i] = counts[i] * scale
    _fill_gaussian(b, parameters[0] / width, four_ln_2, height)
    _transform(a, b, x, y, turns)
    _filter(a, b, blur, float64(parameters[1]))
    _transform(b, a, y, x, turns)  # backwards: the parts change places
    for i in range(size):
        count = 0.0 if a[i] < 0.0 else a[i]
        centre = lowest + (float32(i) - float32(pad)) * width
        a[i], b[i] = float64(centre) * count, count
    _transform(a, b, x, y, turns)
    for i in range(size):
        a[i], b[i] = a[i] * blur[i], b[i] * blur[i]
    _transform(b, a, y, x, turns)
    for i in range(nbins):
        value, total = a[pad + i], b[pad + i]
        expected[i] = float32(value / total) if total != 0.0 else float32(0)


@compile_kernel()
def _find_scale(total):
    """Find a power of two that brings the sum of the counts near to 1, that of the Gaussian."""
    scale = 1.0
    while total * scale > 1.0:
        scale *= 0.5
    return scale


@compile_kernel()
def _fill_gaussian(values, scaled, four_ln_2, height):
    """Set ``values`` to a Gaussian around place 0, whose full width is ``scaled`` bins."""
    size = uint64(len(values))
    exponent = four_ln_2 / (scaled * scaled)
    height = height / scaled
    values[0] = float64(height)
    for i in range(uint64(1), (size >> uint64(1)) + uint64(1)):
        distance = float32(i)
        gaussian = float32(np.exp(float64(-(distance * distance * exponent))))
        values[i] = float64(height * gaussian)
        values[size - i] = values[i]


@compile_kernel()
def _filter(a, b, blur, noise):
    """Deconvolve: ``a`` and ``b`` turn from the joint transform into that of the true counts.

    The transform of real numbers at ``-k`` is the conjugate of that at ``k``, which parts the two
    that were transformed together. ``blur`` is set to the transform of the Gaussian, which is real
    because the Gaussian is symmetric.
    """
    size = uint64(len(a))
    for k in range((size >> uint64(1)) + uint64(1)):
        m = (size - k) & (size - uint64(1))
        re, im = 0.5 * (a[k] + a[m]), 0.5 * (b[k] - b[m])
        gauss = 0.5 * (b[k] + b[m])
        gain = gauss / (gauss * gauss + noise)
        blur[k] = blur[m] = gauss
        a[k], b[k] = re * gain, im * gain
        a[m], b[m] = a[k], -b[k]


@compile_kernel()
def _transform(a, b, x, y, turns):
    """Transform the complex numbers ``a + i b`` in place, unnormalised, in the room ``x, y``."""
    size = uint64(len(a))
    left, done = size, uint64(1)
    there = False
    while left > uint64(1):
        radix = uint64(4) if left & uint64(3) == uint64(0) else uint64(2)
        if there:
            _pass(x, y, a, b, turns, left // radix, done)
        else:
            _pass(a, b, x, y, turns, left // radix, done)
        there = not there
        left //= radix
        done *= radix
    if there:
        for i in range(size):
            a[i], b[i] = x[i], y[i]


@compile_kernel()
def _pass(a, b, x, y, turns, left, done):
    """One pass over all numbers: ``left`` groups of ``done`` numbers each."""
    if uint64(4) * left * done == uint64(len(a)):
        for p in range(left):
            _combine_four(a, b, x, y, turns, p, left * done, done)
    else:
        for q in range(done):
            x[q], y[q] = a[q] + a[q + done], b[q] + b[q + done]
            x[q + done], y[q + done] = a[q] - a[q + done], b[q] - b[q + done]


@compile_kernel()
def _combine_four(a, b, x, y, turns, p, step, done):
    """Combine group ``p`` with the groups that lie one, two and three ``step`` further."""
    turn = p * done
    c1, s1 = turns[0, turn], turns[1, turn]
    twice, thrice = uint64(2) * turn, uint64(3) * turn
    c2, s2 = turns[0, twice], turns[1, twice]
    c3, s3 = turns[0, thrice], turns[1, thrice]
    first, out = turn, uint64(4) * turn
    for q in range(done):
        i = first + q
        j = i + step
        k = j + step
        m = k + step
        t0, t1, t2, t3 = a[i] + a[k], a[i] - a[k], a[j] + a[m], a[j] - a[m]
        u0, u1, u2, u3 = b[i] + b[k], b[i] - b[k], b[j] + b[m], b[j] - b[m]
        o = out + q
        x[o], y[o] = t0 + t2, u0 + u2
        o += done
        re, im = t1 + u3, u1 - t3
        x[o], y[o] = c1 * re + s1 * im, c1 * im - s1 * re
        o += done
        re, im = t0 - t2, u0 - u2
        x[o], y[o] = c2 * re + s2 * im, c2 * im - s2 * re
        o += done
        re, im = t1 - u3, u1 + t3
        x[o], y[o] = c3 * re + s3 * im, c3 * im - s3 * re
