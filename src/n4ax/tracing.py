"""N4 as a part of other JAX programs: inside ``jax.jit`` and under ``jax.vmap``.

The values of the arrays are not known there, so the volume is neither cropped nor packed, and
nothing about the values is checked.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from n4ax.engines.choice import choose_engine
from n4ax.engines.xla import programs
from n4ax.errors import InputError
from n4ax.images.arrays import import_array, is_traced
from n4ax.inputs import Inputs, Run
from n4ax.pipeline import correct_image, fit_image, pose_image
from n4ax.settings import N4Settings

Outputs = tuple[Any, ...]
"""The corrected image, and the log bias field if it is wanted."""


def correct_traced(settings: N4Settings, inputs: Inputs, run: Run, return_bias: bool) -> Outputs:
    """Correct images that JAX traces.

    Under ``jax.vmap`` the images are corrected one after the other by the same program that
    corrects a single image. So the field of an image does not depend on its neighbours, not even
    in the last bit. If ``vmap`` itself is not traced, each image is corrected outside of JAX's
    program, as :func:`n4ax.n4` does it.
    """
    if inputs.init is not None:
        raise InputError(
            "{init} is given inside a JAX program, which has no initial field: leave it out, or "
            "call n4ax outside of jax.jit and jax.vmap"
        )
    given = (inputs.image, inputs.mask, inputs.weights)
    choose_engine(run.engine, *given, settings=settings)  # refuses the CPU engine
    are_arrays = [not (array is None or isinstance(array, str)) for array in given]

    def fill(arrays: Sequence[Any]) -> Inputs:
        left = iter(arrays)
        image, mask, weights = (
            next(left) if is_array else word
            for is_array, word in zip(are_arrays, given, strict=True)
        )
        return replace(inputs, image=image, mask=mask, weights=weights)

    @jax.custom_batching.custom_vmap
    def correct(*arrays: Any) -> Outputs:
        return _correct_one(settings, fill(arrays), return_bias)

    @correct.def_vmap
    def correct_one_by_one(size: int, batched: list[bool], *arrays: Any) -> tuple[Outputs, Any]:
        def pick(parts: Sequence[Any]) -> list[Any]:
            left = iter(parts)
            return [next(left) if one else a for one, a in zip(batched, arrays, strict=True)]

        stacks = [array for one, array in zip(batched, arrays, strict=True) if one]
        if any(map(is_traced, arrays)):
            outputs = lax.map(lambda parts: correct(*pick(parts)), stacks)
        else:
            each = [
                _correct_alone(settings, fill(pick([s[k] for s in stacks])), run, return_bias)
                for k in range(size)
            ]
            outputs = jax.tree.map(lambda *parts: jnp.stack(parts), *each)
        return outputs, jax.tree.map(lambda _: True, outputs)

    arrays = (array for is_array, array in zip(are_arrays, given, strict=True) if is_array)
    return correct(*(jnp.asarray(import_array(array)) for array in arrays))


def _correct_alone(settings: N4Settings, inputs: Inputs, run: Run, return_bias: bool) -> Outputs:
    result = fit_image(settings, inputs, run)
    return (result.corrected, result.log_bias) if return_bias else (result.corrected,)


def _correct_one(settings: N4Settings, inputs: Inputs, return_bias: bool) -> Outputs:
    with jax.enable_x64(True):
        posed = pose_image(settings, inputs, "xla")
        arguments, key = programs.prepare(posed.pose.problem, posed.settings)
        lattice = programs.compiled_run(arguments, key).lattice
        corrected, field = correct_image(posed, lattice)
        return (corrected, field.evaluate(engine="xla")) if return_bias else (corrected,)
