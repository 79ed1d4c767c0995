"""What tests of formats need."""

from pathlib import Path

import pytest

from n4ax.images import formats


def need(suffix: str) -> None:
    """Skip a test if the library of a format is not installed."""
    try:
        formats.need_library(Path(f"a{suffix}"))
    except ImportError as error:
        pytest.skip(str(error))
