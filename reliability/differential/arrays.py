"""Doors that take arrays: however the numbers lie in memory, and whoever owns them."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import n4ax
from n4ax import BiasField, N4Settings
from n4ax.errors import InputError
from reliability.differential.given import (
    Answer,
    Given,
    InapplicableError,
    check_same,
    describe,
    to_array,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dask.array as da
    import jax.numpy as jnp
    import torch


def turn_axes(given: Given) -> None:
    """The last axis is x, as in arrays of SimpleITK."""
    keywords = {
        name: value[::-1]
        for name, value in given.problem.keywords.items()
        if isinstance(value, tuple) and name != "iters"
    }
    turned = {
        name: value if value is None or isinstance(value, str) else np.ascontiguousarray(value.T)
        for name, value in (
            ("image", given.problem.voxels),
            ("mask", given.mask),
            ("weights", given.problem.weights),
        )
    }
    found = describe(
        given.fit_arrays(voxel_order="C", spacing=given.sizes[::-1], **turned, **keywords)
    )
    check_same({name: array.T for name, array in found.items()}, given.of_arrays)


def lay_otherwise(given: Given) -> None:
    """The same numbers with other strides, or in the other order of bytes."""
    voxels = given.problem.voxels
    reverse = (slice(None, None, -1),) * voxels.ndim
    read_only = voxels.copy()
    read_only.flags.writeable = False
    layouts = [
        np.ascontiguousarray(voxels),
        np.ascontiguousarray(voxels[reverse])[reverse],
        np.repeat(voxels, 2, axis=0)[::2],
        voxels.astype(voxels.dtype.newbyteorder(">")),
        read_only,
    ]
    chosen = layouts[given.random.integers(len(layouts))]
    check_same(describe(given.fit_arrays(image=chosen)), given.of_arrays)


def promote(given: Given) -> None:
    """A type that holds all of the numbers; float64 is divided as such."""
    voxels = given.problem.voxels
    # Otsu's histogram of an image of 8 bits spans the type (docs/quirks.md).
    if voxels.dtype == np.float64 or (given.uses_otsu and voxels.itemsize == 1):
        raise InapplicableError
    single = voxels.dtype.kind != "f" and given.random.random() < 0.5
    if not single and given.problem.keywords.get("scale") == "mean":
        raise InapplicableError  # the mean is that of an image that was divided in float64
    found = describe(given.fit_arrays(image=voxels.astype("f4" if single else "f8")))
    if not single:
        del found["corrected"]
    check_same(found, given.of_arrays)


def retype_mask(given: Given) -> None:
    """The mask as bool or as any number."""
    if given.problem.mask is None:
        raise InapplicableError
    dtype = given.random.choice(["?", "i2", "f4", "f8", "i8"])
    if dtype == "?" and "mask_label" in given.problem.keywords:
        raise InapplicableError
    check_same(describe(given.fit_arrays(mask=given.problem.mask.astype(dtype))), given.of_arrays)


def mask_in_the_image(given: Given) -> None:
    """Voxels that a masked array leaves out are as good as outside of the mask."""
    if given.problem.mask is None or given.problem.keywords.get("non_positive") == "offset":
        raise InapplicableError
    inside, out = given.problem.inside, given.random.random(given.problem.voxels.shape) < 0.1
    voxels = np.ma.masked_array(given.problem.voxels, out)
    try:
        expected = describe(given.fit_arrays(mask=inside & ~out, mask_label=None))
    except InputError:  # too few voxels are left
        raise InapplicableError from None
    found = describe(given.fit_arrays(image=voxels, mask=inside, mask_label=None))
    for answer in (found, expected):  # what it makes of the voxels themselves is another matter
        answer["corrected"] = np.asarray(answer["corrected"])[~out]
    if given.problem.keywords.get("outside", "divide") == "divide":
        check_same(found, expected)
    else:
        check_same({"log_bias": found["log_bias"]}, expected)


def take_torch(given: Given) -> None:
    """Tensors."""
    found = given.fit_arrays(image=torch.from_numpy(given.problem.voxels.copy()), engine="cpu")
    assert isinstance(found.corrected, torch.Tensor)
    check_same(_describe_in_host(found), given.of_arrays)


def take_jax(given: Given) -> None:
    """Arrays of JAX on the CPU engine; JAX has no 64 bits unless it is told to."""
    if given.problem.voxels.itemsize == 8:
        raise InapplicableError
    found = given.fit_arrays(image=jnp.asarray(given.problem.voxels), engine="cpu")
    # The log field becomes an array of JAX too, and XLA evaluates it with last digits of its own.
    expected = given.of_arrays | {"control points": given.fit_arrays().field.control_points}
    told = {"corrected": np.asarray(found.corrected), "control points": found.field.control_points}
    check_same(told, expected)


def take_dask(given: Given) -> None:
    """Blocks, of which only the samples are read."""
    if given.uses_otsu or set(given.problem.keywords) & {"scale", "non_positive"}:
        raise InapplicableError  # these are those of the samples
    blocks = da.from_array(given.problem.voxels, chunks=5)
    check_same(_describe_in_host(given.fit_arrays(image=blocks)), given.of_arrays)


def _describe_in_host(result: Any) -> Answer:
    return {
        "corrected": np.asarray(result.corrected),
        "log_bias": np.asarray(result.log_bias),
        "iterations": np.array(result.iterations),
    }


def correct_in_batch(given: Given, engine: Any = "cpu") -> None:
    """Two images at once, each as if it were alone."""
    problem = given.problem
    images = [problem.voxels, np.asfortranarray(problem.voxels[::-1])]
    keywords: dict[str, Any] = {
        "spacing": given.sizes, "voxel_order": "F", "engine": engine, **problem.keywords,
    }  # fmt: skip
    masks = [given.mask] * 2
    weights = None if problem.weights is None else [problem.weights] * 2
    try:
        alone = [n4ax.n4(one, given.mask, weights=problem.weights, **keywords) for one in images]
    except InputError:  # the second one is another problem
        raise InapplicableError from None
    found = n4ax.n4_batch(images, masks, weights=weights, **keywords)
    for one, expected in zip(found, alone, strict=True):
        check_same({"corrected": np.asarray(one)}, {"corrected": np.asarray(expected)})


def correct_in_batch_by_xla(given: Given) -> None:
    """The same by the XLA engine."""
    keywords = given.problem.keywords
    if keywords.get("arithmetic") == "itk" or keywords.get("accelerate"):
        raise InapplicableError
    correct_in_batch(given, "xla")


def correct_list(given: Given) -> None:
    """A list of images, of which each is corrected by itself."""
    problem = given.problem
    found = n4ax.n4(
        [problem.voxels] * 2, given.mask, weights=problem.weights, spacing=given.sizes,
        voxel_order="F", return_bias=True, **problem.keywords,
    )  # fmt: skip
    for corrected, log_bias in zip(*found, strict=True):
        check_same({"corrected": corrected, "log_bias": log_bias}, given.of_arrays)


def change_threads(given: Given) -> None:
    """Other numbers of threads of this machine."""
    for threads in (1, 2, 3):
        check_same(describe(given.fit_arrays(num_threads=threads)), given.of_arrays)


def give_settings(given: Given) -> None:
    """All parameters in one object."""
    settings = N4Settings(**given.problem.keywords).override(voxel_order="F")
    problem = given.problem
    found = n4ax.n4(
        problem.voxels, given.mask, weights=problem.weights, spacing=given.sizes,
        settings=settings, return_bias=True,
    )  # fmt: skip
    check_same(dict(zip(("corrected", "log_bias"), found, strict=True)), given.of_arrays)


def watch_progress(given: Given) -> None:
    """A run that is watched computes every measure on the way, and others do afterwards."""
    seen: list[float] = []
    result = given.fit_arrays(progress=lambda *words: seen.append(words[3]))
    check_same(describe(result), given.of_arrays)
    later = [value for level in given.fit_arrays().convergence for value in level]
    check_same({"measures": np.array(seen)}, {"measures": np.array(later)})


def add_an_axis(given: Given) -> None:
    """A plane as a volume of one slice."""
    if given.problem.ndim != 2:
        raise InapplicableError
    keywords = {
        name: (*value, 1)
        for name, value in given.problem.keywords.items()
        if isinstance(value, tuple) and name != "iters"
    }
    deeper = {
        name: value if value is None or isinstance(value, str) else value[..., None]
        for name, value in (
            ("image", given.problem.voxels),
            ("mask", given.mask),
            ("weights", given.problem.weights),
        )
    }
    found = describe(given.fit_arrays(spacing=(*given.sizes, 1.0), **deeper, **keywords))
    check_same(
        {name: array[..., 0] if array.ndim > 1 else array for name, array in found.items()},
        given.of_arrays,
    )


def save_the_field(given: Given) -> None:
    """A field from a file is the field that was written."""
    result = given.fit_arrays()
    path = given.folder / f"field.{given.random.choice(['npz', 'nii', 'nii.gz'])}"
    result.field.save(path)
    loaded = BiasField.load(path)
    check_same(
        {"log_bias": loaded.evaluate(given.problem.voxels.shape)},
        {"log_bias": to_array(result.log_bias)},
    )
    check_same(
        {"corrected": to_array(loaded.apply(given.problem.voxels))},
        {"corrected": to_array(result.field.apply(given.problem.voxels))},
    )
    keywords = given.problem.keywords
    # ITK's filter divides by a field that was not refined for a last level without iterations.
    ends_alike = keywords["iters"][-1] > 0 or keywords.get("arithmetic") != "itk"
    if ends_alike and not set(keywords) & {"scale", "outside", "non_positive"}:
        check_same({"corrected": to_array(loaded.apply(given.problem.voxels))}, given.of_arrays)


def start_from_a_field(given: Given) -> None:
    """A field to start from, as an object and as a file."""
    if not given.may_start:
        raise InapplicableError
    result = given.fit_arrays()
    result.field.save(given.folder / "start.npz")
    expected = describe(given.fit_arrays(init=result.field))
    check_same(describe(given.fit_arrays(init=given.folder / "start.npz")), expected)


def correct_each_volume(given: Given) -> None:
    """A series in which every volume has a field of its own."""
    problem = given.problem
    if problem.ndim != 3 or problem.keywords.get("mask_label"):
        raise InapplicableError
    volumes = [problem.voxels, np.asfortranarray(problem.voxels[:, ::-1])]
    correct: Any = partial(
        n4ax.n4, mask=given.mask, weights=problem.weights, spacing=given.sizes, voxel_order="F",
        **problem.keywords,
    )  # fmt: skip
    try:
        alone = [correct(volume) for volume in volumes]
    except InputError:  # the second one is another problem
        raise InapplicableError from None
    found: npt.NDArray[Any] = correct(np.stack(volumes, axis=-1), series="each")
    for number, expected in enumerate(alone):
        check_same({"corrected": found[..., number]}, {"corrected": expected})


DOORS = (
    turn_axes, lay_otherwise, promote, retype_mask, mask_in_the_image, take_torch, take_jax,
    take_dask, correct_in_batch, correct_list, change_threads, give_settings, watch_progress,
    add_an_axis, save_the_field, start_from_a_field, correct_each_volume,
)  # fmt: skip
RARE = (correct_in_batch_by_xla,)
"""Doors that take seconds."""
