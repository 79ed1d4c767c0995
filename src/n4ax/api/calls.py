"""What a call of the Python interface is made of: its settings, its inputs and its signature."""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from n4ax.errors import InputError
from n4ax.field import BiasField
from n4ax.images.arguments import is_list_of_images, take_image, take_mask, take_weights
from n4ax.images.volumes import find_volume_axis, get_shape
from n4ax.inputs import Inputs
from n4ax.method.solver import Progress
from n4ax.series import Estimate, Series, check_volumes, find_unweighted_volumes, read_estimate
from n4ax.settings import EngineName, N4Keywords, N4Settings, Preset, is_choice

Function = TypeVar("Function", bound=Callable[..., Any])

_DEFAULTS = N4Settings()


class BatchKeywords(N4Keywords, total=False):
    """The keyword arguments of :func:`n4ax.n4_batch`."""

    settings: N4Settings | None
    preset: Preset | None
    weights: object
    spacing: float | Sequence[float] | None
    engine: EngineName | None
    num_threads: int | None


class CallKeywords(BatchKeywords, total=False):
    """The keyword arguments of :func:`n4ax.n4` and :func:`n4ax.fit`."""

    series: Series | Sequence[int] | None
    init: BiasField | str | os.PathLike[str] | None
    tissues: object
    progress: Progress | None


def list_parameters(function: Function) -> Function:
    """Show every parameter of N4Settings, with its default, in the signature of a function.

    Types are left out, because they are longer than everything else: the docstring has them.
    """
    own = [p for p in inspect.signature(function).parameters.values() if p.kind != p.VAR_KEYWORD]
    further = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for field in fields(N4Settings)
    ]
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in own]
    signature = inspect.Signature([*plain, *further])
    setattr(function, "__signature__", signature)  # noqa: B010
    return function


def choose_settings(
    settings: N4Settings | None, preset: Preset | None, parameters: N4Keywords
) -> N4Settings:
    """Choose the settings of a call: given ones or a preset, with the parameters given beside.

    Raises
    ------
    ValueError
        Both ``settings`` and ``preset`` are given, there is no such preset, or a parameter is out
        of its range.
    TypeError
        ``settings`` is something else, or a parameter is unknown.
    """
    if settings is not None and preset is not None:
        raise InputError("{settings} and {preset} are both given: give one of them")
    if settings is not None and not isinstance(settings, N4Settings):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"settings is of type {type(settings).__name__}; expected n4ax.N4Settings")
    if preset is not None and not is_choice(preset, get_args(Preset)):
        names = ", ".join(map(repr, get_args(Preset)))
        raise InputError("{preset} is {0!r}; expected one of {1}", preset, names)
    start = getattr(N4Settings, preset)() if preset is not None else settings or _DEFAULTS
    return start.override(**parameters) if parameters else start


def choose_mask(mask: Any, preset: Preset | None) -> Any:
    """Choose the mask: without one, ANTs' presets use the whole image, as ANTs does."""
    return "all" if mask is None and preset in ("ants", "antspy") else mask


def take_all(
    image: Any, mask: Any, weights: Any, spacing: Any, affine: Any = None, **others: Any
) -> list[Inputs] | Inputs:
    """Take the images of a call: paths are read, and what is no image is refused.

    ``others`` may be ``init``, ``tissues`` and ``shared_field``.

    Returns
    -------
    Inputs, or list of Inputs
        A list for a list of images, with one entry for each of them.
    """
    if others.get("shared_field") and others.get("tissues") is not None:
        raise InputError("{tissues} are for an image with a field of its own: leave them out")
    start, maps = _take_init(others.get("init")), others.get("tissues")
    if not is_list_of_images(image):
        own = (take_image("image", image), take_mask(mask), take_weights(weights))
        return Inputs(*own, spacing, affine, start, _take_tissues(maps))
    each = cast("list[Any]", maps) if isinstance(maps, list | tuple) else []
    if maps is not None and len(each) != len(image):
        raise InputError(
            "{tissues} are given for {0} images: give a list with one entry for each, which is an "
            "image of labels or a list of maps",
            len(image),
        )
    masks = take_each("mask", mask, len(image), take_mask)
    all_weights = take_each("weights", weights, len(image), take_weights)
    return [
        Inputs(
            take_image(f"image {k}", one), masks[k], all_weights[k], spacing, affine, start,
            _take_tissues(each[k]) if each else (),
        )
        for k, one in enumerate(image)
    ]  # fmt: skip


def _take_tissues(given: Any) -> tuple[Any, ...]:
    """Take maps of tissues: one image of labels, or several maps of probabilities."""
    if given is None:
        return ()
    images = given if is_list_of_images(given) else [given]
    return tuple(take_image("tissues", one) for one in images)


def _take_init(given: Any) -> BiasField | None:
    """Take the field to start from, which may be the path of a saved one."""
    if given is None or isinstance(given, BiasField):
        return given
    if isinstance(given, str | os.PathLike):
        return BiasField.load(os.fspath(given))  # pyright: ignore[reportUnknownArgumentType]
    raise TypeError(
        f"init is of type {type(given).__name__}; expected an n4ax.BiasField, such as the field of "
        "a result, or the path of a saved one"
    )


def take_each(name: str, given: Any, count: int, take: Callable[[Any], Any]) -> list[Any]:
    """Take the mask or the weights of each of several images: one for all, or one for each.

    Raises
    ------
    ValueError
        A list has another length than there are images.
    """
    entries: list[Any] = list(given) if isinstance(given, list | tuple) else []  # pyright: ignore[reportUnknownArgumentType]
    if not entries or not all(
        one is None or isinstance(one, str) or is_list_of_images([one]) for one in entries
    ):
        return [take(given)] * count
    if len(entries) != count:
        raise InputError(
            f"{{{name}}} has {{0}} entries for {{1}} images: give one for all, or one for each",
            len(entries),
            count,
        )
    return [take(one) for one in entries]


def take_series(series: Any, given: Any, settings: N4Settings, inputs: Inputs) -> Estimate | None:
    """Find out what the field of a series is estimated on.

    ``None`` stands for a single volume, and for a field that varies in space and time.

    Parameters
    ----------
    series
        As for :func:`n4ax.n4`.
    given
        The image as the user gave it, which may be a path.
    settings, inputs
        The settings and the images of the call.

    Raises
    ------
    ValueError
        The image is a series and ``series`` is ``None``, or the other way round, or ``series`` is
        nothing that can be meant.
    """
    word = series if isinstance(series, str) else None
    if not check_volumes(settings, inputs, series) or word == "4d":
        return None
    if inputs.are_traced:
        raise InputError('{series} is {0!r}; inside JAX programs only {series:"4d"} works', series)
    if word != "b0" or not isinstance(given, str | os.PathLike):
        return read_estimate(series)
    path = Path(os.fspath(given))
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    axis = find_volume_axis(inputs.image, settings.voxel_order, asked=True) or 0
    return find_unweighted_volumes(path.with_name(f"{stem}.bval"), get_shape(inputs.image)[axis])
