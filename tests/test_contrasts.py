"""Several images of a subject: a field for each, or one for all."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax

SETTINGS: dict[str, Any] = {"iters": (20, 20, 20), "conv_threshold": 0.0, "shrink_factor": 2}


@pytest.fixture(scope="module")
def head() -> npt.NDArray[np.float32]:
    path = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
    return np.asarray(nib.load(path).dataobj, np.float32)[24:96, 24:100, 24:84]


@pytest.fixture(scope="module")
def inside(head: Any) -> Any:
    return n4ax.otsu_mask(head)


@pytest.fixture(scope="module")
def field(head: Any) -> Any:
    """A known log field, strong and smooth."""
    at = np.meshgrid(*[np.linspace(-1, 1, n) for n in head.shape], indexing="ij")
    return (0.35 * at[0] - 0.25 * at[1] * at[2] + 0.2 * at[2] ** 2).astype(np.float32)


@pytest.fixture(scope="module")
def echoes(head: Any, field: Any) -> list[npt.NDArray[np.float32]]:
    """Three echoes of one acquisition: other contrast, one field, noise of their own."""
    random = np.random.default_rng(0)
    cleaned = n4ax.n4(head, "all", iters=(30, 30, 30), conv_threshold=0.0, shrink_factor=2)
    decay = np.exp(-cleaned / cleaned.max())
    return [
        (cleaned * decay**k * np.exp(field) + random.normal(0, 12, head.shape))
        .clip(1)
        .astype(np.float32)
        for k in range(3)
    ]


def test_list_of_images_gives_a_list_of_results(head: Any, inside: Any) -> None:
    other = head**0.5
    results = n4ax.fit([head, other], inside, **SETTINGS)
    for image, result in zip((head, other), results, strict=True):
        assert np.array_equal(result.corrected, n4ax.n4(image, inside, **SETTINGS))
    for masks in ([inside, np.ones_like(inside)], (inside, "all")):
        each = n4ax.fit((head, other), masks, weights=[None, inside + 1], **SETTINGS)
        assert np.array_equal(each[0].corrected, results[0].corrected)
        alone = n4ax.n4(other, "all", weights=inside + 1, **SETTINGS)
        assert np.array_equal(each[1].corrected, alone)
    with pytest.raises(ValueError, match="image 1: image is constant"):
        n4ax.fit([head, np.ones_like(head)], "all", **SETTINGS)


def test_one_image_that_shares_with_itself_is_alone(head: Any, inside: Any) -> None:
    (shared,) = n4ax.fit([head], inside, shared_field=True, **SETTINGS)
    alone = n4ax.fit(head, inside, **SETTINGS)
    assert np.array_equal(shared.corrected, alone.corrected)
    assert shared.convergence == alone.convergence
    # Twice the same image: means of two that are equal.
    twice = n4ax.fit([head, head], inside, shared_field=True, **SETTINGS)
    assert np.array_equal(twice[1].corrected, alone.corrected)


def test_shared_field_is_nearer_to_the_truth(echoes: Any, inside: Any, field: Any) -> None:
    where = inside != 0

    def error(log_bias: Any) -> float:
        gap = (log_bias - field)[where]
        return float(np.std(gap))

    shared = n4ax.fit(echoes, inside, shared_field=True, **SETTINGS)
    alone = n4ax.fit(echoes, inside, **SETTINGS)
    errors = [error(result.log_bias) for result in alone]
    assert error(shared[0].log_bias) < np.mean(errors)
    assert error(shared[0].log_bias) < 0.5 * error(np.zeros_like(field))


def test_shared_field_does_not_depend_on_threads(echoes: Any, inside: Any) -> None:
    one, two = (
        n4ax.fit(echoes, inside, shared_field=True, num_threads=n, **SETTINGS) for n in (1, 2)
    )
    assert np.array_equal(one[2].corrected, two[2].corrected)


def test_saved_field_applies_to_another_contrast(echoes: Any, inside: Any, tmp_path: Path) -> None:
    result = n4ax.fit(echoes[0], inside, **SETTINGS)
    result.field.save(tmp_path / "field.npz")
    applied = n4ax.BiasField.load(tmp_path / "field.npz").apply(echoes[1])
    np.testing.assert_allclose(applied, echoes[1] / np.exp(result.log_bias), rtol=1e-6)


def test_weights_and_masks_of_each_image_count(echoes: Any, inside: Any) -> None:
    half = inside.copy()
    half[: len(half) // 2] = 0
    nothing = [np.ones(inside.shape, np.float32), np.full(inside.shape, 1e-12, np.float32)]
    pair = echoes[:2]
    weighted = n4ax.fit(pair, inside, weights=nothing, shared_field=True, **SETTINGS)
    alone = n4ax.fit(pair[0], inside, **SETTINGS)
    np.testing.assert_allclose(weighted[0].log_bias, alone.log_bias, atol=1e-4)
    masked = n4ax.fit(pair, [inside, half], shared_field=True, **SETTINGS)
    assert not np.allclose(masked[0].log_bias, alone.log_bias, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": "other shape"}, "image 1 has shape"),
        ({"image": "elsewhere"}, "image 1 and image 0 do not occupy the same physical space"),
        ({"mask": "three"}, "mask has 3 entries for 2 images"),
        ({"image": "single"}, "shared_field is True for a single image"),
    ],
)
def test_what_cannot_share_a_field_is_refused(
    head: Any, inside: Any, change: dict[str, Any], words: str
) -> None:
    images: Any = [head, head]
    mask: Any = inside
    match change.get("image"):
        case "other shape":
            images, mask = [head, head[1:]], None
        case "elsewhere":
            images = [nib.Nifti1Image(head, np.diag([2, 2, k, 1])) for k in (2, 3)]
            mask = None
        case "single":
            images = head
    if change.get("mask") == "three":
        mask = [inside] * 3
    with pytest.raises(ValueError, match=words):
        n4ax.fit(images, mask, shared_field=True, **SETTINGS)
