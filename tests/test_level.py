"""Which intensities count, and the level of the output: every policy, on real volumes."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.level import find_field_range, stretch_range

QUICK: dict[str, Any] = {"iters": (6, 5), "conv_threshold": 0.0, "shrink_factor": 2}


@pytest.fixture(scope="module")
def head() -> npt.NDArray[np.float32]:
    path = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
    return np.asarray(nib.load(path).dataobj, np.float32)[30:90, 30:90, 30:80]


@pytest.fixture(scope="module")
def inside(head: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return n4ax.otsu_mask(head).astype(bool)


@pytest.fixture(scope="module")
def as_itk(head: Any, inside: Any) -> Any:
    return n4ax.fit(head, inside, **QUICK)


@pytest.mark.parametrize("engine", ["cpu", "xla"])
def test_mean_is_kept_and_goes_with_the_field(
    head: Any, inside: Any, as_itk: Any, engine: Any
) -> None:
    result = n4ax.fit(head, inside, scale="mean", engine=engine, **QUICK)
    assert result.corrected[inside].mean() == pytest.approx(head[inside].mean(), rel=1e-6)
    assert as_itk.corrected[inside].mean() != pytest.approx(head[inside].mean(), rel=1e-4)
    ratio = result.corrected[inside] / as_itk.corrected[inside]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    np.testing.assert_allclose(result.field.apply(head), result.corrected, rtol=1e-6)
    np.testing.assert_allclose(head / np.exp(result.log_bias), result.corrected, rtol=1e-5)


@pytest.mark.parametrize("engine", ["cpu", "xla"])
def test_unit_field_has_the_geometric_mean_one(
    head: Any, inside: Any, as_itk: Any, engine: Any
) -> None:
    result = n4ax.fit(head, inside, scale="unit-field", engine=engine, **QUICK)
    assert result.log_bias[inside].mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    shift = as_itk.log_bias - result.log_bias
    np.testing.assert_allclose(shift, as_itk.log_bias[inside].mean(), atol=1e-5)
    np.testing.assert_allclose(head / np.exp(result.log_bias), result.corrected, rtol=1e-5)


def test_minmax_is_that_of_ants(head: Any, inside: Any) -> None:
    from n4ax.ants import n4_bias_field_correction

    theirs = n4_bias_field_correction(
        head, inside, rescale_intensities=True, shrink_factor=2,
        convergence={"iters": [6, 5], "tol": 0},
    )  # fmt: skip
    ours = n4ax.n4(head, inside, scale="minmax", outside="keep", mesh=1, voxel_order="F", **QUICK)
    assert np.array_equal(ours, theirs)
    assert ours[inside].max() == head[inside].max()
    assert ours[inside].min() == pytest.approx(head[inside].min(), rel=1e-5)
    assert np.array_equal(ours[~inside], head[~inside])


def test_real_negative_voxels(shared: Path) -> None:
    scan = nib.load(shared / "data" / "abdomen_mr_3mm_negative_totalseg.nii.gz")
    image = np.asarray(scan.dataobj, np.float32)
    settings: dict[str, Any] = {"iters": (4, 3), "conv_threshold": 0.0, "voxel_order": "F"}
    positive, lowest = image > 0, image.min()
    assert lowest < 0
    as_itk = n4ax.fit(image, "all", **settings)
    without = n4ax.fit(image, "all", non_positive="exclude", **settings)
    assert np.array_equal(without.corrected, n4ax.n4(image, positive, **settings))
    raised = n4ax.fit(image, "all", non_positive="offset", **settings)
    by_hand = n4ax.fit(image + (1 - lowest), "all", **settings)
    assert np.array_equal(raised.log_bias, by_hand.log_bias)
    assert np.array_equal(raised.corrected, by_hand.corrected - (1 - lowest))
    fields = [result.log_bias for result in (as_itk, without, raised)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(fields[one] - fields[other]).max() > 1e-3


@pytest.mark.parametrize("engine", ["cpu", pytest.param("xla", marks=pytest.mark.slow)])
def test_offset_raises_the_image_for_the_estimation(head: Any, inside: Any, engine: Any) -> None:
    lowered = head - np.float32(300.0)
    whole = {**QUICK, "shrink_factor": 1, "engine": engine}
    found = n4ax.fit(lowered, inside, non_positive="offset", **whole)
    offset = np.float32(1) - lowered[inside].min()
    assert offset > 1
    by_hand = n4ax.fit(lowered + offset, inside, **whole)
    assert np.array_equal(found.log_bias, by_hand.log_bias)
    np.testing.assert_array_equal(found.corrected, by_hand.corrected - offset)
    kept = n4ax.n4(lowered, inside, non_positive="offset", outside="keep", **whole)
    assert np.array_equal(kept[~inside], lowered[~inside])
    # Nothing to raise: as if it had not been asked for.
    same = n4ax.fit(head + 1, inside, non_positive="offset", **whole)
    assert np.array_equal(same.corrected, n4ax.n4(head + 1, inside, **whole))


def test_nonfinite_voxels_count_in_no_policy(head: Any, inside: Any) -> None:
    image = head.copy()
    image[30, 30, 25] = np.nan
    image[31, 30, 25] = np.inf
    for scale in ("mean", "unit-field", "minmax"):
        found = n4ax.n4(image, inside, nonfinite="exclude", scale=scale, **QUICK)
        assert np.isfinite(found[inside]).sum() == inside.sum() - 2


def test_mean_that_changes_its_sign_is_an_error(head: Any) -> None:
    image = (head - head.mean(dtype=np.float64)) / head.std()
    said = []
    for shift in (-1e-4, 1e-4):  # the mean after correction is far from 0, of one sign or the other
        try:
            n4ax.n4(image + shift, "all", scale="mean", iters=(10,), conv_threshold=0.0)
        except ValueError as error:
            said.append(str(error))
    assert len(said) == 1
    assert said[0].startswith('scale is "mean"')


def test_excluding_everything_is_an_error_that_says_so(head: Any, inside: Any) -> None:
    with pytest.raises(ValueError, match="and positive"):
        n4ax.n4(-head - 1, inside, non_positive="exclude", **QUICK)


def test_policies_inside_jit(head: Any, inside: Any) -> None:
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    keywords: dict[str, Any] = {"scale": "mean", "non_positive": "offset", **QUICK}
    traced = jax.jit(lambda image, mask: n4ax.n4(image, mask, **keywords))
    found = np.asarray(traced(jnp.asarray(head - 300), jnp.asarray(inside)))
    expected = n4ax.n4(head - 300, inside, engine="xla", **keywords)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("order_of_mask", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_stretch_is_the_same_however_arrays_lie_in_memory(
    order: Any, order_of_mask: Any, dtype: str
) -> None:
    random = np.random.default_rng(0)
    image = random.integers(-50, 900, (6, 7, 8)).astype(dtype)
    wide = np.float64 if dtype == "f8" else np.float32
    corrected = (image * random.uniform(0.8, 1.2, image.shape)).astype(wide)
    mask = random.random(image.shape) < 0.6
    where = mask & (random.random(image.shape) < 0.8)
    if dtype != "i2":
        image[2, 3, 4], corrected[2, 3, 4], mask[2, 3, 4] = np.nan, np.nan, True
        corrected[0, 0, 0], mask[0, 0, 0] = np.inf, True
    found = stretch_range(
        image.copy(order),
        corrected.copy(order),
        mask.copy(order_of_mask),
        where.copy(order_of_mask),
    )
    ends = [
        [wide(end(values[mask & np.isfinite(values)])) for end in (np.min, np.max)]
        for values in (image, corrected)
    ]
    (low, high), (corrected_low, corrected_high) = ends
    slope = (high - low) / (corrected_high - corrected_low)
    expected = np.where(where, high - slope * (corrected_high - corrected), corrected)
    assert found.dtype == wide
    np.testing.assert_array_equal(found, expected)


def test_the_range_of_a_field_may_have_no_end() -> None:
    assert find_field_range(np.array([-1000, 0, 1000], np.float32)) == (0.0, np.inf)
    assert find_field_range(np.array([100.0, -100.0], np.float32)) == (np.exp(-100), np.exp(100))
