"""Numbers at and beyond the ends of single precision: a right answer or a clear error, in time."""

import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.engines.cpu.recurrence import itk_variation
from n4ax.errors import InputError

Array = npt.NDArray[Any]

IMAGE = np.random.default_rng(0).gamma(3, 40, (12, 14, 16))
SPOT = (5, 5, 5)
ENGINES = ("cpu", "xla")

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


def with_spot(value: float, dtype: Any = np.float64) -> Array:
    image = IMAGE.astype(dtype)
    image[SPOT] = value
    return image


def fit(image: Array, engine: Any, **keywords: Any) -> Any:
    return n4ax.fit(image, "all", engine=engine, **{"iters": (3, 3), **keywords})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [1e39, -1e39, np.float64(3.5e38)])
@pytest.mark.parametrize("non_positive", ["itk", "offset", "exclude"])
def test_what_single_precision_cannot_hold_is_refused_or_left_out(
    engine: Any, value: float, non_positive: str
) -> None:
    image = with_spot(value)
    with pytest.raises(InputError, match=r"image has 1 voxels in the mask beyond 3.4e\+38"):
        fit(image, engine, non_positive=non_positive)
    mask = np.ones(IMAGE.shape, bool)
    mask[SPOT] = False
    keywords: dict[str, Any] = {"non_positive": non_positive, "iters": (3, 3), "engine": engine}
    expected = n4ax.fit(image, mask, **keywords)
    found = n4ax.fit(image, "all", nonfinite="exclude", **keywords)
    np.testing.assert_array_equal(found.log_bias, expected.log_bias)
    assert found.convergence == expected.convergence
    # The largest number that single precision holds is an intensity like others.
    assert np.isfinite(fit(with_spot(3.4e38), engine).log_bias).all()


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
def test_threshold_does_not_look_at_what_single_precision_cannot_hold(library: Any) -> None:
    with jax.enable_x64(True):
        expected = np.asarray(n4ax.otsu_mask(library(with_spot(np.inf))))
        for value in (1e39, 1e300):
            found = np.asarray(n4ax.otsu_mask(library(with_spot(value))))
            np.testing.assert_array_equal(found, expected)
        assert 0 < expected.sum() < expected.size
        with pytest.raises(InputError, match="no finite value in single precision"):
            n4ax.otsu_mask(library(np.full((4, 4), 1e300)))


@pytest.mark.parametrize("engine", ENGINES)
def test_exclusion_of_what_is_not_positive_looks_at_single_precision(engine: Any) -> None:
    vanishing = np.where(IMAGE > 150, 1e-60, IMAGE)
    zero = np.where(IMAGE > 150, 0.0, IMAGE)
    one, other = (fit(image, engine, non_positive="exclude") for image in (vanishing, zero))
    np.testing.assert_array_equal(one.log_bias, other.log_bias)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("image", "keywords", "words"),
    [
        (1e9 + 1e-3 * IMAGE, {}, r"image is constant in the mask \(2688 voxels of 1e\+09, in sing"),
        (1e-60 * IMAGE, {}, "image is constant in the mask"),
        (with_spot(-3e38) + 3e38, {"non_positive": "offset"}, None),
        (np.where(IMAGE > 100, 3e38, -3e38), {"non_positive": "offset"}, "image reaches from -3e"),
        (IMAGE, {"tiny": 1e9}, "tiny is 1000000000.0 and the largest intensity in the mask"),
        (IMAGE, {"tiny": 1e300}, r"tiny is 1e\+300; expected a number from 1.2e-38 to 3.4e\+38"),
        (IMAGE, {"tiny": 1e-60}, "tiny is 1e-60"),
        (IMAGE, {"fwhm": 1e-60}, "fwhm is 1e-60"),
        (IMAGE, {"fwhm": 1e60}, r"fwhm is 1e\+60"),
        (IMAGE, {"wiener": 1e60}, r"wiener is 1e\+60"),
        (IMAGE, {"over_relax": 1e60}, r"over_relax is 1e\+60"),
        (IMAGE, {"over_relax": 1e30}, "the field is not finite"),
        (IMAGE, {"over_relax": 1e37, "iters": (40, 40)}, "the field is not finite"),
        (np.where(IMAGE > 100, -1e30, IMAGE), {}, "the field is not finite"),
        (np.where(IMAGE > 100, -3e38, IMAGE), {}, "the field is not finite"),
    ],
)
def test_no_field_comes_of_absurd_numbers(
    engine: Any, image: Array, keywords: dict[str, Any], words: str | None
) -> None:
    if words is None:
        assert np.isfinite(fit(image, engine, **keywords).log_bias).all()
        return
    with pytest.raises(InputError, match=words):
        fit(image, engine, **keywords)


@pytest.mark.parametrize("engine", ENGINES)
def test_field_of_two_voxels_is_refused_with_the_reason(engine: Any) -> None:
    """The second one is brighter, so that no voxel is tested for the minimum."""
    image, mask = np.full((6, 8), 60, np.float32), np.zeros((6, 8), bool)
    image[2, 2], image[3, 2] = 73.65442, 138.7712
    mask[2:4, 2] = True
    with pytest.raises(InputError, match="a mask of a few voxels"):
        n4ax.fit(image, mask, engine=engine, iters=(2,), nbins=128, fwhm=0.3)


@pytest.mark.parametrize("engine", ENGINES)
def test_batch_refuses_a_field_that_is_not_finite(engine: Any) -> None:
    with pytest.raises(InputError, match="the field is not finite"):
        n4ax.n4_batch([IMAGE, IMAGE], "all", engine=engine, over_relax=1e30, iters=(3,))


