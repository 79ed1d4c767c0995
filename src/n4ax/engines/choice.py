"""Which engine works on an image, and how its arrays come to that engine."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from n4ax.errors import InputError
from n4ax.images.arrays import (
    import_array,
    is_jax,
    is_lazy,
    is_on_accelerator,
    is_torch,
    is_traced,
)
from n4ax.processors import count_affinity
from n4ax.settings import EngineName, N4Settings, is_choice, is_whole_number

_MOST_THREADS = 64
"""More are started only where there are more than half as many processors."""


def check_engine(engine: EngineName | None) -> None:
    """Check the name of an engine; ``None`` leaves the choice to :func:`choose_engine`.

    Raises
    ------
    ValueError
        There is no such engine.
    """
    if not is_choice(engine, (None, "cpu", "xla")):
        raise InputError('{engine} is {0!r}; expected None, "cpu" or "xla"', engine)


def choose_engine(
    engine: EngineName | None, *arrays: Any, settings: N4Settings | None = None
) -> EngineName:
    """Choose the engine for some arrays: the one that was asked for, or the one that fits.

    Without a wish, XLA is chosen if an array is on an accelerator, or if JAX has a GPU for the
    arrays that are not; the CPU engine otherwise, and for what it alone can do.

    Parameters
    ----------
    engine
        The engine that is asked for.
    *arrays
        The arrays that it is to work on.
    settings
        The parameters of N4. Some of them are for the CPU engine alone.

    Raises
    ------
    ValueError
        There is no such engine, or it cannot work on the arrays, or not in that way.
    """
    check_engine(engine)
    if engine == "xla" and find_spec("jax") is None:
        raise InputError(
            "{engine} is \"xla\", which needs JAX: pip install 'n4ax[cpu]', or "
            "'n4ax[cuda12]' for a GPU"
        )
    reason = None if settings is None else _find_reason_for_cpu(settings)
    if reason is not None and (engine == "xla" or any(map(is_traced, arrays))):
        raise InputError(
            f"{reason}, which the XLA engine cannot do: use {{engine:cpu}} outside of JAX "
            "programs, or leave it out"
        )
    if any(map(is_lazy, arrays)):
        if engine == "xla":
            raise InputError('{engine} is "xla", which takes no dask or zarr arrays: use "cpu"')
        return "cpu"
    if any(map(is_traced, arrays)):
        if engine == "cpu":
            raise InputError('{engine} is "cpu", which cannot be part of a JAX program: use "xla"')
        return "xla"
    if engine is not None or reason is not None:
        return engine or "cpu"
    return "xla" if any(map(is_on_accelerator, arrays)) or has_gpu() else "cpu"


def _find_reason_for_cpu(settings: N4Settings) -> str | None:
    """Find the setting that only the CPU engine can do, in the words of an error."""
    if settings.accelerate:
        return "{accelerate} is True"
    return "{arithmetic} is 'itk'" if settings.arithmetic == "itk" else None


def check_threads(num_threads: int | None) -> int | None:
    """Check a number of threads, and give it as an int; ``None`` leaves it to the engine.

    A number beyond all use is made smaller, since no result depends on it.

    Raises
    ------
    ValueError
        It is not a whole number of at least 1.
    """
    if num_threads is None:
        return None
    if not is_whole_number(num_threads) or num_threads < 1:
        raise InputError(
            "{num_threads} is {0!r}; expected a whole number of at least 1", num_threads
        )
    return min(int(num_threads), max(_MOST_THREADS, 2 * count_affinity()))


def to_engine(engine: EngineName, array: Any, device: Any = None) -> Any:
    """Bring an argument to the engine as an array; words and ``None`` stay as they are.

    Parameters
    ----------
    engine
        The engine that is to work on the array.
    array
        An array of any library, a word or ``None``.
    device
        The JAX device for the array; ``None`` leaves it where it is.
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
    return _to_jax(own, device)


def _to_jax(array: Any, device: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if not is_jax(array):
        if array.dtype == np.longdouble:  # JAX has double precision at most
            array = array.astype(np.float64)
        with jax.enable_x64(True):
            array = jnp.asarray(array)
    return array if device is None else jax.device_put(array, device)


def double_precision(engine: EngineName) -> AbstractContextManager[Any]:
    """Switch JAX to double precision inside the block, which it does not have by default."""
    if engine == "cpu":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


@cache
def has_gpu() -> bool:
    """Whether JAX has a GPU here. JAX takes long to start, so it is asked only with a plugin."""
    if find_spec("jax_plugins") is None or find_spec("jax") is None:
        return False
    import jax

    return jax.default_backend() == "gpu"
