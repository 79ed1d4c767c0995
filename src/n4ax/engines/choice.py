"""Which engine works on an array, and how arrays are handed to it."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from n4ax.errors import InputError
from n4ax.images.arrays import import_array, is_jax, is_lazy, is_on_accelerator, is_torch, is_traced
from n4ax.settings import EngineName


def choose_engine(engine: EngineName | None, *arrays: Any) -> EngineName:
    """Choose the engine for some arrays: the one that is asked for, or the one that fits.

    Without ``engine``, that is XLA if an array is on an accelerator, or if there is an
    accelerator for arrays on the host.

    Parameters
    ----------
    engine : "cpu", "xla" or None
        The engine that is asked for.
    *arrays : arrays
        Image, mask and weights, of any array library; words and ``None`` are passed over.

    Raises
    ------
    InputError
        ``engine`` is no engine, or it cannot work on these arrays.
    """
    if engine not in (None, "cpu", "xla"):
        raise InputError('{engine} is {0!r}; expected None, "cpu" or "xla"', engine)
    if any(map(is_lazy, arrays)):
        if engine == "xla":
            raise InputError('{engine} is "xla", which takes no dask or zarr arrays: use "cpu"')
        return "cpu"
    if any(map(is_traced, arrays)):
        if engine == "cpu":
            raise InputError('{engine} is "cpu", which cannot be part of a JAX program: use "xla"')
        return "xla"
    if engine is not None:
        return engine
    return "xla" if any(map(is_on_accelerator, arrays)) or _accelerator_found() else "cpu"


@cache
def _accelerator_found() -> bool:
    """Whether JAX has a GPU here.

    It takes a while to ask JAX, so it is asked only if it has a plugin.
    """
    if find_spec("jax_plugins") is None:
        return False
    import jax

    return jax.default_backend() == "gpu"


def to_engine(engine: EngineName, array: Any) -> Any:
    """Convert an array to one that the engine works on; words and ``None`` stay as they are.

    That is a NumPy or dask array for the CPU engine, and a JAX or dask array for XLA.
    """
    if array is None or isinstance(array, str):
        return array
    if engine == "cpu" and is_torch(array):
        array = array.cpu()
    own = import_array(array)
    if is_lazy(own):
        return own
    if engine == "cpu":
        return np.asarray(own)
    if is_jax(own):
        return own
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        return jnp.asarray(own)


def double_precision(engine: EngineName) -> AbstractContextManager[Any]:
    """A context in which JAX computes in double precision; it does nothing for the CPU engine."""
    if engine == "cpu":
        return nullcontext()
    import jax

    return jax.enable_x64(True)
