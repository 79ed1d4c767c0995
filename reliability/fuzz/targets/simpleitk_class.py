"""The class that stands for SimpleITK's filter: its setters, and ``Execute``."""

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import SimpleITK as sitk

from n4ax.simpleitk import N4BiasFieldCorrectionImageFilter
from reliability.fuzz.arguments import SHAPES, draw_thing
from reliability.fuzz.refusals import call_or_refuse
from reliability.fuzz.targets.arrays import digest

SHARE = 1.0
SECONDS = 20.0

_SETTERS = tuple(
    name
    for name in dir(N4BiasFieldCorrectionImageFilter)
    if name.startswith("Set") and "Global" not in name
)
_GOOD: dict[str, tuple[Any, ...]] = {
    "SetMaximumNumberOfIterations": ([1], [1, 1], (2,), [0]),
    "SetNumberOfControlPoints": ([4, 4, 4], [5, 4], [4, 4, 4, 4]),
    "SetNumberOfHistogramBins": (3, 200, 50),
    "SetSplineOrder": (1, 2, 3, 4, 5, 0, 6),
    "SetShrinkFactor": (1, 2, [2, 1, 1]),
    "SetSplineDistance": (1.0, 200.0, 0.0),
}
_FLOATS = (0.0, 0.01, 1.0, 1e-7, 1e300, float("nan"), float("inf"), -1.0)


@cache
def _make_images() -> list[Any]:
    """Images of every kind, which every process makes once."""
    random = np.random.default_rng(0)
    images: list[Any] = [None, 3, "i.nii", np.ones((4, 4))]
    for shape in SHAPES[:6]:
        values = random.uniform(40, 90, shape)
        for kind in ("f4", "f8", "u1", "i2"):
            images.append(sitk.GetImageFromArray(values.astype(kind)))
    images += [
        sitk.GetImageFromArray(np.zeros((4, 4, 4), "f4")), sitk.Image(),
        sitk.GetImageFromArray(np.ones((4, 4, 3)), isVector=True),
        sitk.GetImageFromArray(np.ones((3, 4, 4, 4), "f4")),
    ]  # fmt: skip
    return images


def try_input(random: Random, _folder: Path) -> str:
    """Set a few parameters and run; every call works or refuses what cannot be used."""
    made = N4BiasFieldCorrectionImageFilter()
    made.SetMaximumNumberOfIterations([1])
    said: list[str] = []
    for name in random.sample(_SETTERS, random.randint(0, 4)):
        value = _draw_value(random, name)
        _, refusal = call_or_refuse(lambda name=name, value=value: getattr(made, name)(value))
        said.append(refusal)
    if sum(map(float, made.GetMaximumNumberOfIterations())) > 12:
        made.SetMaximumNumberOfIterations([1])
    images = random.sample(_make_images(), random.choice((1, 1, 2, 3)))
    if len(images) > 1 and random.random() < 0.8:
        images[1] = sitk.Cast(images[0] > 45, sitk.sitkUInt8) if _is_good(images[0]) else None
    before = [_digest_image(image) for image in images]
    weights = {"weights": images[2]} if len(images) > 2 else {}
    result, refusal = call_or_refuse(lambda: made.Execute(*images[:2], **weights))
    assert before == [_digest_image(image) for image in images], "an image was changed"
    said.append(refusal if result is None else _digest_image(result))
    str(made)
    if result is not None and random.random() < 0.3:
        field, refusal = call_or_refuse(lambda: made.GetLogBiasFieldAsImage(images[0]))
        said.append(refusal if field is None else _digest_image(field))
    return str(said)


def _draw_value(random: Random, name: str) -> Any:
    if random.random() < 0.5:
        return random.choice(_GOOD.get(name, _FLOATS))
    return draw_thing(random)


def _is_good(image: Any) -> bool:
    return (
        isinstance(image, sitk.Image)
        and image.GetNumberOfPixels() > 0
        and image.GetNumberOfComponentsPerPixel() == 1
    )


def _digest_image(image: Any) -> str:
    if not isinstance(image, sitk.Image) or image.GetNumberOfPixels() == 0:
        return repr(type(image))
    return digest(sitk.GetArrayViewFromImage(image))
