"""The filter refuses input that cannot be used, with a message that says what to do."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from n4ax.errors import InputError
from n4ax.simpleitk import execution
from tests.support.simpleitk import (
    Filter,
    Image,
    Ours,
    correct_with,
    get_array,
    make_filter,
    make_image,
)


def turn_direction(image: Image, angle: float) -> list[float]:
    turn = np.eye(3)
    turn[0, 1] = angle
    return (np.reshape(image.GetDirection(), (3, 3)) + turn - np.eye(3)).ravel().tolist()


@pytest.mark.parametrize("coordinate", [1e-6, 1e-4])
@pytest.mark.parametrize("direction", [1e-6, 1e-4])
def test_masks_that_lie_elsewhere_are_refused_where_simpleitk_refuses_them(
    image: Image, mask: Image, coordinate: float, direction: float
) -> None:
    sitk.ProcessObject.SetGlobalDefaultCoordinateTolerance(coordinate)
    sitk.ProcessObject.SetGlobalDefaultDirectionTolerance(direction)
    x, y, z = image.GetOrigin()
    moves: list[tuple[str, float, Any]] = []
    for gap in (8e-7, 2e-6, 8e-5, 2e-4):
        step = gap * image.GetSpacing()[0]
        moves.append(("Origin", gap <= coordinate, (x, y, z + step)))
        moves.append(("Spacing", gap <= coordinate, (0.9, 1.1 + step, 2.5)))
        moves.append(("Direction", gap <= direction, turn_direction(image, gap)))
    for what, tolerated, value in moves:
        other = sitk.Image(mask)
        getattr(other, f"Set{what}")(value)
        for kind in (Filter, Ours):
            n4 = make_filter(kind, (1,))
            if tolerated:
                n4.Execute(image, other)
                continue
            with pytest.raises(RuntimeError, match="do not occupy the same physical space"):
                n4.Execute(image, other)


def test_message_says_how_the_places_differ(image: Image, mask: Image) -> None:
    moved = sitk.Image(mask)
    moved.SetOrigin((0, 0, 0))
    with pytest.raises(
        RuntimeError,
        match=r"origins \(-20.5, 13.25, 7\) and \(0, 0, 0\); the tolerance is 1e-06 .*"
        r"SetGlobalDefaultCoordinateTolerance.*maskImage.CopyInformation",
    ):
        make_filter().Execute(image, moved)
    turned = sitk.Image(mask)
    turned.SetDirection(turn_direction(image, 0.1))
    with pytest.raises(RuntimeError, match=r"image and weights do not .*SetGlobalDefaultDirection"):
        make_filter().Execute(image, weights=turned)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 255), r"MaskLabel 1 \(found: 0, 255\).*UseMaskLabelOff.*SetMaskLabel\(255\)"),
        ((0, 2, 7), r"MaskLabel 1 \(found: 0, 2, 7\).*UseMaskLabelOff\(\)$"),
        ((0, 0.5), r"MaskLabel 1 \(found: 0, 0.5\).*UseMaskLabelOff\(\)$"),
        ((0,), r"MaskLabel 1 \(found: 0\)$"),
    ],
)
def test_mask_without_the_label_is_refused_with_advice(
    image: Image, values: tuple[float, ...], words: str
) -> None:
    labels = np.resize(np.array(values, np.float32), get_array(image).shape)
    with pytest.raises(RuntimeError, match=words):
        make_filter().Execute(image, make_image(labels, image))


def test_advice_works(image: Image, mask: Image) -> None:
    high = sitk.Cast(mask > 0, sitk.sitkUInt8) * 255
    off, other = make_filter(), make_filter()
    off.UseMaskLabelOff()
    other.SetMaskLabel(255)
    assert np.array_equal(
        get_array(off.Execute(image, high)), get_array(other.Execute(image, high))
    )


def make_vector_image(image: Image) -> Image:
    return sitk.Compose(image, image)


def make_complex_image(image: Image) -> Image:
    return sitk.RealAndImaginaryToComplex(image, image)


def make_label_map(image: Image) -> Image:
    return sitk.Cast(sitk.Cast(image > 200, sitk.sitkUInt8), sitk.sitkLabelUInt8)


@pytest.mark.parametrize("argument", ["image", "maskImage", "weights"])
@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (make_vector_image, "{} has 2 components in each voxel"),
        (make_complex_image, "{} has dtype complex64; expected real numbers"),
        (make_label_map, "{} is a label .*SimpleITK.LabelMapToLabel"),
    ],
)
def test_images_without_one_real_number_per_voxel_are_refused(
    image: Image, argument: str, turn: Callable[[Image], Image], words: str
) -> None:
    inputs = {"image": image, argument: turn(image)}
    with pytest.raises(RuntimeError, match=words.format(argument)):
        make_filter().Execute(**inputs)


@pytest.mark.parametrize("argument", ["maskImage", "weights"])
@pytest.mark.parametrize(
    ("crop", "size"),
    [(lambda image: image[1:], "(23, 20, 14)"), (lambda image: image[:, :, 3], "(24, 20)")],
)
def test_mask_and_weights_of_another_size_are_refused(
    image: Image, argument: str, crop: Callable[[Image], Image], size: str
) -> None:
    for inputs, sizes in (
        ({"image": image, argument: crop(image)}, (size, "(24, 20, 14)")),
        ({"image": crop(image), argument: image}, ("(24, 20, 14)", size)),
    ):
        words = f"{argument} has size {sizes[0]} and image has size {sizes[1]}; expected the same"
        with pytest.raises(RuntimeError, match=re.escape(words)):
            make_filter().Execute(**inputs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda image: (get_array(image),), "image is of type ndarray; expected a SimpleITK.Image"),
        (lambda image: (None,), "image is of type NoneType"),
        (lambda image: (image, "mask.nii"), "maskImage is of type str"),
    ],
)
def test_arguments_that_are_not_images_are_refused(
    image: Image, arguments: Callable[[Image], tuple[Any, ...]], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        make_filter().Execute(*arguments(image))


def test_references_that_do_not_fit_are_refused(image: Image, mask: Image) -> None:
    n4 = make_filter()
    n4.Execute(image, mask)
    with pytest.raises(RuntimeError, match="referenceImage has 2 axes; expected 3"):
        n4.GetLogBiasFieldAsImage(image[:, :, 2])
    with pytest.raises(TypeError, match="referenceImage is of type ndarray"):
        n4.GetLogBiasFieldAsImage(get_array(image))


@pytest.mark.parametrize(
    ("setters", "words"),
    [
        ({"NumberOfHistogramBins": 0}, "NumberOfHistogramBins is 0"),
        ({"MaximumNumberOfIterations": []}, "MaximumNumberOfIterations is empty"),
        ({"NumberOfControlPoints": 3}, "needs at least 4 on every axis"),
        ({"NumberOfControlPoints": [4, 4]}, "NumberOfControlPoints has 2 values"),
        ({"SplineOrder": 4}, "a spline of order 4 needs at least 5"),
    ],
)
def test_parameters_out_of_range_raise_a_runtime_error(
    image: Image, mask: Image, setters: dict[str, Any], words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        correct_with(Ours, image, mask, **setters)


def test_messages_use_the_names_of_simpleitk(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise InputError("{nbins} is {0} and {control_points} is {1}", 2, "'{many}'")

    monkeypatch.setattr(execution, "fit_image", refuse)
    words = "NumberOfHistogramBins is 2 and NumberOfControlPoints is '{many}'"
    with pytest.raises(RuntimeError, match=re.escape(words)):
        make_filter().Execute(image)


def test_field_of_the_previous_run_is_gone_after_a_refusal(image: Image, mask: Image) -> None:
    n4 = make_filter()
    n4.Execute(image, mask)
    with pytest.raises(RuntimeError, match="has size"):
        n4.Execute(image, mask[1:])
    with pytest.raises(RuntimeError, match="there is no result"):
        n4.GetLogBiasFieldAsImage(image)
