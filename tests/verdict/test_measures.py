"""The measures of a verdict, on images with known tissues and known fields."""

import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.images.masks import find_box
from n4ax.images.smoothing import smooth
from n4ax.verdict.measures import Samples, measure_evenness, take_samples
from tests.verdict.phantoms import GOOD, SHAPE, make_head, make_places


def measure(before: Any, log_bias: Any, mask: Any, sizes: Any = (1.0, 1.0, 1.0)) -> Any:
    return measure_evenness(take_samples(before, log_bias, mask, sizes, find_box(mask)))


def take_everything(before: Any, log_bias: Any, mask: Any, reach: float) -> Samples:
    return Samples(before.astype(float), log_bias, mask, [reach] * before.ndim)


def vary_jointly(image: Any, tissues: Any) -> float:
    one, other = image[tissues], image[~tissues]
    return float((one.std() + other.std()) / abs(one.mean() - other.mean()))


def test_the_joint_variation_is_that_of_the_tissues() -> None:
    image, log_bias, inside = make_head()
    at = make_places()
    tissues = (sum(np.sin(13 * at[k] + 5 * at[k - 1]) for k in range(3)) > 0)[inside]
    found = measure_evenness(take_everything(image, log_bias, inside, 3.0))
    expected = vary_jointly(image[inside], tissues)
    assert found["cjv_before"] == pytest.approx(expected, rel=0.2)
    expected = vary_jointly((image / np.exp(log_bias))[inside], tissues)
    assert found["cjv_after"] == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("tissues", [(300.0, 450.0), (450.0, 300.0), (300.0, 340.0)])
@pytest.mark.parametrize("swing", [0.1, 0.4, 0.8])
def test_it_falls_by_a_right_correction_and_rises_by_a_wrong_one(
    tissues: tuple[float, float], swing: float
) -> None:
    image, log_bias, inside = make_head(swing, tissues)
    right, nothing, wrong = (
        measure(image, factor * log_bias, inside) for factor in (1.0, 0.0, -0.5)
    )
    assert nothing["cjv_after"] == nothing["cjv_before"] == right["cjv_before"]
    assert right["cjv_after"] < nothing["cjv_after"] < wrong["cjv_after"]


def test_the_classes_are_those_of_the_image_before() -> None:
    """Another field does not change which voxels are compared."""
    image, log_bias, inside = make_head()
    other = np.where(make_places()[2] > 0, 1.0, 0.0)
    befores = {measure(image, field, inside)["cjv_before"] for field in (log_bias, other)}
    assert len(befores) == 1


def test_measures_do_not_depend_on_the_level_nor_on_what_lies_outside() -> None:
    image, log_bias, inside = make_head()
    found = measure(image, log_bias, inside)
    again = measure(image * 8, log_bias, inside, (3.0, 3.0, 3.0))
    assert again == pytest.approx(found, rel=1e-6)
    dirty, field = image.copy(), log_bias.copy()
    dirty[~inside], field[~inside] = np.nan, np.inf
    assert measure(dirty, field, inside) == found
    for order in "CF":
        arrays = [np.asarray(array, order=order) for array in (image, log_bias, inside)]
        assert measure(*arrays) == found
    assert measure(None, log_bias, inside)["cjv_before"] is None


def test_smoothing_is_about_that_of_a_gaussian() -> None:
    point = np.zeros((61, 3, 1))
    point[30, 1, 0] = 1
    for reach in (1.5, 2.0, 4.0, 6.0):
        found = smooth(point, (reach, 0.0, 0.0))
        assert found.sum() == pytest.approx(1)
        assert (found[:, [0, 2]] == 0).all()
        places = np.arange(61) - 30
        variance = float((found[:, 1, 0] * places**2).sum())
        assert variance**0.5 == pytest.approx(reach, abs=0.6)
    assert smooth(np.ones((5, 5)), (0.2, 0.2)).tolist() == np.ones((5, 5)).tolist()


@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 7), (4, 1, 5)])
def test_the_box_is_the_smallest(shape: tuple[int, ...]) -> None:
    mask = np.zeros(shape, bool)
    assert [part.start == part.stop for part in find_box(mask)] == [True] * len(shape)
    mask[tuple(min(1, n - 1) for n in shape)] = True
    mask[tuple(min(3, n - 1) for n in shape)] = True
    expected = tuple(slice(min(1, n - 1), min(3, n - 1) + 1) for n in shape)
    for order in "CF":
        assert find_box(np.asarray(mask, order=order)) == expected
    assert find_box(mask[::-1])[0] == slice(shape[0] - expected[0].stop, shape[0] - 1)


@pytest.mark.parametrize(
    "values",
    [
        np.full((6, 7, 8), 3.0),
        np.zeros((6, 7, 8)),
        np.full((6, 7, 8), np.nan),
        np.arange(336.0).reshape(6, 7, 8) % 2,
        np.arange(9.0).reshape(9, 1, 1) * 1e30,
        1.0 + np.arange(336).reshape(6, 7, 8) * 1e-40,
    ],
)
@pytest.mark.parametrize("voxels", ["all", "one", "none"])
def test_degenerate_images_have_no_numbers_but_no_warnings_either(values: Any, voxels: str) -> None:
    mask = np.full(values.shape, voxels == "all")
    mask.flat[0] |= voxels == "one"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for level in (0.0, 900.0, -900.0, np.nan):
            found = measure(values, np.full(values.shape, level), mask)
            assert all(value is None or np.isfinite(value) for value in found.values())


def test_it_falls_on_the_packaged_head() -> None:
    path = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
    scan: Any = nib.load(path)
    image = np.asarray(scan.dataobj, np.float32)
    at = make_places(image.shape)
    shaded = nib.Nifti1Image(image * np.exp(0.5 * at[1]).astype(np.float32), scan.affine)
    measures = n4ax.fit(shaded, shrink_factor=4, iters=(50, 50, 50)).verdict.measures
    assert float(measures["cjv_after"] or 9) < float(measures["cjv_before"] or 0)


def test_good_corrections_lower_it(tell: Any) -> None:
    """On simulated heads, the number says whether the field came closer to the truth."""
    right = total = 0
    for tissues in ((300.0, 450.0), (450.0, 300.0), (300.0, 380.0)):
        for swing in (0.0, 0.2, 0.6):
            image, log_bias, inside = make_head(swing, tissues)
            for levels in (1, 3, 5):
                result = n4ax.fit(image, inside, **{**GOOD, "iters": (20,) * levels})
                error = (result.log_bias - log_bias)[inside].std() - log_bias[inside].std()
                found = result.verdict.measures
                change = float(found["cjv_after"] or 0) - float(found["cjv_before"] or 0)
                if abs(error) > 0.01:
                    right, total = right + (change * error > 0), total + 1
    tell(f"CJV agrees with the truth in {right} of {total} simulated heads of {SHAPE}")
    assert total > 10
    assert right >= 0.9 * total
