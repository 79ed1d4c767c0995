"""Which images, masks and weights the filter takes, and the results they give."""

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import n4ax
import n4ax.simpleitk.filter as sitk_filter
from n4ax.inputs import Run
from tests.support.simpleitk import (
    FIXED,
    HEAD,
    Filter,
    Image,
    Ours,
    correct_with,
    get_array,
    get_place,
    make_filter,
    make_image,
    phantom,
    read_image,
    run_both,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ndim", [2, 3])
def test_float_images_of_2_and_3_axes_give_the_result_of_simpleitk(ndim: int, dtype: type) -> None:
    voxels = phantom(np.float64, (40, 50) if ndim == 2 else (14, 20, 24))
    voxels = (voxels * (1 + 1e-10)).astype(dtype)
    image = make_image(voxels)
    image.SetMetaData("0010|0010", "a name")
    mask = make_image((voxels > 130).astype(np.uint8), image)
    theirs, ours = run_both(lambda kind: correct_with(kind, image, mask))
    for expected, found in zip(theirs, ours, strict=True):
        assert found.GetPixelID() == expected.GetPixelID()
        assert get_place(found) == get_place(expected) == get_place(image)
        assert found.GetMetaDataKeys() == expected.GetMetaDataKeys() == ()
    np.testing.assert_allclose(get_array(ours[1]), get_array(theirs[1]), atol=FIXED)
    quotient = voxels / np.exp(get_array(ours[1]).astype(np.float64)).astype(np.float32)
    close = 1e-12 if dtype is np.float64 else 1e-6
    np.testing.assert_allclose(get_array(ours[0]), quotient, rtol=close)


@pytest.mark.parametrize(
    ("masked", "setters"),
    [
        (True, {}),
        (True, {"MaskLabel": 2}),
        (True, {"MaskLabel": 0}),
        (True, {"UseMaskLabel": False}),
        (False, {}),
    ],
)
def test_mask_has_the_meaning_that_it_has_in_simpleitk(
    image: Image, mask: Image, masked: bool, setters: dict[str, Any]
) -> None:
    region = mask if masked else None
    theirs, ours = run_both(lambda kind: correct_with(kind, image, region, **setters))
    np.testing.assert_allclose(get_array(ours[1]), get_array(theirs[1]), atol=FIXED)


@pytest.mark.parametrize("pixel", [sitk.sitkInt16, sitk.sitkUInt8, sitk.sitkInt64])
def test_integer_images_are_accepted(image: Image, mask: Image, pixel: int) -> None:
    whole = sitk.Cast(sitk.Minimum(image, 255), pixel)
    with pytest.raises(RuntimeError, match="is not supported"):
        Filter().Execute(whole, mask)
    corrected, log_field = correct_with(Ours, whole, mask)
    expected = correct_with(Ours, sitk.Cast(whole, sitk.sitkFloat32), mask)
    assert corrected.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(get_array(corrected), get_array(expected[0]))
    assert np.array_equal(get_array(log_field), get_array(expected[1]))


@pytest.mark.parametrize(
    "pixel", [sitk.sitkFloat32, sitk.sitkFloat64, sitk.sitkInt16, sitk.sitkUInt32]
)
def test_masks_of_any_type_are_accepted(image: Image, mask: Image, pixel: int) -> None:
    other = sitk.Cast(mask, pixel)
    with pytest.raises(RuntimeError, match="Failure to convert"):
        Filter().Execute(image, other)
    expected = get_array(make_filter().Execute(image, mask))
    assert np.array_equal(get_array(make_filter().Execute(image, other)), expected)


def test_masks_and_weights_may_be_arrays(image: Image, mask: Image) -> None:
    weights = np.random.default_rng(2).random(get_array(image).shape)
    inside = get_array(mask) == 1  # bool, z, y, x
    n4 = make_filter(iters=(4, 3))
    corrected = get_array(n4.Execute(image, inside, weights=weights))
    other = get_array(n4.Execute(image, mask, weights=make_image(weights, image)))
    result = n4ax.fit(
        get_array(image).T, inside.T, weights=weights.T, iters=(4, 3), conv_threshold=0,
        voxel_order="F",
    )  # fmt: skip
    assert np.array_equal(corrected, other)
    assert np.array_equal(corrected, result.corrected.T)
    assert not np.array_equal(corrected, get_array(n4.Execute(image, mask)))


def test_shrink_factor_gives_the_result_of_shrinking_before(image: Image, mask: Image) -> None:
    factors = [1, 2, 2]  # samples lie midway between voxels, and the header decides which is taken
    before = make_filter(iters=(4, 3))
    before.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    n4 = make_filter(iters=(4, 3))
    n4.SetShrinkFactor(factors)
    corrected = n4.Execute(image, mask)
    assert n4.GetShrinkFactor() == (1, 2, 2)
    assert get_place(corrected) == get_place(image)
    ours, theirs = (get_array(f.GetLogBiasFieldAsImage(image)) for f in (n4, before))
    assert np.array_equal(ours, theirs)


def test_slice_of_one_voxel_is_corrected_as_a_plane(image: Image, mask: Image) -> None:
    flat = get_array(make_filter().Execute(image[:, :, 5], mask[:, :, 5]))
    slab = make_filter().Execute(image[:, :, 5:6], mask[:, :, 5:6])
    assert get_place(slab) == get_place(image[:, :, 5:6])
    assert np.array_equal(get_array(slab)[0], flat)


def test_image_of_four_axes_keeps_them() -> None:
    image = sitk.JoinSeries([make_image(phantom(shape=(6, 8, 10)) + k) for k in range(5)])
    n4 = make_filter(iters=(2,))
    n4.SetNumberOfControlPoints([4] * 4)
    corrected = n4.Execute(image)
    assert get_place(corrected) == get_place(image)
    assert corrected.GetNumberOfComponentsPerPixel() == 1


def test_field_is_stretched_over_any_reference_as_in_simpleitk(image: Image, mask: Image) -> None:
    references = [
        sitk.Image((31, 9, 17), sitk.sitkInt16),
        sitk.Image((8, 40, 5), sitk.sitkVectorFloat32, 2),
        sitk.Image((24, 20, 14), sitk.sitkLabelUInt8),
    ]
    for reference in references:
        reference.SetSpacing((0.5, 0.25, 3.0))
        reference.SetOrigin((1.0, 2.0, 3.0))

    def evaluate(kind: type[Filter]) -> list[Image]:
        n4 = make_filter(kind)
        n4.Execute(image, mask)
        return [n4.GetLogBiasFieldAsImage(reference) for reference in references]

    for expected, found, reference in zip(*run_both(evaluate), references, strict=True):
        assert get_place(found) == get_place(expected) == get_place(reference)
        assert found.GetPixelID() == expected.GetPixelID() == sitk.sitkFloat32
        np.testing.assert_allclose(get_array(found), get_array(expected), atol=FIXED)


def test_running_a_filter_again_gives_the_same_bits(image: Image, mask: Image) -> None:
    n4 = make_filter(iters=(6, 5))
    first = n4.Execute(image, mask), n4.GetLogBiasFieldAsImage(image)
    n4.Execute(sitk.Exp(image / 200), mask)
    again = n4.Execute(image, mask), n4.GetLogBiasFieldAsImage(image)
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(get_array(one), get_array(two))


def test_number_of_threads_is_respected_and_does_not_change_the_result(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run]
) -> None:
    monkeypatch.setattr(sitk_filter, "count_processors", lambda: 3)
    image = read_image(HEAD)
    results = []
    for threads in (1, 2, 0, 100):
        n4 = make_filter(iters=(2,))
        n4.SetNumberOfThreads(threads)
        results.append(get_array(n4.Execute(image)))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(2)
    make_filter(iters=(1,)).Execute(image)
    assert [run.num_threads for run in runs] == [1, 2, 3, 3, 2]
    assert all(np.array_equal(result, results[0]) for result in results)


def test_inputs_are_not_changed(image: Image, mask: Image) -> None:
    before = get_array(image), get_array(mask)
    make_filter().Execute(image, mask, weights=mask)
    assert np.array_equal(get_array(image), before[0])
    assert np.array_equal(get_array(mask), before[1])
