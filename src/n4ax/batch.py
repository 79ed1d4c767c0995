"""Many images at once: the XLA engine spreads them over all devices that JAX has."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from n4ax.errors import InputError
from n4ax.images.arrays import export_array, is_jax, is_lazy, namespace_of
from n4ax.images.libraries import make_like, open_image
from n4ax.inputs import Inputs, Run
from n4ax.pipeline import PosedImage, correct_image, fit_image, pose_image
from n4ax.settings import N4Settings


class _Prepared(NamedTuple):
    """An image that is ready for a program."""

    posed: PosedImage
    device: Any
    arguments: Any
    key: Any
    """What the program is compiled for."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of the arguments: images that agree in key and shapes go through one program."""


def correct_each(settings: N4Settings, images: Sequence[Inputs], run: Run) -> list[Any]:
    """Correct images one after the other."""
    return [fit_image(settings, inputs, run).corrected for inputs in images]


def correct_on_all_devices(settings: N4Settings, images: Sequence[Inputs]) -> list[Any]:
    """Correct images with the XLA engine, each device a part of them.

    Every image is corrected to the same bits as alone.
    """
    import jax

    from n4ax.engines.xla import programs

    devices = jax.devices()
    with jax.enable_x64(True):
        prepared = [
            _prepare(settings, inputs, devices[number * len(devices) // len(images)])
            for number, inputs in enumerate(images)
        ]
        groups: defaultdict[Any, dict[int, _Prepared]] = defaultdict(dict)
        for number, one in enumerate(prepared):
            groups[one.key, one.shapes][number] = one
        states: dict[int, Any] = {}
        for (key, _), group in groups.items():
            arguments = {number: one.arguments for number, one in group.items()}
            places = {number: one.device for number, one in group.items()}
            states |= programs.run_sharded(arguments, places, key)
        return [
            make_like(one.posed.image, correct_image(one.posed, states[number].lattice).image)
            for number, one in enumerate(prepared)
        ]


def _prepare(settings: N4Settings, inputs: Inputs, device: Any) -> _Prepared:
    import jax

    from n4ax.engines.xla import programs

    posed = pose_image(settings, inputs, "xla", device)
    arguments, key = programs.prepare(posed.pose.problem, posed.settings)
    shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(arguments))
    return _Prepared(posed, device, arguments, key, shapes)


def one_per_image(name: str, values: Any, count: int) -> list[Any]:
    """Give each image of a batch its mask or its weights.

    Raises
    ------
    ValueError
        There is another number of them than of images.
    """
    if values is None or isinstance(values, str):
        return [values] * count
    try:
        entries = list(values)
    except TypeError:
        raise InputError(
            f"{{{name}}} is {{0!r}}; expected one for each of {{1}} images", values, count
        ) from None
    if len(entries) != count:
        raise InputError(
            f"{{{name}}} has {{0}} entries and {{images}} has {{1}}: give one for each image",
            len(entries),
            count,
        )
    return entries


def stack_like(images: Any, corrected: list[Any]) -> Any:
    """Stack corrected images in the library of ``images``, if those are stacked."""
    if not hasattr(images, "dtype"):
        return corrected
    if not is_jax(images):
        each = [open_image(image).voxels for image in corrected]
        lazy = any(map(is_lazy, each))
        xp = namespace_of(next(filter(is_lazy, each))) if lazy else np
        return make_like(images, xp.stack([one if lazy else np.asarray(one) for one in each]))
    import jax
    import jax.numpy as jnp

    device = min(images.devices(), key=lambda device: device.id)
    stacked = jnp.stack([jax.device_put(image, device) for image in corrected])
    return export_array(images, stacked)
