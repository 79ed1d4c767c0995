"""The library of kernels: machine code that was made together with the package.

``python -m n4ax.kernels`` makes the library; so does the build of the package. Its
name tells the kind of machine, and which sources it was made from. So a library that is older than
the kernels is never loaded, and numba compiles the kernels instead.
"""

import ctypes
import hashlib
import logging
import os
import platform
import sys
from functools import cache
from pathlib import Path

KERNELS_VARIABLE = "N4AX_KERNELS"
"""Environment variable. If it is ``numba``, the library is left aside."""

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parent.parent

NEEDED = {"x86_64": ("AVX2", "FMA3"), "aarch64": ()}
"""The extensions of each kind of processor that the library makes use of, in NumPy's words."""

_LOGGER = logging.getLogger("n4ax")


def find_path(folder: Path = FOLDER) -> Path:
    """Find the path of the library that belongs to this machine and to these sources."""
    return folder / f"kernels-{sys.platform}-{platform.machine()}-{_find_stamp()}.so"


@cache
def load_library() -> ctypes.CDLL | None:
    """Load the library; ``None`` if there is none that this machine can use."""
    if os.environ.get(KERNELS_VARIABLE) == "numba":
        return None
    path = find_path()
    if not path.exists() or not _has_extensions():
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
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


def _has_extensions() -> bool:
    """Whether this processor has all extensions that the library makes use of."""
    needed = NEEDED.get(platform.machine())
    if not needed:
        return needed is not None
    from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found]

    return all(__cpu_features__.get(name, False) for name in needed)
