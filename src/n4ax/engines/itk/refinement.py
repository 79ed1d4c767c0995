"""Knot halving with ITK's rounding: one sum over all coarse control points for each fine one."""

from itertools import product

import numpy as np
import numpy.typing as npt

from n4ax.itk.versions import find_halving_weights


def refine(lattice: npt.NDArray[np.float32], order: int, version: int) -> npt.NDArray[np.float32]:
    """Halve the mesh along every axis, from n to 2n - order control points.

    A fine control point ``i`` depends on the coarse ones from ``i // 2`` on, as far as there are
    any. Its coefficients are products over the axes x, y, z, ... in float32, and the terms are
    added with x varying fastest.
    """
    weights = find_halving_weights(version, order)
    fine = [np.arange(2 * n - order) for n in lattice.shape]
    refined = np.zeros([len(index) for index in fine], np.float32)
    padded = np.pad(lattice, [(0, order + 1)] * lattice.ndim)
    for taps in product(range(order + 1), repeat=lattice.ndim):
        coefficient = np.ones((), np.float32)
        inside = np.ones((), bool)
        for axis in reversed(range(lattice.ndim)):
            shape = [-1 if a == axis else 1 for a in range(lattice.ndim)]
            own = weights[fine[axis] % 2, taps[axis]]
            coefficient = coefficient * own.reshape(shape)
            there = fine[axis] // 2 + taps[axis] < lattice.shape[axis]
            inside = inside & there.reshape(shape)
        coarse = padded[np.ix_(*[i // 2 + tap for i, tap in zip(fine, taps, strict=True)])]
        refined = np.where(inside, refined + coarse * coefficient, refined)
    return refined
