"""Compiled kernels: the library that is made with the package, numba in its place, and threads."""

import gc
import os
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from shutil import which

import numpy as np
import pytest

import n4ax
from n4ax.engines.compiled.arguments import lay_out, take_back
from n4ax.engines.compiled.kernel import Kernel
from n4ax.engines.compiled.library import FOLDER, LEVELS, find_path, load_library
from n4ax.engines.cpu.kernels.evaluation import evaluate_planes
from n4ax.engines.cpu.threads import Threads
from n4ax.engines.itk.kernels.histogram import compute_residuals
from n4ax.engines.itk.kernels.layout import Bins
from n4ax.kernels import LINKERS, BuildError, build

MODULE = """
from n4ax.engines.compiled.kernel import compile_kernel

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
    pytest.importorskip("numba")
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


needs_library = pytest.mark.skipif(
    not (sys.platform == "linux" and platform.machine() in LEVELS and any(map(which, LINKERS))),
    reason="the library of kernels cannot be made on this machine",
)


@needs_library
def test_library_was_made_from_these_sources() -> None:
    for level in LEVELS[platform.machine()]:
        assert find_path(level).exists(), "run `make kernels`"
    assert load_library() is not None


SOLVE = """
import hashlib, sys
import numpy as np
import n4ax

image = np.random.default_rng(3).gamma(3, 40, (23, 20, 18))
weights = np.random.default_rng(4).random(image.shape)
digest = hashlib.sha256()
for arithmetic in ("limit", "itk"):
    for order in (1, 2, 3, 4):
        single, turned = image.astype(np.float32), image[:, ::2, ::-1]
        for given in (image, single, image[5].astype(np.int16), turned):
            result = n4ax.fit(
                given, weights=weights[: len(given)] if given.shape == image.shape else None,
                spline_order=order, iters=(4, 3), conv_threshold=1e-4, arithmetic=arithmetic,
                num_threads=2,
            )
            for part in (result.field.control_points, result.corrected, result.log_bias):
                digest.update(np.ascontiguousarray(part).tobytes())
            digest.update(str(result.convergence).encode())
print(digest.hexdigest(), "numba" in sys.modules)
"""


def solve(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SOLVE], env=os.environ | environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@needs_library
@pytest.mark.slow
def test_library_has_all_kernels_and_the_bits_of_numba() -> None:
    digest, imported = solve()
    assert imported == "False"
    assert solve(N4AX_KERNELS="numba") == [digest, "True"]


def test_library_of_other_sources_is_left_aside(tmp_path: Path) -> None:
    source = Path(n4ax.__file__).parent
    shutil.copytree(source, tmp_path / "n4ax", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from n4ax.engines.compiled.library import FOLDER, load_library;"
        "print(FOLDER, load_library() is not None)"
    )

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    folder = tmp_path / "n4ax" / "engines" / "compiled"
    assert run() == f"{folder} {load_library() is not None}\n"
    with (folder.parent / "cpu" / "kernels" / "layout.py").open("a") as file:
        file.write("# changed\n")
    assert run() == f"{folder} False\n"


def test_without_a_linker_the_build_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("n4ax.kernels._start_process", lambda *task: None)
    monkeypatch.setattr("n4ax.kernels._finish", lambda process: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BuildError, match="linker"):
        build(tmp_path)
    assert not list(tmp_path.iterdir())


def test_arguments_are_laid_out_in_slots() -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    laid = lay_out((7, True, (array, Bins(np.float32(1), np.float32(-2))), 0.5))
    assert laid.kinds == "ibi82ssd"
    assert laid.slots[:2] == [7, 1]
    assert laid.slots[2:5] == [array.ctypes.data, 2, 3]
    numbers = np.array(laid.slots[5:], np.int64)
    assert numbers[:2].astype(np.uint32).view(np.float32).tolist() == [1, -2]
    assert numbers[2:].view(np.float64).tolist() == [0.5]
    assert lay_out(laid) is laid
    assert take_back((1, laid))[1][2][0] is array
    assert lay_out(array.T)[:2] == ("?", [0])
    assert lay_out(None) == ("?", [0], None)


def test_arrays_that_are_not_contiguous_go_to_numba() -> None:
    pytest.importorskip("numba")
    bins = Bins(np.float32(0.5), np.float32(0.25))
    expected = np.linspace(0, 1, 9).astype(np.float32)
    whole = np.linspace(0.4, 3.1, 40).astype(np.float32)
    found, spread = whole.copy(), np.repeat(whole, 2)
    compute_residuals(0, 40, bins, expected, found)
    compute_residuals(0, 40, bins, expected, spread[::2])
    np.testing.assert_array_equal(spread[::2], found)
    assert not np.array_equal(found, whole)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_threads_share_many_short_jobs(count: int) -> None:
    values = np.arange(1000, dtype=np.float32).reshape(1000, 1)
    expected = np.full(9, 0.5, np.float32)
    with Threads(count) as threads:
        for number in range(300):
            flat = values.ravel().copy()
            threads.run(
                len(flat), compute_residuals, Bins(np.float32(0), np.float32(200)), expected, flat
            )
            np.testing.assert_array_equal(flat, values.ravel() - np.float32(0.5))
            if number % 100 == 50:
                threading.Event().wait(0.01)  # helpers fall asleep, and are woken


def test_no_helper_stays_behind() -> None:
    before = threading.active_count()
    image = np.random.default_rng(0).gamma(3, 40, (40, 40, 40)).astype(np.float32)
    n4ax.n4(image, mask="all", iters=(3,), num_threads=4)
    assert threading.active_count() == before


def test_prepared_jobs_keep_their_arrays() -> None:
    """The arguments of a prepared job outlive the names that they were given by."""
    with Threads(2) as threads:
        flat = np.zeros(64, np.float32)
        job = threads.prepare(
            64,
            compute_residuals,
            Bins(np.float32(-1), np.float32(0.5)),
            np.ones(9, np.float32),
            flat,
        )
        gc.collect()
        np.full((1000, 9), np.nan, np.float32)
        job()
    np.testing.assert_array_equal(flat, np.full(64, -1, np.float32))


def test_kernels_of_all_engines_are_kernels() -> None:
    assert isinstance(evaluate_planes, Kernel)
    assert evaluate_planes.takes_range
    assert evaluate_planes.name == "cpu.evaluation.evaluate_planes"


def test_libraries_hold_no_path_of_the_machine_that_made_them() -> None:
    libraries = list(FOLDER.glob("kernels-*.so"))
    if not libraries:
        pytest.skip("there are no libraries of kernels here")
    for library in libraries:
        assert b".py" not in library.read_bytes()
