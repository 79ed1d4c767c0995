"""The functions for images, with arrays of any type, shape, strides and values."""

import zlib
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

import n4ax
import n4ax.ants
from reliability.fuzz.arguments import SHAPES, draw_good_image, draw_image, draw_mask, draw_thing
from reliability.fuzz.refusals import call_or_refuse, freeze
from reliability.fuzz.settings_values import draw_settings

SHARE = 4.0
SECONDS = 20.0

_LARGEST = 1e30
"""Intensities beyond this may leave single precision when they are divided by a field."""


def try_input(random: Random, _folder: Path) -> str:
    """Call a function; it gives an image like the given one, or refuses what cannot be used."""
    return random.choices((_threshold, _correct, _fit, _batch, _correct_as_ants, _truncate),
                          weights=(4, 6, 2, 1, 2, 1))[0](random)  # fmt: skip


def _threshold(random: Random) -> str:
    image = draw_image(random, random.choice(SHAPES))
    keywords = {} if random.random() < 0.7 else {"nbins": draw_thing(random)}
    mask, refusal = _call(lambda: n4ax.otsu_mask(image, **keywords), [image])
    if mask is None:
        return refusal
    assert mask.shape == np.shape(image), (mask.shape, np.shape(image))
    assert mask.dtype == np.uint8
    assert np.isin(mask, (0, 1)).all()
    return f"{np.count_nonzero(mask)} of {mask.size}"


def _draw_call(random: Random) -> tuple[Any, Any, dict[str, Any]]:
    """An image, a mask and keywords."""
    shape = random.choice(SHAPES)
    image = draw_image(random, shape)
    keywords = draw_settings(random)
    for name, share, draw in (
        ("weights", 0.2, lambda: draw_mask(random, shape)),
        ("spacing", 0.2, lambda: random.choice((1, 2.5, (1, 1, 3), (1, 1), draw_thing(random)))),
        ("series", 0.1, lambda: random.choice(("mean", "each", "4d", 0, draw_thing(random)))),
        ("num_threads", 0.2, lambda: random.choice((1, 2, 3, 200, draw_thing(random)))),
        ("engine", 0.05, lambda: random.choice(("cpu", None, draw_thing(random)))),
        ("init", 0.05, lambda: draw_thing(random)),
        ("tissues", 0.05, lambda: random.choice((draw_image(random, shape), draw_thing(random)))),
        ("preset", 0.05, lambda: random.choice(("ants", "antspy", draw_thing(random)))),
        ("settings", 0.02, lambda: draw_thing(random)),
        ("progress", 0.05, lambda: random.choice((_ignore, None, 3, "x", []))),
    ):  # fmt: skip
        if random.random() < share:
            keywords[name] = draw()
    return image, draw_mask(random, shape), keywords


def _ignore(*_: float) -> None:
    """What does nothing with the progress."""


def _correct(random: Random) -> str:
    image, mask, keywords = _draw_call(random)
    with_bias = random.random() < 0.5
    result, refusal = _call(
        lambda: n4ax.n4(image, mask, return_bias=with_bias, **keywords), [image, mask, keywords]
    )
    if result is None:
        return refusal
    corrected, bias = result if with_bias else (result, None)
    if bias is not None and "series" not in keywords:  # the field of a series is that of a volume
        _check_all(image, bias, keywords, of_field=True)
    if random.random() < 0.2:
        other = 1 if keywords.get("num_threads") != 1 else 2
        again = n4ax.n4(image, mask, return_bias=False, **{**keywords, "num_threads": other})
        assert digest(again) == digest(corrected), "the bits depend on the number of threads"
    return _check_all(image, corrected, keywords)


def _fit(random: Random) -> str:
    image, mask, keywords = _draw_call(random)
    result, refusal = _call(lambda: n4ax.fit(image, mask, **keywords), [image, mask, keywords])
    if result is None:
        return refusal
    if isinstance(result, list):
        return f"{len(result)} {[_describe_result(one) for one in result]}"
    str(result)
    return f"{_check_all(image, result.corrected, keywords)} {result.iterations}"


def _describe_result(result: Any) -> str:
    """The digest of a result, or of those of the volumes of a series."""
    if isinstance(result, list):
        return str([_describe_result(one) for one in result])
    return digest(result.corrected)


