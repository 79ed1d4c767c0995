"""N4 as a part of other JAX programs: inside ``jax.jit`` and under ``jax.vmap``.

There the values of the arrays are not known, so the volume is neither cropped nor packed, and
nothing about the values is checked.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from n4ax.engines.xla import programs
from n4ax.field import make_field
from n4ax.images.arrays import import_array, is_traced
from n4ax.level import finish
from n4ax.posing import pose
from n4ax.settings import N4Settings

Inputs = tuple[Any, Any, Any]
"""Image, mask and weights."""

Outputs = tuple[Any, ...]


def correct_traced(
    settings: N4Settings,
    given: Inputs,
    spacing: float | Sequence[float] | None,
    return_bias: bool,
    alone: Callable[[Any, Any, Any], Outputs],
) -> Outputs:
    """The corrected image, and the log bias field if wanted, of traced arrays.

    Under ``jax.vmap`` the images are corrected one after the other by the very program that
    corrects one: the field of one image does not depend on its neighbours, not even in the last
    bit. Where ``vmap`` is not itself traced, that is ``alone``.
    """
    is_array = [not (array is None or isinstance(array, str)) for array in given]

    def filled(arrays: Sequence[Any]) -> Inputs:
        left = iter(arrays)
        first, second, third = (
            next(left) if own else word for own, word in zip(is_array, given, strict=True)
        )
        return first, second, third

    @jax.custom_batching.custom_vmap
    def correct(*arrays: Any) -> Outputs:
        return _correct(settings, filled(arrays), spacing, return_bias)

    @correct.def_vmap
    def one_by_one(size: int, batched: list[bool], *arrays: Any) -> tuple[Outputs, Any]:
        def single(parts: Sequence[Any]) -> list[Any]:
            left = iter(parts)
            return [next(left) if own else a for own, a in zip(batched, arrays, strict=True)]

        stacks = [array for own, array in zip(batched, arrays, strict=True) if own]
        if any(is_traced(array) for array in arrays):
            outputs = lax.map(lambda parts: correct(*single(parts)), stacks)
        else:
            each = [alone(*filled(single([stack[k] for stack in stacks]))) for k in range(size)]
            outputs = jax.tree.map(lambda *parts: jnp.stack(parts), *each)
        return outputs, jax.tree.map(lambda _: True, outputs)

    arrays = (array for own, array in zip(is_array, given, strict=True) if own)
    return correct(*(jnp.asarray(import_array(array)) for array in arrays))


def _correct(
    settings: N4Settings,
    given: Inputs,
    spacing: float | Sequence[float] | None,
    return_bias: bool,
) -> Outputs:
    image, mask, weights = given
    with jax.enable_x64(True):
        problem = pose(image, mask, weights, spacing, settings)
        job, plan = programs.prepare(problem, settings, every_measure=False)
        lattice = programs.compiled_run(job, plan).lattice
        field = make_field(problem, lattice, settings, image.shape)
        corrected, field = finish(field, image, problem, settings)
        return (corrected, field.evaluate(engine="xla")) if return_bias else (corrected,)
