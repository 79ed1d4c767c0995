"""A tiny correction in a process of its own: ``python -m reliability.fuzz.environment_child``.

It prints the bits of :func:`n4ax.n4`, and what the program of ANTs and ``n4ax correct`` said.
"""

import sys
import zlib
from pathlib import Path

import numpy as np

import n4ax
from n4ax.ants.program import main as run_ants
from n4ax.cli import main as run_n4ax


def digest(content: bytes) -> str:
    """A short name for bytes."""
    return f"{zlib.crc32(content):08x}"


def run(folder: Path) -> None:
    """Correct an array, and the image in a folder by both programs."""
    image = np.random.default_rng(5).uniform(40, 120, (9, 8, 7)).astype("f4")
    corrected = n4ax.n4(image, "all", iters=(2, 2))
    print("array", digest(corrected.tobytes()))
    source, target = str(folder / "i.nii"), folder / "o.nii"
    status = run_ants(["-i", source, "-o", str(target), "-s", "1", "-c", "[2x2]"])
    print("ants", status, digest(target.read_bytes()) if status == 0 else "")
    target.unlink(missing_ok=True)
    words = ["correct", source, "-o", str(target), "--iters", "2x2", "--mask", "all", "--quiet"]
    status = run_n4ax(words)
    print("n4ax", status, digest(target.read_bytes()) if status == 0 else "")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
