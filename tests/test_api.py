"""The Python front door: what users may pass, and what they get."""

from typing import Any

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax

Array = npt.NDArray[Any]
QUICK = {"iters": (5, 4), "conv_threshold": 0.0}


@pytest.fixture(scope="module")
def shaded() -> tuple[Array, Array]:
    """An image with noise and a known field, and its ellipse of a mask."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 26, 31)], indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    tissue = np.select([radius < 0.4, radius < 0.7, radius < 0.95], [300, 220, 120], 12)
    noise = np.random.default_rng(0).normal(0, 4, tissue.shape)
    image = np.maximum(tissue * np.exp(0.3 * x - 0.2 * y * z) + noise, 1)
    return image.astype(np.float32), radius < 0.95


# ---- what n4ax 0.1 offered -------------------------------------------------------------------


def test_a_call_in_the_style_of_0_1_still_works(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    corrected, log_bias = n4ax.n4(
        image, mask.astype(np.float32), iters=(3, 3), over_relax=1.8, conv_threshold=0.0,
        nbins=200, fwhm=0.15, wiener=0.01, tiny=1e-6, return_bias=True,
    )  # fmt: skip
    assert corrected.shape == log_bias.shape == image.shape
    np.testing.assert_allclose(corrected, image / np.exp(log_bias), rtol=1e-6)


def test_no_mask_means_otsu(shaded: tuple[Array, Array]) -> None:
    image, _ = shaded
    expected = n4ax.n4(image, n4ax.otsu_mask(image), **QUICK)
    assert np.array_equal(n4ax.n4(image, **QUICK), expected)
    assert np.array_equal(n4ax.n4(image, "otsu", **QUICK), expected)


def test_two_dimensions_work(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    assert n4ax.n4(image[10], mask[10], **QUICK).shape == image[10].shape


def test_jax_array_in_gives_jax_array_out(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    corrected, bias = n4ax.n4(jnp.asarray(image), jnp.asarray(mask), **QUICK, return_bias=True)
    assert isinstance(corrected, jnp.ndarray)
    assert isinstance(bias, jnp.ndarray)
    assert np.array_equal(np.asarray(corrected), n4ax.n4(image, mask, **QUICK))


def test_over_relaxation_gets_further_in_as_many_iterations(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    few, relaxed, many = (
        n4ax.fit(image, mask, iters=(count,), conv_threshold=0, over_relax=factor).log_bias[mask]
        for count, factor in ((20, 1.0), (20, 1.8), (200, 1.0))
    )
    assert np.abs(relaxed - many).mean() < 0.8 * np.abs(few - many).mean()


# ---- types, order, outside -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.int16, np.float32),
        (np.uint8, np.float32),
        (np.int64, np.float32),
        (">i2", np.float32),
        (">f8", np.float64),
    ],
)
def test_any_number_type_is_accepted(shaded: tuple[Array, Array], given: Any, found: type) -> None:
    image, mask = shaded
    image = np.clip(np.rint(image), 1, 255).astype(given)
    corrected, bias = n4ax.n4(image, mask, **QUICK, return_bias=True)
    assert corrected.dtype == found
    assert bias.dtype == np.float32
    reference = n4ax.n4(image.astype(np.float32), mask, **QUICK)
    np.testing.assert_allclose(corrected, reference, rtol=1e-6)


def test_float64_image_is_divided_in_float64(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    wide = image.astype(np.float64) * (1 + 1e-10)
    corrected, bias = n4ax.n4(wide, mask, **QUICK, return_bias=True)
    factor = np.exp(bias.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(corrected, wide / factor, rtol=1e-12)


def test_result_does_not_depend_on_the_memory_layout(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    spaced = np.repeat(image, 2, axis=2)[..., ::2]
    backwards = image[::-1, :, ::-1].copy()[::-1, :, ::-1]
    for order in ("C", "F"):
        reference = n4ax.fit(image, mask, **QUICK, voxel_order=order)
        for copy in (np.asfortranarray(image), spaced, backwards):
            result = n4ax.fit(copy, np.asfortranarray(mask), **QUICK, voxel_order=order)
            assert np.array_equal(result.corrected, reference.corrected)
            assert np.array_equal(result.log_bias, reference.log_bias)


def test_voxel_order_f_is_order_c_of_the_transposed_array(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    weights = np.random.default_rng(3).random(image.shape)
    keywords: dict[str, Any] = QUICK | {"shrink_factor": (1, 2, 1)}
    turned = keywords | {"shrink_factor": (1, 2, 1)}
    one = n4ax.fit(image, mask, weights=weights, control_points=(4, 5, 6), **keywords)
    two = n4ax.fit(
        image.T, mask.T, weights=weights.T, control_points=(6, 5, 4), voxel_order="F", **turned
    )
    assert np.array_equal(one.corrected, two.corrected.T)
    assert np.array_equal(one.log_bias, two.log_bias.T)
    assert np.array_equal(one.field.control_points, two.field.control_points.T)
    assert one.convergence == two.convergence


def test_outside_divides_keeps_or_clears(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    divided, kept, cleared = (
        n4ax.n4(image, mask, **QUICK, outside=choice) for choice in ("divide", "keep", "zero")
    )
    assert np.array_equal(kept[~mask], image[~mask])
    assert not cleared[~mask].any()
    assert not np.array_equal(divided[~mask], image[~mask])
    assert np.array_equal(kept[mask], divided[mask])
    assert np.array_equal(cleared[mask], divided[mask])


def test_singleton_axes_are_carried_along(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    flat = n4ax.fit(image[10], mask[10], **QUICK)
    deep = n4ax.fit(image[None, 10, :, None], mask[None, 10, :, None], **QUICK)
    assert deep.corrected.shape == (1, 26, 1, 31)
    assert np.array_equal(deep.corrected[0, :, 0], flat.corrected)
    assert deep.log_bias.shape == (1, 26, 1, 31)


def test_input_is_not_changed(shaded: tuple[Array, Array]) -> None:
    image, mask = (array.copy() for array in shaded)
    n4ax.n4(image, mask, **QUICK, outside="zero")
    assert np.array_equal(image, shaded[0])
    assert np.array_equal(mask, shaded[1])


# ---- masks and weights -----------------------------------------------------------------------


def test_mask_label_selects_one_value(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    labels = mask.astype(np.int16) * 7
    labels[10:] *= 2
    expected = n4ax.n4(image, labels == 14, **QUICK)
    assert np.array_equal(n4ax.n4(image, labels, mask_label=14, **QUICK), expected)
    assert np.array_equal(n4ax.n4(image, labels, **QUICK), n4ax.n4(image, mask, **QUICK))


def test_weights_above_zero_restrict_the_mask_and_scale_does_not_matter(
    shaded: tuple[Array, Array],
) -> None:
    image, mask = shaded
    restricted = n4ax.fit(image, mask & (np.arange(31) < 20), **QUICK)
    weighted = n4ax.fit(image, mask, weights=4.0 * (np.arange(31) < 20) * mask, **QUICK)
    np.testing.assert_allclose(weighted.log_bias, restricted.log_bias, atol=1e-6)


def test_uneven_weights_change_the_fit(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    ramp = np.broadcast_to(np.linspace(0.1, 1, 31), image.shape)
    plain, weighted = (n4ax.fit(image, mask, weights=w, **QUICK) for w in (None, ramp))
    assert np.abs(plain.log_bias - weighted.log_bias)[mask].max() > 1e-4


# ---- what comes back -------------------------------------------------------------------------


def test_fit_tells_how_each_level_went(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    result = n4ax.fit(image, mask, iters=(60, 3), conv_threshold=1e-3)
    assert result.iterations == [len(level) for level in result.convergence]
    assert result.stopped == ["converged", "iteration limit"]
    assert result.convergence[0][-1] <= 1e-3 < result.convergence[0][-2]
    assert result.iterations[1] == 3
    assert result.field.control_points.shape == (5, 5, 5)
    np.testing.assert_allclose(result.corrected, image / np.exp(result.log_bias), rtol=1e-6)


def test_progress_is_called_after_every_iteration(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    calls: list[tuple[int, int, int, float]] = []
    result = n4ax.fit(
        image, mask, iters=(3, 2), conv_threshold=0, progress=lambda *call: calls.append(call)
    )
    assert [call[:3] for call in calls] == [(0, 1, 3), (0, 2, 3), (0, 3, 3), (1, 1, 2), (1, 2, 2)]
    assert [call[3] for call in calls] == [v for level in result.convergence for v in level]


def test_levels_end_at_the_same_iteration_whether_or_not_anyone_listens(
    shaded: tuple[Array, Array],
) -> None:
    image, mask = shaded
    for threshold in (5e-4, 2e-4, 1e-4):
        keywords: dict[str, Any] = {"iters": (60, 60), "conv_threshold": threshold}
        listened = n4ax.fit(image, mask, **keywords)
        assert "converged" in listened.stopped
        assert np.array_equal(n4ax.n4(image, mask, **keywords), listened.corrected)


def test_exact_convergence_is_the_true_coefficient_of_variation(
    shaded: tuple[Array, Array],
) -> None:
    image, mask = shaded
    one, two = (
        n4ax.fit(image, mask, iters=(n,), conv_threshold=0, convergence="exact") for n in (4, 5)
    )
    ratio = np.exp((one.log_bias - two.log_bias)[mask].astype(np.float64))
    expected = ratio.std(ddof=1) / ratio.mean()
    assert two.convergence[0][-1] == pytest.approx(expected, rel=1e-4)


def test_same_input_gives_the_same_bits(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    first, second = (n4ax.fit(image, mask, iters=(8, 8), conv_threshold=1e-3) for _ in range(2))
    assert np.array_equal(first.corrected, second.corrected)
    assert first.convergence == second.convergence


def test_scaling_the_image_leaves_the_field(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    one, two = (n4ax.fit(scale * image, mask, **QUICK) for scale in (1, 1024))
    np.testing.assert_allclose(one.log_bias, two.log_bias, atol=2e-5)


def test_known_field_is_recovered_up_to_its_level(shaded: tuple[Array, Array]) -> None:
    _, mask = shaded
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 26, 31)], indexing="ij")
    tissue = np.where(x**2 + y**2 + z**2 < 0.36, 300.0, 150.0)
    field = 0.25 * x - 0.15 * y
    result = n4ax.fit(tissue * np.exp(field), mask, iters=(100, 50), conv_threshold=0)
    error = (result.log_bias - field)[mask]
    assert error.std() < 0.1 * field[mask].std()


def test_no_iterations_give_no_field(shaded: tuple[Array, Array]) -> None:
    image, mask = shaded
    result = n4ax.fit(image, mask, iters=(0,))
    assert result.iterations == [0]
    assert np.array_equal(result.corrected, image)


def test_zeros_and_negatives_in_the_mask_are_taken_as_itk_does(
    shaded: tuple[Array, Array],
) -> None:
    image, mask = (array.copy() for array in shaded)
    image[10, 13, 15] = 0.0
    raw = n4ax.fit(image, mask, **QUICK)
    lifted = n4ax.fit(np.where(image == 0, 1.0, image), mask, **QUICK)  # log 1 is 0
    assert np.array_equal(raw.field.control_points, lifted.field.control_points)
    floored = n4ax.fit(image, mask, tiny=0.5, **QUICK)
    assert not np.array_equal(raw.field.control_points, floored.field.control_points)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"engine": "gpu"}, 'engine is \'gpu\'; expected None, "cpu" or "xla"'),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"mask": "brain"}, "mask is 'brain'"),
        ({"iters": ()}, "iters is empty"),
        ({"mesh": (1, 1)}, "mesh has 2 values"),
    ],
)
def test_bad_arguments_are_named(
    shaded: tuple[Array, Array], keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        n4ax.n4(shaded[0], **keywords)


def test_the_result_carries_the_mask_in_the_images_own_kind() -> None:
    volume = np.random.default_rng(3).gamma(3, 40, (16, 17, 18)).astype(np.float32)
    labels = np.zeros(volume.shape, np.int16)
    labels[2:-2, 2:-2] = 3
    labels[5:9, 5:9] = 2
    quick: dict[str, Any] = {"iters": (1,), "conv_threshold": 0}
    array = n4ax.fit(volume, labels, mask_label=3, **quick).mask
    assert array.dtype == bool
    assert np.array_equal(array, labels == 3)
    assert np.array_equal(n4ax.fit(volume, voxel_order="F", **quick).mask, n4ax.otsu_mask(volume))
    assert n4ax.fit(volume, "all", **quick).mask.all()
    scan = nib.Nifti1Image(volume.astype(np.float32), np.eye(4))
    mask = n4ax.fit(scan, labels, **quick).mask
    assert isinstance(mask, nib.Nifti1Image)
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(mask.dataobj), labels != 0)
