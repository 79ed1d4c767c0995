"""Many images at once, spread over all devices."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.field import make_field
from n4ax.images.arrays import export_array, is_jax, is_lazy, namespace_of
from n4ax.images.libraries import Inputs, make_like, open_image, open_together
from n4ax.level import finish
from n4ax.pipeline import choose_engine, fit_image, to_engine
from n4ax.posing import pose
from n4ax.settings import EngineName, N4Settings


def n4_batch(
    images: npt.ArrayLike | Sequence[npt.ArrayLike],
    masks: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    *,
    weights: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    spacing: float | Sequence[float] | None = None,
    engine: EngineName | None = None,
    num_threads: int | None = None,
    **parameters: Any,
) -> Any:
    """Correct the bias fields of many images, spread over all devices that JAX has.

    Every image is corrected as :func:`n4ax.n4` corrects it alone, to the last bit. Images whose
    masks are of similar extent go through one program: each device works on its part of them.

    Parameters
    ----------
    images : array or sequence of arrays
        Stacked along the first axis, or one by one; then they may differ in shape.
    masks : array or sequence of arrays, "otsu" or "all", optional
        One per image, stacked likewise; else as for :func:`n4ax.n4`.
    weights : array or sequence of arrays, optional
        Confidence of each voxel in the fit.
    spacing : float or one per axis, optional
        Voxel size of all images in mm.
    engine : "cpu", "xla" or None
        As for :func:`n4ax.n4`. The CPU engine takes one image after the other.
    num_threads : int, optional
        Of the CPU engine.
    **parameters
        Those of :class:`n4ax.N4Settings`, for all images.

    Returns
    -------
    array or list of arrays
        The corrected images, stacked if they came so, and in their library.

    Raises
    ------
    ValueError
        An image cannot be worked with, or a parameter is out of range; the message says which.
    TypeError
        A parameter is unknown.
    """
    settings = N4Settings(**parameters)
    single: list[Any] = list(images)  # type: ignore[arg-type]
    each_mask, each_weight = (
        _each(name, values, len(single))
        for name, values in (("masks", masks), ("weights", weights))
    )
    jobs = list(zip(single, each_mask, each_weight, strict=True))
    machine = choose_engine(engine, *(array for job in jobs for array in job))
    if machine == "xla" and jobs:
        given = [open_together(*job, settings.voxel_order) for job in jobs]
        choose_engine("xla", *(array for job in given for array in job.arrays))  # or refused
        done = _on_all_devices(given, spacing, settings)
        corrected = [make_like(image, voxels) for image, voxels in zip(single, done, strict=True)]
    else:
        corrected = [
            fit_image(
                settings, image, mask, weights=weight, spacing=spacing, engine=machine,
                num_threads=num_threads, every_measure=False,
            ).corrected
            for image, mask, weight in jobs
        ]  # fmt: skip
    return _together(images, corrected)


def _each(name: str, values: Any, count: int) -> list[Any]:
    """One value per image."""
    if values is None or isinstance(values, str):
        return [values] * count
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} entries and images has {count}: give one each")
    return list(values)


def _together(images: Any, corrected: list[Any]) -> Any:
    """Stacked, in the library of the images, if those are stacked."""
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


def _on_all_devices(
    jobs: list[Inputs],
    spacing: float | Sequence[float] | None,
    settings: N4Settings,
) -> list[Any]:
    import jax

    from n4ax.engines.xla import programs

    devices = jax.devices()
    place = [devices[k * len(devices) // len(jobs)] for k in range(len(jobs))]
    with jax.enable_x64(True):
        volumes, problems, each, groups = [], [], [], defaultdict(dict)
        for k, job in enumerate(jobs):
            own = settings if job.order is None else replace(settings, voxel_order=job.order)
            arrays = (to_engine("xla", array) for array in job.arrays)
            volume, mask, weight = (jax.device_put(a, place[k]) if is_jax(a) else a for a in arrays)
            where = job.spaces if spacing is None else spacing
            problem = pose(volume, mask, weight, where, own)
            prepared, plan = programs.prepare(problem, own, every_measure=False)
            each.append(own)
            shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(prepared))
            groups[plan, shapes][k] = prepared
            volumes.append(volume)
            problems.append(problem)
        states = {}
        for (plan, _), group in groups.items():
            states |= programs.run_sharded(group, {k: place[k] for k in group}, plan)
        return list(map(_corrected, volumes, problems, [states[k] for k in range(len(jobs))], each))


def _corrected(volume: Any, problem: Any, state: Any, settings: N4Settings) -> Any:
    field = make_field(problem, state.lattice, settings, volume.shape)
    return finish(field, volume, problem, settings).corrected
