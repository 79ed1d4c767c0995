"""The memory that images need, estimated from their headers and measured."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from n4ax.bids.headers import read_headers
from n4ax.bids.inputs import Source
from n4ax.bids.need import estimate_gigabytes, estimate_need, find_largest
from n4ax.bids.recipe import Recipe
from n4ax.settings import N4Settings
from tests.bids.runs import make_small_study


def make_recipe(dataset: Path) -> Recipe:
    return Recipe(dataset, dataset / "out", N4Settings())


def test_more_voxels_and_more_bytes_need_more() -> None:
    head = estimate_gigabytes((256, 256, 176), np.int16)
    assert 0.5 < head < 1.0
    assert estimate_gigabytes((256, 256, 176), np.float64) > head
    assert estimate_gigabytes((256, 256, 176, 1), np.int16) == head
    assert estimate_gigabytes((512, 512, 352), np.int16) > 4 * head
    two, four = (estimate_gigabytes((256, 256, 176), np.int16, images=n) for n in (2, 4))
    assert head < two < four
    series = estimate_gigabytes((64, 64, 36, 300), np.int16)
    assert 1.0 < series < estimate_gigabytes((64, 64, 36, 300), np.int16, each=True)


def test_the_largest_image_is_found_by_headers(tmp_path: Path) -> None:
    names = [f"sub-{number}/anat/sub-{number}_T1w.nii.gz" for number in range(30)]
    make_small_study(tmp_path, *names)
    scan = nib.load(tmp_path / names[0])
    nib.save(nib.concat_images([scan] * 9), tmp_path / names[17])
    (tmp_path / names[4]).write_bytes(b"no image")
    content = (tmp_path / names[17]).read_bytes()
    (tmp_path / names[17]).write_bytes(content[:1000])  # only the header is read
    recipe = make_recipe(tmp_path)
    groups = [(Source.of(name),) for name in names]
    headers = read_headers(tmp_path, [source for group in groups for source in group])
    largest = find_largest(recipe, groups, headers)
    assert largest.path == names[17]
    assert largest.gigabytes == estimate_gigabytes((*scan.shape, 9), scan.get_data_dtype())
    assert estimate_need(recipe, groups[4], headers) == 0
    three = tuple(Source.of(name) for name in names[:3])
    assert find_largest(recipe, [three], headers).gigabytes == (
        estimate_gigabytes(scan.shape, scan.get_data_dtype(), images=3)
    )
    assert find_largest(recipe, [groups[4]], headers).gigabytes == 0


PROGRAM = """
import sys
from pathlib import Path
from n4ax.bids.inputs import Source
from n4ax.bids.outputs import prepare_output
from n4ax.bids.recipe import Recipe
from n4ax.bids.together import correct_sources
from n4ax.settings import N4Settings

study = Path(sys.argv[1])
recipe = Recipe(study, study / "out", N4Settings(iters=(2, 2, 2, 2)), engine="cpu", threads=1)
prepare_output(study, recipe.output)
sources = [Source.of(name) for name in sys.argv[2:]]
states = [outcome.state for outcome in correct_sources(recipe, sources)]
assert set(states) == {"corrected"}, states
lines = Path("/proc/self/status").read_text().splitlines()
(peak,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
print(peak * 1024 / 1e9)  # ru_maxrss would count the process that has started this one
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory differently")
@pytest.mark.parametrize(
    ("shape", "dtype", "images"),
    [
        ((192, 192, 160), np.int16, 1),
        ((192, 192, 160), np.float64, 1),
        ((128, 128, 96), np.int16, 3),
        ((64, 64, 36, 80), np.int16, 1),
    ],
)
def test_no_image_takes_more_than_was_estimated(
    shape: tuple[int, ...], dtype: type, images: int, tmp_path: Path
) -> None:
    axes = np.ogrid[tuple(slice(-1, 1, 1j * n) for n in shape[:3])]
    ball = 200.0 * (sum(axis**2 for axis in axes) < 0.6) * (1 + 0.3 * axes[0])
    ball += np.random.default_rng(0).random(ball.shape) * 20
    voxels = np.stack([ball] * shape[3], axis=-1) if len(shape) == 4 else ball
    names = [f"sub-1/anat/sub-1_echo-{number}_MEGRE.nii.gz" for number in range(images)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(voxels.astype(dtype), np.eye(4)), tmp_path / name)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, estimate = float(done.stdout), estimate_gigabytes(shape, dtype, images=images)
    assert 0.4 * estimate < peak < estimate
