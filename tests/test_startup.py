"""What the programs import: nothing that a run does not use, since importing takes time."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import phantom, save

HEAVY = ("numba", "jax", "matplotlib", "rich", "nibabel", "scipy.linalg", "scipy.special")
"""What takes long to import. nibabel imports the front page of SciPy, but nothing behind it."""


def find_heavy(run: str, *words: object) -> set[str]:
    """Run a line of Python in a process of its own, and find what heavy modules it loaded."""
    program = (
        f"import sys; status = {run}\n"
        "assert not status, status\n"
        f"print('loaded:', *(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = set(done.stdout.rpartition("loaded:")[2].split())
    if "numba" in found:  # where kernels are compiled, Numba imports what it needs
        found -= {"numba", "scipy.linalg", "scipy.special"}
    return found


ANTS = "__import__('n4ax.ants.program').ants.program.main()"
N4AX = "__import__('n4ax.cli').cli.main()"


@pytest.mark.parametrize("run", ["__import__('n4ax') and 0", f"{ANTS}", f"{N4AX}"])
def test_import_and_help_load_nothing_heavy(run: str) -> None:
    program = (
        f"import sys; sys.argv.append('--help'); {run}\n"
        f"print('loaded:', *(name for name in {('numpy', 'scipy', *HEAVY)} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.rpartition("loaded:")[2].split() == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_program_of_ants_loads_nothing_heavy(tmp_path: Path, suffix: str) -> None:
    image = save(tmp_path / f"a{suffix}", phantom())
    mask = save(tmp_path / f"mask{suffix}", (phantom() > 100).astype("u1"))
    words = "-d", 3, "-i", image, "-o", tmp_path / f"b{suffix}", "-c", "[2,0]", "-s", 2
    assert find_heavy(ANTS, *words) == set()
    assert find_heavy(ANTS, *words, "-x", mask, "-w", mask, "-r", 1) == set()
    assert find_heavy(ANTS, *words, "-v", 1) == set()


def test_correct_loads_nothing_heavy_but_nibabel(tmp_path: Path) -> None:
    image = save(tmp_path / "a.nii.gz", phantom())
    words = "correct", image, "-o", tmp_path / "b.nii.gz", "--iters", 2, "--shrink-factor", 2
    assert find_heavy(N4AX, *words) == {"nibabel"}
