"""The bits of ANTs, which runs here with one thread (one work unit) and with 64 (128 units)."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax.ants
from benchmarks import ants_exactness
from benchmarks.volumes import DATA
from n4ax.ants.program import main
from tests.ants.test_exactness import make_case, write_files
from tests.support import ants
from tests.support.ants import Scan
from tests.support.bits import check_bits, count_differences
from tests.support.long import LONG_TESTS, mark

THREADS = (1, 64)

FIRST_ITERATIONS = 3
"""As many of each level if ANTs takes long and N4AX_LONG_TESTS is not set. The cached answers are
those after all iterations."""

FUNCTION_CASES, QUICK_FUNCTION_CASES = 24, 8
PROGRAM_CASES, QUICK_PROGRAM_CASES = 30, 8
DISTANCES = (12, 20, 33, 50, 100)

FILES = ("ants_c11_pelvis_pd", "ants_c2_t1w_adi", "ants_c3_epi7t", "ants_c7_t1gd", "ants_c8_epi7t")
"""Between them: masks, weights, a mask as weights, rescaling, an oblique header, shrink 2 to 4."""

LONG = ("ants_c7_t1gd",)
"""Those of which the cached answers show as much, and which run with N4AX_LONG_TESTS=1."""


@pytest.fixture(scope="module")
def antspy() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("ants")


@pytest.fixture
def as_itk(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Switch programs to the arithmetic of ITK, as an unchanged pipeline is switched."""
    monkeypatch.setenv("N4AX_ARITHMETIC", "itk")
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", str(threads))


def some_are_slow(count: int, quick: int) -> list[Any]:
    return [n if n < quick else pytest.param(n, marks=pytest.mark.slow) for n in range(count)]


# ---- the function ------------------------------------------------------------------------------


def make_scan(number: int) -> tuple[Scan, dict[str, Any]]:
    """A shaded phantom somewhere in space, and keywords of ANTsPy's function."""
    random = np.random.default_rng(9000 + number)
    ndim = 2 if number % 4 == 3 else 3
    low, high = (40, 70) if ndim == 2 else (18, 31)
    shape = tuple(int(n) for n in random.integers(low, high, ndim))
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.35, radius < 0.6, radius < 0.85], [300.0, 210.0, 120.0], 20.0)
    image = tissue * np.exp(0.3 * at[0] - 0.2 * at[1] ** 2) + random.normal(0, 3, shape)
    image = np.maximum(image, number % 2).astype(np.float32)
    mask = weights = None
    if number % 3:
        mask = (radius < 0.9).astype(np.float32)
    if number % 3 == 2 or number % 5 == 0:
        weights = np.where(radius < 0.8, 0.2 + radius, 0).astype(np.float32)
    direction = np.eye(ndim)
    if number % 2:
        direction = np.linalg.qr(random.normal(size=(ndim, ndim)))[0]
    spacing = tuple(float(z) for z in random.choice([1.0, 0.5, 3.0, 1 / 3, 0.9375, 2.2], ndim))
    origin = tuple(float(n) for n in random.normal(0, 60, ndim))
    return (
        Scan(image, mask, weights, spacing, origin, direction),
        choose_keywords(random, number, ndim),
    )


def choose_keywords(random: np.random.Generator, number: int, ndim: int) -> dict[str, Any]:
    iters = [int(n) for n in random.integers(2, 9, random.integers(1, 4))]
    spline: Any = None
    if number % 3 == 0:
        spline = int(random.choice(DISTANCES))
    elif number % 3 == 1:
        spline = [int(n) for n in random.integers(1, 4, ndim)]
    return {
        "shrink_factor": 1 + number % 4,
        "convergence": {"iters": iters, "tol": float(random.choice([0.0, 1e-7, 1e-3]))},
        "spline_param": spline,
        "rescale_intensities": bool(number % 2),
    }


