"""The bits of the CPU engines are those that were published, whatever computes them."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import n4ax

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "hash_bits.py"
PAGE = ROOT / "docs" / "installation.md"

pytestmark = pytest.mark.skipif(
    not (SCRIPT.exists() and PAGE.exists()), reason="the sources of the documentation are not here"
)

ITK: dict[str, Any] = {"arithmetic": "itk", "itk_threads": 2, "conv_threshold": 0.0}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "defaults until it rests": ("7910e790", {"iters": (50, 50, 50)}),
    "exact measure until it rests": ("f3a6e13a", {"iters": (50, 50), "convergence": "exact"}),
    "order 1": ("716cd84c", {"iters": (3, 2), "spline_order": 1}),
    "order 5": ("c9dc1358", {"iters": (3, 2), "spline_order": 5}),
    "few bins": ("4d98d9e2", {"iters": (4, 3), "nbins": 60, "fwhm": 0.4, "wiener": 0.1}),
    "many bins": ("5b2fe8b4", {"iters": (4, 3), "nbins": 300, "fwhm": 0.05, "wiener": 0.001}),
    "a mesh for each axis": (
        "866c6b70",
        {"iters": (3, 3), "mesh": (1, 3, 2), "shrink_factor": (2, 1, 3)},
    ),
    "a distance of the spline": (
        "b5d158c1",
        {"iters": (3, 2), "spline_distance": 17.0, "mask": "all"},
    ),
    "over-relaxed": ("98e3d878", {"iters": (4, 4), "over_relax": 1.8}),
    "fast, thinned": ("a47be94d", {"iters": (20, 30), "accelerate": True, "double": True}),
    "fast, weights": ("29c42996", {"iters": (9, 30), "accelerate": True, "weights": True}),
    "two images": ("65812275", {"iters": (4, 3), "two": True}),
    "float64": ("acaa43eb", {"iters": (3,), "dtype": np.float64, "weights": True}),
    "2-D, thresholds": ("be4bdb55", {"iters": (50, 50, 50), "plane": 20, "conv_threshold": 1e-5}),
    "ITK": ("2c4e2d27", {"iters": (4, 3), **ITK}),
    "ITK, order 2, weights": (
        "6be6249c",
        {"iters": (3, 2), "spline_order": 2, "weights": True, **ITK},
    ),
    "ITK, shrunk, 5 threads": (
        "4a71f957",
        {"iters": (4, 3), "shrink_factor": 3, **ITK, "itk_threads": 5},
    ),
    "ITK, 2-D, ANTs": ("8b7d7cb7", {"iters": (5, 4), "plane": 9, "itk_tool": "ants", **ITK}),
    "ITK, float64": (
        "52b6358b",
        {"iters": (3, 3), "dtype": np.float64, "spline_distance": 21.0, **ITK},
    ),
}
"""For each case, the beginning of the digest of its results, and the settings."""


def test_bits_are_those_of_every_other_processor() -> None:
    published = set(re.findall(r"`([0-9a-f]{16})`", PAGE.read_text(encoding="utf-8")))
    done = subprocess.run([sys.executable, str(SCRIPT)], check=True, stdout=subprocess.PIPE)
    assert {json.loads(done.stdout)["digest"]} == published


@pytest.mark.parametrize("name", CASES)
def test_bits_of_further_settings_are_those_of_every_other_processor(name: str) -> None:
    expected, settings = CASES[name]
    digest = hashlib.sha256()
    for part in list_parts(**settings):
        digest.update(part)
    assert digest.hexdigest()[:8] == expected


def list_parts(
    *, dtype: Any = np.float32, plane: int | None = None, double: bool = False,
    weights: bool = False, two: bool = False, **settings: Any,
) -> Iterator[bytes]:  # fmt: skip
    """The control points, fields and corrected images of a case, as bytes, and how it went."""
    from scripts.hash_bits import make_image

    image = make_image(dtype)
    if double:
        image = np.kron(image, np.ones((2, 2, 2), dtype)) + make_image(dtype).repeat(8).reshape(
            [2 * n for n in image.shape]
        ) / dtype(16)
    image = image if plane is None else image[plane]
    if weights:
        settings["weights"] = 0.5 + (np.arange(image.size).reshape(image.shape) % 7) / 8
    if settings.get("accelerate"):
        settings["conv_threshold"] = 0.0
    space: dict[str, Any] = {"voxel_order": "C", "spacing": (1.0,) * image.ndim}
    images = [image, image[::-1] / dtype(2)] if two else [image]
    for result in n4ax.fit(images, shared_field=two, **space, **settings):
        yield result.field.control_points.tobytes()
        yield np.ascontiguousarray(result.log_bias).tobytes()
        yield np.ascontiguousarray(result.corrected).tobytes()
        yield repr((result.iterations, result.convergence)).encode()
