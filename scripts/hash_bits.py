"""Print a digest of what n4ax computes here, to compare between machines, processors and versions.

    python scripts/hash_bits.py

The images are made from a formula in whole numbers, so that they are the same everywhere. The
digest is of the control points, of the full field, of its exponential and of the corrected image,
for the settings that lead through all kernels. With ``N4AX_KERNELS`` set to a level of processors
(``v3``, ``v4``) or to ``numba``, these kernels are used.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import numpy.typing as npt

import n4ax
from n4ax.engines.cpu.kernels import evaluation
from n4ax.level import compute_bias

SHAPE = (44, 40, 36)

SETTINGS = {
    "defaults": {"iters": (6, 6, 6)},
    "other order, weights": {"iters": (3, 3), "spline_order": 2, "weights": True},
    "no mask, ANTs": {"iters": (3, 2), "mask": "all", "shrink_factor": 2, "spline_distance": 20.0},
    "exact measure": {"iters": (4, 4), "convergence": "exact"},
    "fast": {"iters": (6, 6), "accelerate": True, "conv_threshold": 0.0},
    "float64": {"iters": (3,), "dtype": np.float64},
    "2-D": {"iters": (5, 5), "plane": 12},
}


def make_image(dtype: npt.DTypeLike = np.float32) -> npt.NDArray[np.floating]:
    """A ball with some noise and a field, of whole numbers up to 4095."""
    z, y, x = np.indices(SHAPE, dtype=np.int64)
    inside = (2 * z - 43) ** 2 + (2 * y - 39) ** 2 + (2 * x - 35) ** 2 < 1300
    noise = (np.arange(z.size, dtype=np.int64).reshape(SHAPE) * 2654435761 >> 7) % 160
    tissue = np.where((x // 6 + y // 7 + z // 5) % 2 == 0, 1100, 1700)
    field = 1000 + 9 * x + 4 * y - 6 * z + x * y // 3
    return np.where(inside, tissue * field // 1000 + noise, noise // 4).astype(dtype)


def run(given: dict[str, object]) -> Iterator[bytes]:
    """Run a case, and give the bytes of its results."""
    keywords = dict(given)
    image = make_image(keywords.pop("dtype", np.float32))  # type: ignore[arg-type]
    plane = keywords.pop("plane", None)
    image = image if plane is None else image[plane]
    if keywords.pop("weights", False):
        keywords["weights"] = 0.5 + (np.arange(image.size).reshape(image.shape) % 7) / 8
    space = {"voxel_order": "C", "spacing": (1.0,) * image.ndim}
    result = n4ax.fit(image, **space, **keywords)  # type: ignore[arg-type]
    yield result.field.control_points.tobytes()
    yield np.ascontiguousarray(result.log_bias).tobytes()
    yield np.ascontiguousarray(result.corrected).tobytes()
    yield compute_bias(np.ascontiguousarray(result.log_bias), result.settings).tobytes()
    yield repr((result.iterations, result.convergence)).encode()


def main() -> int:
    """Print a line of JSON."""
    digests = {name: hashlib.sha256() for name in SETTINGS}
    for name, digest in digests.items():
        for part in run(SETTINGS[name]):
            digest.update(part)
    whole = hashlib.sha256(b"".join(digest.digest() for digest in digests.values()))
    kernels = evaluation.divide_planes
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = None
    row = {
        "digest": whole.hexdigest()[:16],
        "cases": {name: digest.hexdigest()[:8] for name, digest in digests.items()},
        "machine": platform.machine(),
        "kernels": os.environ.get("N4AX_KERNELS", "own choice"),
        "from": "numba" if kernels._dispatcher is not None else "library",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba,
        "n4ax": n4ax.__version__,
    }
    print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