def run_function(antspy: Any, scan: Scan, keywords: dict[str, Any]) -> dict[str, Any]:
    """What our function makes of the same images: the corrected image and the field."""
    place = {"spacing": scan.spacing, "origin": scan.origin, "direction": scan.direction}
    images = {
        name: antspy.from_numpy(array, **place)
        for name, array in (
            ("image", scan.image),
            ("mask", scan.mask),
            ("weight_mask", scan.weights),
        )
        if array is not None
    }
    return {
        name: n4ax.ants.n4_bias_field_correction(
            **images, **keywords, return_bias_field=bias
        ).numpy()
        for name, bias in (("corrected", False), ("bias", True))
    }


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("number", some_are_slow(FUNCTION_CASES, QUICK_FUNCTION_CASES))
def test_function_has_the_bits_of_antspy(
    antspy: Any, number: int, threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scan, keywords = make_scan(number)
    theirs = ants.call_function(scan, keywords, tmp_path, threads)
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", str(threads))
    ours = run_function(antspy, scan, keywords | {"arithmetic": "itk"})
    for name, expected in theirs.items():
        check_bits(ours[name], expected, name)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.usefixtures("as_itk")
def test_variable_switches_the_function(antspy: Any, threads: int, tmp_path: Path) -> None:
    scan, keywords = make_scan(1)
    theirs = ants.call_function(scan, keywords, tmp_path, threads)
    for name, found in run_function(antspy, scan, keywords).items():
        check_bits(found, theirs[name], name)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_antspy_has_other_bits_with_other_threads(number: int, tmp_path: Path) -> None:
    scan, keywords = make_scan(number)
    one, again, many = (ants.call_function(scan, keywords, tmp_path, n) for n in (1, 1, 64))
    for name, found in one.items():
        assert count_differences(found, again[name]) == 0
        assert count_differences(found, many[name]) > 0


# ---- the program -------------------------------------------------------------------------------


def read_voxels(path: Path) -> npt.NDArray[Any]:
    """The voxels as they are in the file."""
    return np.asarray(nib.load(path).dataobj.get_unscaled())


def check_files(ours: tuple[Path, Path], theirs: tuple[Path, Path]) -> None:
    """Assert that the corrected images and the fields have the same voxels."""
    for found, expected, what in zip(ours, theirs, ("corrected image", "field"), strict=True):
        check_bits(read_voxels(found), read_voxels(expected), what)


def name_outputs(folder: Path, tool: str) -> tuple[Path, Path]:
    return folder / f"{tool}.nii", folder / f"{tool}_bias.nii"


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("seed", some_are_slow(PROGRAM_CASES, QUICK_PROGRAM_CASES))
@pytest.mark.usefixtures("as_itk")
def test_program_has_the_bits_of_ants(seed: int, threads: int, tmp_path: Path) -> None:
    case = make_case(seed)
    words = write_files(case, case.image, tmp_path)
    theirs, ours = (name_outputs(tmp_path, tool) for tool in ("ants", "ours"))
    ants.run(*words, "-o", f"[{theirs[0]},{theirs[1]}]", threads=threads)
    assert main([*words, "-o", f"[{ours[0]},{ours[1]}]"]) == 0
    check_files(ours, theirs)


def write_cached(shared: Path, name: str, folder: Path) -> list[str]:
    """Write the files of a cached case with the header of its volume; return the options.

    ANTs takes half a minute for some cases, so that all but the first get few iterations.
    """
    case = json.loads((shared / "oracle" / f"{name}.json").read_text())
    if name != FILES[0] and not LONG_TESTS:
        case["iters"] = [FIRST_ITERATIONS] * len(case["iters"])
    arrays, _ = ants_exactness.open_case(case)
    header = nib.load(DATA / f"{case['vol']}.nii.gz")
    paths = {}
    for what, voxels in arrays.items():
        paths[what] = folder / f"{what}.nii"
        nib.save(nib.Nifti1Image(voxels, header.affine), paths[what])
    words = ["-d", str(arrays["image"].ndim), "-i", str(paths["image"])]
    places = {"-x": paths.get("mask"), "-w": paths.get("weights")}
    for word in ants_exactness.format_options(case).split():
        words.append(str(places[words[-1]]) if word in ("MASK", "WEIGHTS") else word)
    return words


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=mark(name != FILES[0], name in LONG)) for name in FILES],
)
@pytest.mark.usefixtures("as_itk")
def test_files_of_pipelines_have_the_bits_of_ants(
    shared: Path, name: str, threads: int, tmp_path: Path
) -> None:
    words = write_cached(shared, name, tmp_path)
    theirs, ours = (name_outputs(tmp_path, tool) for tool in ("ants", "ours"))
    done = ants.run_process(*words, "-o", f"[{theirs[0]},{theirs[1]}]", threads=threads)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "n4ax.ants", *words, "-o", f"[{ours[0]},{ours[1]}]"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_files(ours, theirs)


@pytest.mark.parametrize(
    "name",
    [
        "ants_c11_pelvis_pd",
        "ants_c3_epi7t",
        *[
            pytest.param(f"ants_{name}", marks=pytest.mark.slow)
            for name in (
                "c1_t1w_adi", "c2_t1w_adi", "c5_flair_tcga", "c5_t1w_adi", "c6_flair_ms",
                "c7_t1gd", "c8_epi7t", "mesh_uih",
            )
        ],
    ],
)  # fmt: skip
def test_real_volume_has_the_cached_bits_of_ants(shared: Path, name: str) -> None:
    case = json.loads((shared / "oracle" / f"{name}.json").read_text())
    answer = np.load(shared / "oracle" / f"{name}.npz")
    arrays, spacing = ants_exactness.open_case(case)
    found = ants_exactness.correct_case(case, arrays, spacing, **ants_exactness.AS_ANTS)
    at = tuple(answer["index"].T)
    check_bits(found.image[at], answer["corrected"], "corrected image")
    # The cached field is NumPy's logarithm of ANTs' field.
    check_bits(np.log(found.bias[at]), answer["log_bias"], "log field")
