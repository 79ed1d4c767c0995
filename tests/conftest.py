"""Shared by all tests: where the data lies, and a folder of small images."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.support import slurm
from tests.support.ants import SPACING, phantom

os.environ["N4AX_CACHE_DIR"] = ""  # tests leave nothing in the user's folders

ROOT = Path(__file__).parents[1]
_TOLD = "told"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the large volumes and their oracles, which is not in the repository."""
    folder = ROOT.parent / "shared"
    if not (folder / "oracle").is_dir():
        pytest.skip("the folder ../shared with the large volumes is not here")
    return folder


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say at the end of the tests what one has found, whatever process it ran in."""
    return lambda text: record_property(_TOLD, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have told."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == _TOLD and report.when == "call":
                terminalreporter.write_line(f"{report.head_line}: {text}")


@pytest.fixture(scope="session")
def slurm_configuration() -> Iterator[Path]:
    """The configuration of a real SLURM, which runs as long as the tests."""
    pytest.importorskip("dask_jobqueue")
    reason = slurm.why_not()
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(slurm.running())
        except RuntimeError as error:  # of this machine, not of what is tested
            pytest.skip(f"SLURM is installed, but does not come up here: {error}")
        yield path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image, masks on its grid and on others, and a series."""
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
