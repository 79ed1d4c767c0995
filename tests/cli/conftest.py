"""An image to run the command line on."""

from pathlib import Path

import pytest

from tests.cli.program import phantom, save


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return save(tmp_path / "scan.nii.gz", phantom())
