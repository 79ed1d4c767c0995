"""Run ``n4ax`` within the tests' process, on small images."""

import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from n4ax.cli import main

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
AFFINE[:3, 3] = -20, -18, -15
"""Oblong voxels, and an origin away from 0."""

QUICK = ["--iters", "3x2", "--conv-threshold", "0"]
"""Options for five iterations, which take a moment."""


def phantom(shape: tuple[int, ...] = (24, 20, 16)) -> npt.NDArray[np.int16]:
    """A bright ball in a darker one, with a shading along the first axis and noise."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.5, radius < 0.9], [800.0, 400.0], 20.0)
    noise = np.random.default_rng(0).normal(0, 8, shape)
    return np.rint(np.maximum(tissue * np.exp(0.3 * at[0]) + noise, 1)).astype(np.int16)


def save(path: Path, voxels: npt.NDArray[Any], affine: npt.NDArray[Any] = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def run(*arguments: object) -> int:
    """Run ``n4ax`` with these arguments, and return its exit status."""
    return main([str(argument) for argument in arguments])


def expect_error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run with bad input, and return the one line that it prints on standard error."""
    before = sorted(Path(str(arguments[1])).parent.glob("*")) if len(arguments) > 1 else []
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"n4ax: error: [^\n]+\n", err), err
    if before:
        assert sorted(Path(str(arguments[1])).parent.glob("*")) == before
    return err


def read_voxels(path: Path) -> npt.NDArray[Any]:
    return np.asarray(nib.load(path).dataobj)
