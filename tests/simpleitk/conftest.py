"""Fixtures for the tests of ``n4ax.simpleitk``."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from n4ax.inputs import Run
from n4ax.settings import N4Settings
from n4ax.simpleitk import execution
from tests.support.simpleitk import Image, get_array, make_image, phantom


@pytest.fixture(autouse=True)
def _restore_global_settings() -> Iterator[None]:
    """Put SimpleITK's global settings back after the test."""
    names = ("NumberOfThreads", "Threader", "CoordinateTolerance", "DirectionTolerance")
    process = sitk.ProcessObject
    before = [getattr(process, f"GetGlobalDefault{name}")() for name in names]
    process.SetGlobalDefaultNumberOfThreads(8)
    yield
    for name, value in zip(names, before, strict=True):
        getattr(process, f"SetGlobalDefault{name}")(value)


@pytest.fixture
def image() -> Image:
    return make_image(phantom())


@pytest.fixture
def mask(image: Image) -> Image:
    """A mask with the labels 1 and 2 in two tissues, and 0 outside."""
    voxels = get_array(image)
    return make_image((voxels > 130).astype(np.uint8) + (voxels > 240), image)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """How the filters ask for each run of N4."""
    calls: list[Run] = []
    fit_image = execution.fit_image

    def note(settings: Any, inputs: Any, run: Run) -> Any:
        calls.append(run)
        return fit_image(settings, inputs, run)

    monkeypatch.setattr(execution, "fit_image", note)
    return calls


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[N4Settings]:
    """The settings of each run of N4."""
    seen: list[N4Settings] = []
    fit_image = execution.fit_image

    def note(settings: N4Settings, inputs: Any, run: Run) -> Any:
        seen.append(settings)
        return fit_image(settings, inputs, run)

    monkeypatch.setattr(execution, "fit_image", note)
    return seen