@pytest.mark.parametrize("engine", ENGINES)
def test_narrowest_distribution_of_the_field_leaves_the_image_alone(engine: Any) -> None:
    result = fit(IMAGE, engine, fwhm=1e-30)
    assert np.abs(result.log_bias).max() < 1e-5
    assert np.isfinite(np.concatenate(result.convergence)).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_wiener_filter_without_noise(engine: Any) -> None:
    none, hardly = (fit(IMAGE, engine, wiener=value) for value in (0.0, 1e-300))
    assert np.isfinite(none.log_bias).all()
    np.testing.assert_array_equal(none.log_bias, hardly.log_bias)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1e39, r"weights reach 1e\+39; expected at most 1e\+30"),
        (3e38, r"weights reach 3e\+38; expected at most 1e\+30"),
        (1e-60, "weights reach 1e-60, which is 0 in the single precision"),
        (1e-30, "weights add up to 2.688e-27 in the mask"),
    ],
)
def test_weights_are_numbers_that_can_be_added_up(engine: Any, factor: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit(IMAGE, engine, weights=np.full(IMAGE.shape, factor))


@pytest.mark.parametrize("engine", ENGINES)
def test_scale_of_the_weights_does_not_matter(engine: Any) -> None:
    weights = np.random.default_rng(1).random(IMAGE.shape) + 0.1
    one, large = (
        fit(IMAGE, engine, weights=weights * 2.0**power, conv_threshold=0.0) for power in (0, 90)
    )
    np.testing.assert_array_equal(one.log_bias, large.log_bias)


# ---- loops that might not end: each in a process of its own, which can be stopped --------------


def run_in_time(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_exponentials_of_any_size_end_and_are_right() -> None:
    program = """
import numpy as np
from numba import uint64
from n4ax.engines.cpu.kernels.evaluation import exponentiate
for value in (1.0, -3.0, 80.0, 1e3, -1e3, 1e8, 1e18, 1e30, -1e30, 3e38, np.inf, -np.inf, np.nan):
    values = np.array([0.1, value, -2.5, 0.0] * 5, np.float32)
    out = np.empty(20)
    exponentiate(values, np.uint64(20), out)
    with np.errstate(all="ignore"):
        expected = np.exp(values.astype(np.float64)).astype(np.float32)
        np.testing.assert_allclose(out.astype(np.float32), expected, rtol=1e-6)
print("right")
"""
    assert run_in_time(program) == "right"


def test_stopping_measure_of_any_numbers_ends() -> None:
    program = """
import jax, jax.numpy as jnp, numpy as np
from n4ax.engines.cpu.recurrence import exact_variation
from n4ax.engines.cpu.recurrence import itk_variation as on_cpu
from n4ax.engines.xla.recurrence import itk_variation
by_xla = jax.jit(itk_variation, static_argnums=(2, 3))
random = np.random.default_rng(0)
for bad in (np.nan, np.inf, -np.inf, 80.0, 200.0, 3e38):
    for at in (0, 7, 20_000, 40_000):
        step = random.normal(0, 1e-3, 50_000).astype(np.float32)
        step[at:at + 3] = bad
        with np.errstate(all="ignore"):
            ratios = np.exp(step)
        with jax.enable_x64(True):
            counted = jnp.ones(len(step), bool)
            found = [float(by_xla(jnp.asarray(step), counted, packed, 4096))
                     for packed in (False, True)]
        found.append(on_cpu(ratios))
        assert np.isfinite(ratios).all() or not np.isfinite(found).any(), (bad, at, found)
        exact_variation(ratios)
print("ended")
"""
    assert run_in_time(program) == "ended"


def test_squares_that_leave_single_precision_end_the_replay() -> None:
    program = """
import numpy as np
from n4ax.engines.cpu.recurrence import itk_variation
ratios = np.full(60_000, 1e30, np.float32)
ratios[5] = 1.0  # the later voxels, all alike, no longer move the mean
print(itk_variation(ratios))
"""
    assert run_in_time(program) == "inf"


def test_measure_of_ordinary_numbers_is_that_of_itk() -> None:
    ratios = np.exp(np.random.default_rng(3).normal(0, 1e-3, 70_000)).astype(np.float32)
    assert itk_variation(ratios) == pytest.approx(1e-3, rel=0.1)


# ---- memory ------------------------------------------------------------------------------------

IN_DIRTY_MEMORY = """
import hashlib
import numpy as np, n4ax
image = np.random.default_rng(0).gamma(3, 40, (20, 40, 50))
image[3, 4, 5], image[9, 9, 9], image[1] = 1e39, np.nan, -5.0
mask = np.random.default_rng(1).random(image.shape) < 0.5
weights = np.random.default_rng(2).random(image.shape)
sums = hashlib.sha256()
for keywords in (
    {}, {"weights": weights}, {"spline_order": 2, "non_positive": "exclude"},
    {"accelerate": True, "conv_threshold": 0.0}, {"shrink_factor": 2, "convergence": "exact"},
):
    result = n4ax.fit(image, mask, nonfinite="exclude", iters=(6, 5, 4), num_threads=2, **keywords)
    for array in (result.log_bias, result.corrected, np.concatenate(result.convergence)):
        sums.update(np.ascontiguousarray(array).tobytes())
print(sums.hexdigest())
"""


def test_nothing_is_read_before_it_is_written() -> None:
    """glibc fills new memory with a pattern; elsewhere the variables do nothing."""
    sums = {
        run_in_time(
            IN_DIRTY_MEMORY,
            MALLOC_PERTURB_=pattern,
            GLIBC_TUNABLES="glibc.malloc.tcache_count=0",
            NUMPY_MADVISE_HUGEPAGE="0",
        )
        for pattern in ("1", "90", "165", "255")
    }
    assert len(sums) == 1
