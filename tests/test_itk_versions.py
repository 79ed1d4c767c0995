"""The rules of ITK 6 in the default arithmetic: cached answers, and what differs from ITK 5."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.settings import EngineName, N4Settings
from n4ax.settings.arithmetic import ItkVersion
from tests.support import itk
from tests.support.long import mark
from tests.test_exactness import (
    ENGINES,
    LARGEST,
    MEAN,
    SELF_NOISE,
    Gap,
    check_answer,
    run_cached,
)

Array = npt.NDArray[Any]

VERSIONS: tuple[ItkVersion, ...] = get_args(ItkVersion)

SMALL = (
    "default_abdomen_negative",
    "default_brain_2d",
    "default_mouse",
    "default_pelvis_small",
    "order2_mouse",
    "points567_pelvis_pd",
)
LARGE = ("default_epi7t", "nonzero_t1gd", "shrink2_flair_ms", "shrink2_t1w_adi")


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *[(name, "cpu") for name in SMALL],
        *[pytest.param(name, "cpu", marks=pytest.mark.slow) for name in LARGE],
        ("default_brain_2d", "xla"),
        pytest.param("default_mouse", "xla", marks=mark(slow=True, long=True)),
    ],
)
def test_real_volume_gives_the_cached_answer_of_itk_6(
    shared: Path, name: str, engine: EngineName
) -> None:
    case, answer, result = run_cached(shared, f"itk6_64_{name}", engine, itk_version=6)
    assert result.settings.itk_version == 6
    check_answer(case, answer, result, SELF_NOISE.get(f"sitk_{name}", {"max": 0.0, "mean": 0.0}))


# ---- the range of the histogram --------------------------------------------------------------


def make_image() -> tuple[Array, npt.NDArray[np.bool_]]:
    """A shaded phantom, and a mask whose first voxel along x is not its first along z."""
    random = np.random.default_rng(7)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 24, 28)], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.35, radius < 0.6], [300.0, 210.0], 120.0)
    image = tissue * np.exp(0.3 * np.cos(2 * at[0] + at[1]) - 0.2 * at[2])
    image += random.normal(0, 3, image.shape)
    return image.astype(np.float32), radius < 0.9


LEVELS: dict[str, Any] = {"iters": (10, 8), "conv_threshold": 0.0}


def fit_both(image: Array, mask: Any, engine: EngineName = "cpu") -> tuple[Array, Array]:
    """The log fields by the rules of ITK 5 and of ITK 6."""
    five = n4ax.fit(image, mask, engine=engine, itk_version=5, **LEVELS)
    six = n4ax.fit(image, mask, engine=engine, itk_version=6, **LEVELS)
    return five.log_bias, six.log_bias


def test_versions_differ_by_the_noise_where_the_first_voxel_is_not_the_darkest() -> None:
    image, mask = make_image()
    five, six = fit_both(image, mask)
    gap = Gap.between(five, six, mask)
    assert 0 < gap.mean <= MEAN  # the weights of the knot halving differ
    assert gap.largest <= LARGEST


@pytest.mark.parametrize("engine", ["cpu", pytest.param("xla", marks=pytest.mark.slow)])
def test_darkest_first_voxel_counts_in_itk_6_alone(engine: EngineName) -> None:
    image, mask = make_image()
    first = tuple(np.argwhere(mask)[0])
    image[first] = 2.0  # all others are above 50
    five, six = fit_both(image, mask, engine)
    assert Gap.between(five, six, mask).largest > 5e-3
    as_itk_5 = itk.correct(image, mask.astype(np.uint8), **LEVELS).log_bias
    assert Gap.between(five, as_itk_5, mask).largest <= LARGEST
    # With z as the fastest axis, the voxel is not the first, so that ITK 5 tests it too.
    assert tuple(np.argwhere(mask.T)[0]) != first[::-1]
    turned = itk.correct(image.T, mask.T.astype(np.uint8), **LEVELS).log_bias.T
    assert Gap.between(six, turned, mask).largest <= LARGEST
    assert Gap.between(five, turned, mask).largest > 5e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_image_that_rises_all_the_way_has_a_range_in_itk_6(engine: EngineName) -> None:
    image = np.linspace(100, 500, 12 * 14 * 16, dtype=np.float32).reshape(12, 14, 16)
    assert (np.diff(image.ravel()) > 0).all()
    rising = n4ax.fit(image, "all", engine=engine, itk_version=6, **LEVELS)
    assert rising.iterations == list(LEVELS["iters"])
    assert np.abs(rising.log_bias).max() < 0.3
    # The same image from its end falls, and both versions find its range. What remains is that
    # ITK moves the upper end of each axis by a thousandth of a voxel.
    falling = image[::-1, ::-1, ::-1]
    versions = VERSIONS if engine == "cpu" else (6,)
    for version in versions:
        other = n4ax.fit(falling, "all", engine=engine, itk_version=version, **LEVELS)
        np.testing.assert_allclose(
            other.log_bias[::-1, ::-1, ::-1], rising.log_bias, rtol=0, atol=5e-4
        )


def test_image_that_rises_all_the_way_has_no_minimum_in_itk_5() -> None:
    image = np.linspace(100, 500, 12 * 14 * 16, dtype=np.float32).reshape(12, 14, 16)
    ours = n4ax.fit(image, "all", itk_version=5, **LEVELS)
    theirs = itk.correct(image, None, **LEVELS)
    np.testing.assert_allclose(ours.log_bias, theirs.log_bias, rtol=1e-4)
    assert ours.log_bias.min() > 1


# ---- a mask with a single intensity ----------------------------------------------------------


def make_constant() -> tuple[Array, npt.NDArray[np.bool_]]:
    """An image that varies outside of its mask alone."""
    image, mask = make_image()
    image[mask] = 37.5
    return image, mask


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"conv_threshold": 0.0, "convergence": "exact"},
        {"scale": "minmax", "non_positive": "offset"},
        {"scale": "mean", "spline_order": 2, "mesh": 2},
        {"tiny": 50.0},
    ],
)
def test_single_intensity_has_no_field_in_itk_6(
    engine: EngineName, keywords: dict[str, Any]
) -> None:
    image, mask = make_constant()
    result = n4ax.fit(image, mask, engine=engine, itk_version=6, iters=(4, 0, 3), **keywords)
    assert result.iterations == [1, 0, 1]
    assert result.convergence == [[0.0], [], [0.0]]
    assert result.stopped == ["converged", "iteration limit", "converged"]
    np.testing.assert_array_equal(result.log_bias, np.zeros(image.shape))
    np.testing.assert_array_equal(result.corrected[mask], image[mask])
    if "scale" not in keywords:
        np.testing.assert_array_equal(result.corrected, image)


def test_single_intensity_has_no_field_in_the_accelerated_schedule_either() -> None:
    image, mask = make_constant()
    settings = N4Settings.fast().override(itk_version=6, iters=(3, 2))
    result = n4ax.fit(image, mask, **settings.keywords())
    np.testing.assert_array_equal(result.corrected, image)


def test_single_intensity_asks_for_no_change_of_a_shared_field() -> None:
    image, mask = make_image()
    constant, _ = make_constant()
    once: dict[str, Any] = {"itk_version": 6, "iters": (1,)}
    together = n4ax.fit([image, constant], mask, shared_field=True, **once)
    half = n4ax.fit(image, mask, over_relax=0.5, **once).log_bias  # the mean of it and of 0
    assert np.abs(half[mask]).max() > 0.001
    for result in together:
        np.testing.assert_allclose(result.log_bias, half, rtol=0, atol=1e-7)


@pytest.mark.parametrize("engine", ENGINES)
def test_single_intensity_is_refused_by_the_rules_of_itk_5(engine: EngineName) -> None:
    image, mask = make_constant()
    with pytest.raises(ValueError, match=r"image is constant in the mask.* with itk_version=6 it"):
        n4ax.fit(image, mask, engine=engine)
    with pytest.raises(ValueError, match="tiny is 1000 and the largest intensity in the mask"):
        n4ax.fit(make_image()[0], mask, engine=engine, tiny=1000)
