"""Kernels: functions that are written in Python and run as machine code, without the GIL.

The machine code comes from the library of kernels (:mod:`n4ax.engines.compiled.library`). If
there is no library, or if the library does not have the kernel for the types of some arguments,
numba compiles the kernel (:mod:`n4ax.engines.compiled.numba_fallback`). Both have the same bits.

Nothing here imports numba before that, which takes a quarter of a second.
"""

import ctypes
import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from n4ax.engines.compiled.arguments import lay_out, take_back
from n4ax.engines.compiled.library import load_library

NO_MEMORY = "a compiled kernel could not have the memory that it needs"

_Entry = Callable[[int, int, int], int]
"""Machine code of the library: it takes the range, and the address of the slots."""

_lock = threading.RLock()


def compile_kernel(
    *fastmath: str, inline: bool = False
) -> Callable[[Callable[..., Any]], "Kernel"]:
    """Make a decorator that turns a function into a kernel.

    Parameters
    ----------
    *fastmath
        LLVM's fast-math flags for the function: what may be assumed of its floating-point
        numbers, and which operations may be reordered or fused.
    inline
        Have numba put the function into its callers, with the flags of the caller. LLVM decides
        for itself about other functions that a kernel calls, and leaves large ones out of line.
    """
    options = {
        "nogil": True,
        "error_model": "numpy",
        "boundscheck": False,
        "fastmath": set(fastmath),
        "inline": "always" if inline else "never",
    }
    return lambda function: Kernel(function, options)


class Kernel:
    """A compiled function.

    Its arguments are numbers, C-contiguous arrays, and tuples of such. It returns nothing or one
    number. If its first two parameters are ``first`` and ``stop``, it works on a range.

    Parameters
    ----------
    function
        What is compiled.
    options
        numba's options.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.py_func = function
        self.targetoptions = options  # where numba looks for them
        self.takes_range = list(inspect.signature(function).parameters)[:2] == ["first", "stop"]
        self.__doc__ = function.__doc__
        self._dispatcher: Any = None
        self._entries: dict[str, _Entry | None] = {}

    @property
    def name(self) -> str:
        """The kernel's name, with its place among the engines."""
        module = str(self.py_func.__module__).removeprefix("n4ax.engines.").replace(".kernels", "")
        return f"{module}.{self.py_func.__name__}"

    def entry_name(self, kinds: str) -> str:
        """The name of the kernel in the library, for a kind of arguments."""
        return f"{self.name}({kinds})"

    @property
    def kinds(self) -> list[str]:
        """The kinds of arguments that the kernel was called with."""
        return list(self._entries)

    def bind(self, *arguments: Any) -> "Bound":
        """The kernel with all its arguments but the range.

        The arrays are read anew at every call; numbers stay what they are now.
        """
        laid = lay_out(arguments)
        entry = self._find_entry(laid.kinds)
        if entry is None:
            plain = take_back(arguments)
            return Bound(None, 0, partial(_call_dispatcher, self, plain))
        # The last slot is for the number that the kernel returns.
        slots = (ctypes.c_int64 * (len(laid.slots) + 1))(*laid.slots)
        return Bound(entry, ctypes.addressof(slots), (slots, arguments))

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel, and return its number if it has one."""
        if self.takes_range:
            return self.bind(*arguments[2:])(*arguments[:2])
        bound = self.bind(*arguments)
        if bound.entry is None:
            return self.dispatcher(*take_back(arguments))
        bound(0, 0)
        return ctypes.c_double.from_buffer(bound.kept[0], len(bound.kept[0]) * 8 - 8).value

    def _find_entry(self, kinds: str) -> _Entry | None:
        try:
            return self._entries[kinds]
        except KeyError:
            entry = self._entries[kinds] = self._look_up(kinds)
            return entry

    def _look_up(self, kinds: str) -> _Entry | None:
        library = load_library()
        entry = None if library is None else getattr(library, self.entry_name(kinds), None)
        if entry is not None:
            entry.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
            entry.restype = ctypes.c_int32
        return entry

    # ---- what numba looks for, when a kernel is compiled or called by another kernel ------------

    @property
    def dispatcher(self) -> Any:
        """The function as numba compiles it."""
        if self._dispatcher is None:
            from n4ax.engines.compiled.numba_fallback import make_dispatcher

            with _lock:
                if self._dispatcher is None:
                    self._dispatcher = make_dispatcher(self.py_func, self.targetoptions)
        return self._dispatcher

    @property
    def _numba_type_(self) -> Any:
        return self.dispatcher._numba_type_


class Bound:
    """A kernel with its arguments, to be called with a range.

    Attributes
    ----------
    entry
        The machine code of the library; ``None`` if numba compiles the kernel.
    address
        The address of the arguments.
    kept
        What keeps the arguments alive, or calls numba's function.
    """

    __slots__ = ("address", "entry", "kept")

    def __init__(self, entry: _Entry | None, address: int, kept: Any) -> None:
        self.entry, self.address, self.kept = entry, address, kept

    @property
    def entry_address(self) -> int:
        """The address of the machine code."""
        return ctypes.cast(self.entry, ctypes.c_void_p).value or 0  # type: ignore[arg-type]

    def __call__(self, first: int, stop: int) -> None:
        """Run the kernel on a range; one that takes no range ignores it."""
        if self.entry is None:
            self.kept(first, stop)
        elif self.entry(first, stop, self.address):
            raise MemoryError(NO_MEMORY)


def _call_dispatcher(kernel: Kernel, arguments: Any, first: int, stop: int) -> None:
    given = (first, stop, *arguments) if kernel.takes_range else arguments
    kernel.dispatcher(*given)


class CFunction:
    """A function of the C library, for kernels to call.

    Parameters
    ----------
    name
        Its name.
    result
        numba's name for the type of its result, such as ``"float32"``.
    *arguments
        The types of its arguments.
    """

    def __init__(self, name: str, result: str, *arguments: str) -> None:
        self._name, self._kinds = name, (result, *arguments)

    @property
    def _numba_type_(self) -> Any:
        from numba import types

        result, *arguments = (getattr(types, kind) for kind in self._kinds)
        return types.ExternalFunction(self._name, result(*arguments))


class Intrinsic:
    """A function whose machine code is written in LLVM's language, for kernels to call.

    Parameters
    ----------
    function
        What numba's ``intrinsic`` decorates.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.py_func = function
        self.__doc__ = function.__doc__
        self._type: Any = None

    @property
    def _numba_type_(self) -> Any:
        from n4ax.engines.compiled.numba_fallback import make_intrinsic

        with _lock:
            if self._type is None:
                self._type = make_intrinsic(self.py_func)
        return self._type
