"""Arrays of several libraries: taken in without copies, and given back as they came.

NumPy and JAX arrays are used as they are. Arrays of other libraries come and go through DLPack: in
the host's memory as NumPy arrays, on an accelerator as JAX arrays. JAX is not imported here unless
an argument asks for it.
"""

import sys
from typing import Any

import numpy as np

from n4ax.errors import InputError
from n4ax.extras import need_extra
from n4ax.namespaces import find_namespace

_HOST = (1, 3)
"""DLPack's device types for memory that the processor can read: its own, and pinned for CUDA."""


def import_array(array: Any) -> Any:
    """Make a NumPy, JAX or dask array of any array, sharing its memory if possible."""
    if is_jax(array) or is_lazy(array):
        return array
    if is_torch(array):
        array = _detach(array)
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack_device__"):
        return np.asarray(array)
    if array.__dlpack_device__()[0] in _HOST:
        return np.from_dlpack(array)
    with need_extra("cuda12", "an array on an accelerator"):
        import jax

    return jax.dlpack.from_dlpack(array)


def export_array(given: Any, result: Any) -> Any:
    """Give ``result`` in the library, and on the device, of the array ``given``."""
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
    library: Any = sys.modules.get(type(given).__module__.partition(".")[0])
    if hasattr(given, "__dlpack_device__") and hasattr(library, "from_dlpack"):
        on_host = given.__dlpack_device__()[0] in _HOST
        result = np.asarray(result) if on_host else result
        return result if isinstance(given, np.ndarray) else library.from_dlpack(result)
    return np.asarray(result)


def load_array(array: Any) -> Any:
    """Compute a dask array, which gives a NumPy array; leave other arrays as they are."""
    return array.compute() if is_lazy(array) else array


def namespace_of(array: Any) -> Any:
    """Give the module with the functions for an array: NumPy's, JAX's or dask's."""
    return sys.modules["dask.array"] if is_lazy(array) else find_namespace(array)


def check_real(name: str, dtype: Any) -> None:
    """Check that an array's type is one of real numbers.

    Raises
    ------
    ValueError
        The numbers are complex, or these are no numbers. The message names the argument.
    """
    if np.dtype(dtype).kind not in "biuf":
        raise InputError(
            f"{{{name}}} has dtype {{0}}; expected real numbers (for complex data pass the "
            "magnitude)",
            dtype,
        )


def _is_from(library: str, kind: str, array: Any) -> bool:
    """Whether this is of a type of a library, if anyone has imported that library.

    A library that another thread is just importing may lack the type; then nothing is of it yet.
    """
    return isinstance(array, getattr(sys.modules.get(library), kind, ()))


def is_torch(array: Any) -> bool:
    """Whether this is a tensor of torch, or of a library that builds on torch."""
    return _is_from("torch", "Tensor", array)


def is_jax(array: Any) -> bool:
    """Whether this is a JAX array, or stands for one while JAX traces a program."""
    return _is_from("jax", "Array", array)


def is_masked(array: Any) -> bool:
    """Whether this is a masked array of NumPy, which loads them when they are first used."""
    return _is_from("numpy.ma", "MaskedArray", array)


def is_lazy(array: Any) -> bool:
    """Whether this is a dask array, whose blocks are not computed until they are needed."""
    return _is_from("dask.array", "Array", array)


def is_traced(array: Any) -> bool:
    """Whether this stands for an array whose values are unknown while JAX traces a program."""
    return _is_from("jax.core", "Tracer", array)


def has_values(array: Any) -> bool:
    """Whether the values can be looked at: neither traced by JAX nor waiting on a disk."""
    return not (is_traced(array) or is_lazy(array))


def is_on_accelerator(array: Any) -> bool:
    """Whether this is a JAX array in the memory of a device other than the processor."""
    if not is_jax(array) or is_traced(array):
        return False
    return any(device.platform != "cpu" for device in array.devices())


def _detach(tensor: Any) -> Any:
    """Make a tensor that DLPack takes: outside of any graph, and of a type that NumPy has."""
    torch = sys.modules["torch"]
    plain = tensor.detach().as_subclass(torch.Tensor)
    return plain.float() if plain.dtype == torch.bfloat16 else plain
