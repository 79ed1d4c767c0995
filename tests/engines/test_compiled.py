"""Compiled kernels: what happens where they cannot be kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
from n4ax.engines.cpu.compiled import compile_kernel

@compile_kernel()
def double(value):
    return 2 * value

@compile_kernel()
def quadruple(value):
    return double(double(value))
"""

WITHOUT_SPACE = """
import resource, signal, sys
sys.path.insert(0, {folder!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # a longer file cannot be written
import kernels
print(kernels.quadruple(5), kernels.quadruple(0.5))
"""


def test_kernels_run_where_they_cannot_be_kept(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    (tmp_path / "kernels.py").write_text(MODULE)
    kept = tmp_path / "kept"
    kept.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SPACE.format(folder=str(tmp_path))],
        env=os.environ | {"NUMBA_CACHE_DIR": str(kept), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "20 2.0\n", done.stderr
    assert done.stderr.count("cannot keep its compiled kernels") == 1
    assert not list(kept.rglob("*.nbc"))