def _batch(random: Random) -> str:
    shape = random.choice(SHAPES[:5])
    images: Any = [draw_image(random, shape) for _ in range(random.randint(0, 3))]
    if random.random() < 0.5:
        images = np.stack([np.asarray(draw_good_image(random, shape), "f4") for _ in range(2)])
    if random.random() < 0.05:
        images = draw_thing(random)
    masks = random.choice(
        (lambda: "all", lambda: None, lambda: draw_mask(random, (2, *shape)),
         lambda: [draw_mask(random, shape)])
    )()  # fmt: skip
    keywords = draw_settings(random)
    result, refusal = _call(
        lambda: n4ax.n4_batch(images, masks, **keywords), [images, masks, keywords]
    )
    return refusal if result is None else digest(result)


def _correct_as_ants(random: Random) -> str:
    shape = random.choice(SHAPES)
    image, mask = draw_image(random, shape), draw_mask(random, shape)
    keywords: dict[str, Any] = {
        "convergence": random.choice(({"iters": [1], "tol": 0.0}, {"iters": [1, 1], "tol": 1e-7},
                                      {"iters": draw_thing(random), "tol": 1e30},
                                      {"iters": [1], "tol": draw_thing(random)})),
        "shrink_factor": random.choice((1, 1, 2, draw_thing(random))),
    }  # fmt: skip
    for name, share, good in (
        ("convergence", 0.05, {}), ("spline_param", 0.3, 200), ("rescale_intensities", 0.2, True),
        ("return_bias_field", 0.2, True), ("verbose", 0.1, True), ("spacing", 0.2, 2.0),
        ("arithmetic", 0.1, "itk"), ("weight_mask", 0.2, draw_mask(random, shape)),
    ):  # fmt: skip
        if random.random() < share:
            keywords[name] = good if random.random() < 0.5 else draw_thing(random)
    result, refusal = _call(
        lambda: n4ax.ants.n4_bias_field_correction(image, mask, **keywords), [image, mask, keywords]
    )
    return refusal if result is None else digest(result)


def _truncate(random: Random) -> str:
    shape = random.choice(SHAPES)
    image, mask = draw_image(random, shape), draw_mask(random, shape)
    limits = random.choice(
        ((0.025, 0.975, 256), draw_thing(random), (0.0, 1.0, 2), (0.9, 0.1, 8),
         tuple(draw_thing(random) for _ in range(3)), (0.025, 0.975, draw_thing(random)))
    )  # fmt: skip
    if not isinstance(image, np.ndarray) or image.size > 200:  # ANTs' settings, all iterations
        image = draw_thing(random)
    result, refusal = _call(lambda: n4ax.ants.abp_n4(image, limits, mask), [image, mask, limits])
    return refusal if result is None else digest(result)


def _call(function: Callable[[], Any], given: list[Any]) -> tuple[Any, str]:
    """Call a function, and check that it changed nothing that it was given."""
    values = [*given[:-1], *(given[-1].values() if isinstance(given[-1], dict) else given[-1:])]
    before = [freeze(value) for value in values]
    with redirect_stdout(StringIO()), catch_warnings(record=True) as caught:
        simplefilter("always")
        outcome = call_or_refuse(function)
    odd = [one for one in caught if one.category is not UserWarning]
    assert not odd, f"{odd[0].category.__name__}: {odd[0].message} ({odd[0].filename})"
    assert before == [freeze(value) for value in values], "an argument was changed"
    return outcome


def _check_all(image: Any, result: Any, keywords: dict[str, Any], of_field: bool = False) -> str:
    """Check shape, type and values of a result for an image, or those of each in a list."""
    if isinstance(result, list):
        return f"{len(result)} {[digest(one) for one in result]}"
    given = np.asarray(image)
    assert result.shape == given.shape, (result.shape, given.shape)
    double = given.dtype.kind == "f" and given.dtype.itemsize >= 8 and not of_field
    assert result.dtype == (np.float64 if double else np.float32), (result.dtype, given.dtype)
    ordinary = set(keywords) <= {"weights", "spacing", "num_threads", "engine", "iters"}
    if ordinary and given.dtype.kind in "biuf" and not np.ma.isMaskedArray(image):
        largest = np.abs(given.astype("f8")).max(initial=0)
        # Negative intensities in a mask of few voxels leave no finite result, in ITK as here.
        if np.isfinite(largest) and largest < _LARGEST and given.min(initial=0) >= 0:
            assert np.isfinite(result).all(), "the result is not finite"
    return digest(result)


def digest(result: Any) -> str:
    """The bits of arrays as text."""
    if isinstance(result, list):
        return str([digest(one) for one in result])
    array = np.asarray(result)
    return f"{array.dtype} {array.shape} {zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"
