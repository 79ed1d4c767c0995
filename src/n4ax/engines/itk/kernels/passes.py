"""Kernels for the passes of a Fourier transform; :mod:`n4ax.engines.itk.fourier` explains them.

``a`` and ``b`` are the real and imaginary parts before a pass, ``x`` and ``y`` those after it, all
of shape (rows, size). ``done`` is the product of the radices of the earlier passes. Before a pass,
number ``k`` of sub-transform ``done`` lies at ``(done, k)``, where k runs over the radix and over
what is left; after it, the outputs of the pass vary faster than what is left.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np

from n4ax.engines.compiled.kernel import compile_kernel


@compile_kernel(inline=True)
def _put(x, y, r, at, re, im, turns, angle):
    """Store a number, turned by an angle of the table, which is 0 for none."""
    cosines, sines = turns
    if angle == 0:
        x[r, at], y[r, at] = re, im
    else:
        co, si = cosines[angle], sines[angle]
        x[r, at], y[r, at] = co * re - si * im, si * re + co * im


@compile_kernel()
def pass_2(a, b, x, y, turns, done, sign):
    """Combine pairs; a quarter of a turn exchanges the parts instead of multiplying them."""
    left = a.shape[1] // (2 * done)
    for r in range(a.shape[0]):
        for i in range(done):
            for k in range(left):
                p, q = 2 * left * i + k, 2 * left * i + left + k
                first, second = left * i + k, left * (done + i) + k
                t, u = a[r, p] - a[r, q], b[r, p] - b[r, q]
                x[r, first], y[r, first] = a[r, p] + a[r, q], b[r, p] + b[r, q]
                if k > 0 and 2 * k == left:
                    x[r, second], y[r, second] = -sign * u, sign * t
                else:
                    _put(x, y, r, second, t, u, turns, k * done)


@compile_kernel()
def pass_4(a, b, x, y, turns, done, sign):
    """Combine four numbers each."""
    left = a.shape[1] // (4 * done)
    step = left * done
    for r in range(a.shape[0]):
        for i in range(done):
            for k in range(left):
                p = 4 * left * i + k
                p1, p2, p3 = p + left, p + 2 * left, p + 3 * left
                t0, t2 = a[r, p] + a[r, p2], a[r, p] - a[r, p2]
                t1, t3 = a[r, p1] + a[r, p3], sign * (a[r, p1] - a[r, p3])
                u0, u2 = b[r, p] + b[r, p2], b[r, p] - b[r, p2]
                u1, u3 = b[r, p1] + b[r, p3], sign * (b[r, p1] - b[r, p3])
                at, angle = left * i + k, k * done
                x[r, at], y[r, at] = t0 + t1, u0 + u1
                _put(x, y, r, at + step, t2 - u3, u2 + t3, turns, angle)
                _put(x, y, r, at + 2 * step, t0 - t1, u0 - u1, turns, 2 * angle)
                _put(x, y, r, at + 3 * step, t2 + u3, u2 - t3, turns, 3 * angle)


@compile_kernel()
def pass_8(a, b, x, y, turns, done, sign):
    """Combine eight numbers each: the even outputs as in a pass of four."""
    left = a.shape[1] // (8 * done)
    step = left * done
    half = np.sqrt(0.5)
    for r in range(a.shape[0]):
        for i in range(done):
            for k in range(left):
                p = 8 * left * i + k
                p1, p2, p3 = p + left, p + 2 * left, p + 3 * left
                p4, p5, p6, p7 = p + 4 * left, p1 + 4 * left, p2 + 4 * left, p3 + 4 * left
                at, angle = left * i + k, k * done

                a0, a1 = a[r, p] + a[r, p4], a[r, p1] + a[r, p5]
                a2, a3 = a[r, p2] + a[r, p6], a[r, p3] + a[r, p7]
                b0, b1 = b[r, p] + b[r, p4], b[r, p1] + b[r, p5]
                b2, b3 = b[r, p2] + b[r, p6], b[r, p3] + b[r, p7]
                t0, t2, t1, t3 = a0 + a2, a0 - a2, a1 + a3, sign * (a1 - a3)
                u0, u2, u1, u3 = b0 + b2, b0 - b2, b1 + b3, sign * (b1 - b3)
                x[r, at], y[r, at] = t0 + t1, u0 + u1
                _put(x, y, r, at + 2 * step, t2 - u3, u2 + t3, turns, 2 * angle)
                _put(x, y, r, at + 4 * step, t0 - t1, u0 - u1, turns, 4 * angle)
                _put(x, y, r, at + 6 * step, t2 + u3, u2 - t3, turns, 6 * angle)

                c0, c1 = a[r, p] - a[r, p4], sign * (a[r, p2] - a[r, p6])
                c2, c3 = a[r, p1] - a[r, p5], a[r, p3] - a[r, p7]
                d0, d1 = b[r, p] - b[r, p4], sign * (b[r, p2] - b[r, p6])
                d2, d3 = b[r, p1] - b[r, p5], b[r, p3] - b[r, p7]
                c2, c3 = half * (c2 - c3), (sign * half) * (c2 + c3)
                d2, d3 = half * (d2 - d3), (sign * half) * (d2 + d3)
                t0, t2, t1, t3 = c0 + c2, c0 - c2, c1 - c3, c1 + c3
                u0, u2, u1, u3 = d0 + d2, d0 - d2, d1 - d3, d1 + d3
                _put(x, y, r, at + step, t0 - u3, u0 + t3, turns, angle)
                _put(x, y, r, at + 3 * step, t2 + u1, u2 - t1, turns, 3 * angle)
                _put(x, y, r, at + 5 * step, t2 - u1, u2 + t1, turns, 5 * angle)
                _put(x, y, r, at + 7 * step, t0 + u3, u0 - t3, turns, 7 * angle)
