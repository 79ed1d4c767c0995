"""Images that lie anywhere in space, for comparisons with ITK."""

import numpy as np
import SimpleITK as sitk

from n4ax.itk.space import Space

SPACINGS = (1.0, 1.2, 0.9, 0.7, 2.0, 0.9375, 1 / 3, 5.5)
"""Voxel sizes in mm; most of them are no binary fractions, so that products are rounded."""


def random_image(seed: int, ndim: int) -> tuple[sitk.Image, Space]:
    """An oblique image in which the value of every voxel is the voxel's number."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(ndim, ndim)))[0]
    if seed % 4 == 0:
        turn = np.eye(ndim)[random.permutation(ndim)] * random.choice([-1, 1], ndim)
    shape = tuple(int(n) for n in random.integers(6, 24, ndim))
    voxels = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    image = sitk.GetImageFromArray(voxels.T)
    image.SetSpacing([float(s) for s in random.choice(SPACINGS, ndim)])
    image.SetOrigin(random.normal(0, 80, ndim).tolist())
    image.SetDirection(turn.ravel().tolist())
    rows = np.reshape(image.GetDirection(), (ndim, ndim)).tolist()
    space = Space(image.GetSpacing(), image.GetOrigin(), tuple(tuple(row) for row in rows))
    return image, space
