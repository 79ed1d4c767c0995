"""Shared by all tests: where the data lies, and SimpleITK as the oracle."""

import os
from pathlib import Path

import pytest

os.environ["N4AX_CACHE_DIR"] = ""  # tests leave nothing in the user's folders

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the large volumes and their oracles, which is not in the repository."""
    folder = ROOT.parent / "shared"
    if not (folder / "oracle").is_dir():
        pytest.skip("the folder ../shared with the large volumes is not here")
    return folder
