"""Arrays of several libraries: taken in without copies, and given back as they came.

NumPy and JAX arrays are worked on as they are. Tensors of other libraries come and go through
DLPack: on the host as NumPy, on an accelerator as JAX arrays. JAX is not imported here unless an
argument asks for it.
"""

import sys
from typing import Any

import numpy as np

_HOST = (1, 3)
"""DLPack's device types of memory that the processor reads: its own, and pinned for CUDA."""


def import_array(array: Any) -> Any:
    """``array`` as a NumPy, JAX or dask array, sharing its memory where that is possible."""
    if is_jax(array) or is_lazy(array):
        return array
    if is_torch(array):
        array = _without_gradient(array)
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack_device__"):
        return np.asarray(array)
    if array.__dlpack_device__()[0] in _HOST:
        return np.from_dlpack(array)
    import jax

    return jax.dlpack.from_dlpack(array)


def export_array(given: Any, result: Any) -> Any:
    """``result`` in the library, and on the device, of ``given``."""
    if is_traced(result) or is_lazy(result):
        return result
    if is_jax(given):
        import jax

        return result if is_jax(result) else jax.device_put(result, given.sharding)
    if is_torch(given):
        torch = sys.modules["torch"]
        host = isinstance(result, np.ndarray)
        tensor = torch.from_numpy(result) if host else torch.from_dlpack(result)
        return tensor.to(given.device)
    library = sys.modules.get(type(given).__module__.partition(".")[0])
    if hasattr(given, "__dlpack_device__") and hasattr(library, "from_dlpack"):
        on_host = given.__dlpack_device__()[0] in _HOST
        result = np.asarray(result) if on_host else result
        return result if isinstance(given, np.ndarray) else library.from_dlpack(result)  # type: ignore[union-attr]
    return np.asarray(result)


def is_torch(array: Any) -> bool:
    """Whether this is a tensor of torch, or of a library that builds on it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def _without_gradient(tensor: Any) -> Any:
    """A tensor that DLPack takes: no part of a graph, and of a type that NumPy has."""
    torch = sys.modules["torch"]
    plain = tensor.detach().as_subclass(torch.Tensor)
    return plain.float() if plain.dtype == torch.bfloat16 else plain


def is_jax(array: Any) -> bool:
    """Whether this is a JAX array, or stands for one while a program is traced."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(array, jax.Array)


def is_lazy(array: Any) -> bool:
    """Whether this is a dask array, whose blocks are not there until they are asked for."""
    dask = sys.modules.get("dask.array")
    return dask is not None and isinstance(array, dask.Array)


def load_array(array: Any) -> Any:
    """A dask array as a NumPy array; others as they are."""
    return array.compute() if is_lazy(array) else array


def namespace_of(array: Any) -> Any:
    """The functions for arrays of this library: NumPy's, JAX's or dask's."""
    return sys.modules["dask.array"] if is_lazy(array) else array.__array_namespace__()


def has_values(array: Any) -> bool:
    """Whether the values can be looked at: not of what is traced, nor of what is on a disk."""
    return not (is_traced(array) or is_lazy(array))


def is_traced(array: Any) -> bool:
    """Whether this stands for an array whose values are not known while a program is made."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(array, jax.core.Tracer)


def is_on_accelerator(array: Any) -> bool:
    """Whether this is a JAX array in the memory of something else than the processor."""
    if not is_jax(array) or is_traced(array):
        return False
    return any(device.platform != "cpu" for device in array.devices())
