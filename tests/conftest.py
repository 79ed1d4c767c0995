"""Fixtures for all tests: the folder of the large volumes, SLURM, a folder of small images."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.support import slurm
from tests.support.ants import SPACING, phantom
from tests.support.missing import find_missing_of

os.environ["N4AX_CACHE_DIR"] = ""  # compiled programs are not kept in the user's folders

ROOT = Path(__file__).parents[1]
_TOLD = "told"

LONGEST = (
    "bids/test_interruptions.py", "test_exactness.py", "engines/test_xla.py",
    "documents/test_blocks.py", "arithmetic/test_cached.py", "arithmetic/test_ants.py",
    "engines/test_engine.py", "simpleitk/test_scripts.py", "engines/test_xla_shared.py",
    "bids/test_datalad.py", "bids/test_renewal.py", "bids/test_study.py",
    "engines/test_compiled.py", "transforms/test_loaders.py", "documents/test_types.py",
)  # fmt: skip
"""These files start first, so that no process waits at the end for one that takes long. Those with
few tests come last."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the modules and folders that need a library which is not installed here."""
    is_test = collection_path.match("test_*.py")
    needed = collection_path if is_test else collection_path / "conftest.py"
    return True if needed.is_file() and find_missing_of(needed) else None


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist take the files in the order that they have here."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; skip cases of the XLA engine where JAX is not installed."""
    order = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (order.get(item.path, len(order)), -counts[item.path]))
    if find_spec("jax") is None:
        for item in items:
            given = getattr(getattr(item, "callspec", None), "params", {}).values()
            if any(isinstance(value, str) and value == "xla" for value in given):
                item.add_marker(pytest.mark.skip(reason="jax is not installed"))


def pytest_report_header() -> list[str]:
    """Say which modules are left out."""
    paths = sorted([*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "tests").rglob("conftest.py")])
    missing = {str(path.relative_to(ROOT)): find_missing_of(path) for path in paths}
    return [
        f"left out: {name}, since {', '.join(sorted(libraries))} cannot be imported here"
        for name, libraries in missing.items()
        if libraries
    ]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the large volumes and ITK's answers to them, which no clone has."""
    folder = ROOT.parent / "shared"
    if not (folder / "oracle").is_dir():
        pytest.skip("the folder ../shared with the large volumes is not here")
    return folder


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """A function whose text is printed after the tests, from whichever process it is called."""
    return lambda text: record_property(_TOLD, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the texts that tests have given to ``tell``."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == _TOLD and report.when == "call":
                terminalreporter.write_line(f"{report.head_line}: {text}")


@pytest.fixture(scope="session")
def slurm_configuration() -> Iterator[Path]:
    """The configuration of a real SLURM, which runs until the tests end."""
    pytest.importorskip("dask_jobqueue")
    reason = slurm.explain_absence()
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(slurm.run())
        except RuntimeError as error:  # the fault of this machine, not of n4ax
            pytest.skip(f"SLURM is installed, but does not start here: {error}")
        yield path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a test: an image, masks on its grid and on other grids, a series."""
    affine = np.diag([*SPACING, 1.0])
    image = phantom()
    inside = np.zeros(image.shape, np.uint8)
    inside[3:-3, 3:-3, 2:-2] = 1
    shifted = affine.copy()
    shifted[0, 3] += 0.7
    nearly = affine.copy()
    nearly[0, 3] += 1e-4
    for name, voxels, where in (
        ("im.nii.gz", image, affine),
        ("neg.nii.gz", image - 60, affine),
        ("mask.nii.gz", inside, affine),
        ("empty.nii.gz", inside * 0, affine),
        ("shifted.nii.gz", inside, shifted),
        ("nearly.nii.gz", inside, nearly),
        ("smaller.nii.gz", inside[1:], affine),
        ("flat.nii.gz", image[:, :, 9], affine),
        ("series.nii.gz", np.stack([image, image * 1.1, image * 0.9], axis=-1), affine),
    ):
        nib.save(nib.Nifti1Image(voxels, where), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
