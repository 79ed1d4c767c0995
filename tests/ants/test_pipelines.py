"""The parameter sets of real pipelines on the packaged head, compared with answers of ANTs.

The answers are part of the repository, so these tests need neither ANTs nor other data.
"""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from n4ax.ants.program import main
from tests.support.ants import CEILING, LARGEST, MEAN, NOISE_FACTOR
from tests.support.pipelines import CASES, make_words, write_images

EVERY = (slice(None, None, 6),) * 3
"""The voxels that scripts/make_ants_oracle.py has kept."""


@pytest.fixture(scope="module")
def oracle() -> Any:
    return np.load(Path(__file__).parents[1] / "data" / "head_ants.npz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    write_images(folder)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_pipeline_has_the_images_of_ants(
    name: str, folder: Path, tmp_path: Path, oracle: Any
) -> None:
    words, corrected, bias = make_words(name, folder), tmp_path / "c.nii", tmp_path / "b.nii"
    assert main([*words, "-o", f"[{corrected},{bias}]"]) == 0
    log_bias = np.log(np.asarray(nib.load(bias).dataobj))[EVERY]
    image = np.asarray(nib.load(corrected).dataobj)[EVERY]
    inside = np.ones(image.shape, bool)
    if "-x" in words:
        inside = np.asarray(nib.load(words[words.index("-x") + 1]).dataobj)[EVERY] != 0
    # ANTs differs from itself by this much at most, over 6 inputs that are changed by one ulp.
    noise = NOISE_FACTOR * json.loads(str(oracle["noise"]))[name]
    expected = oracle[f"{name} corrected"]
    for gap in (
        np.abs(log_bias - oracle[f"{name} log_bias"]),
        np.abs(image - expected) / np.maximum(np.abs(expected), 1),
    ):
        assert gap[inside].mean() <= max(MEAN, noise)
        assert gap[inside].max() <= max(LARGEST, noise)
        if noise <= NOISE_FACTOR * CEILING:
            assert gap[inside].max() <= CEILING
