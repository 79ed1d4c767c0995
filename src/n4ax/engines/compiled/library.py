"""The library of kernels: machine code that was made together with the package.

``python -m n4ax.kernels`` makes the library; so does the build of the package. There is one for
each level of processors. Its name tells the kind of machine, and which sources it was made from. So
a library that is older than the kernels is never loaded, and numba compiles the kernels instead.
"""

import ctypes
import hashlib
import logging
import os
import platform
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np

from n4ax.errors import lacks_memory

KERNELS_VARIABLE = "N4AX_KERNELS"
"""Environment variable. If it is ``numba``, the library is left aside. If it is a level of
processors, such as ``v3``, its library is taken and no other."""

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parent.parent

_AVX512 = ("AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL")

LEVELS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {"v4": ("AVX2", "FMA3", *_AVX512), "v3": ("AVX2", "FMA3")},
    "aarch64": {"v8": ()},
}
"""The levels of each kind of processor, the highest first, and the extensions that they have, in
NumPy's words. All levels have the same bits."""

_LOGGER = logging.getLogger("n4ax")


def find_path(level: str, folder: Path = FOLDER) -> Path:
    """Find the path of the library for a level of this machine that belongs to these sources."""
    return folder / f"kernels-{sys.platform}-{platform.machine()}-{level}-{_find_stamp()}.so"


@cache
def load_library() -> ctypes.CDLL | None:
    """Load the library; ``None`` if there is none that this machine can use."""
    wanted = os.environ.get(KERNELS_VARIABLE)
    if wanted == "numba":
        return None
    for level, extensions in LEVELS.get(platform.machine(), {}).items():
        path = find_path(level)
        if wanted in (None, "", level) and path.exists() and has_extensions(extensions):
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                if lacks_memory(error):  # with more of it, the library can be had
                    raise MemoryError(str(error)) from error
                _LOGGER.warning("n4ax: cannot load its compiled kernels (%s)", error)
    return None


@cache
def _find_stamp() -> str:
    """Find the digest of all sources that decide what is in the library."""
    digest = hashlib.blake2b(digest_size=8)
    sources = [*sorted(PACKAGE.glob("engines/*/kernels/*.py")), FOLDER / "arguments.py"]
    for source in (*sources, PACKAGE / "kernels.py"):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def has_extensions(extensions: tuple[str, ...]) -> bool:
    """Whether this processor has some extensions."""
    if not extensions:
        return True
    core = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    features = import_module(f"{core}._multiarray_umath").__cpu_features__
    return all(features.get(name, False) for name in extensions)
