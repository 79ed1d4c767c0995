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
from typing import Any

from n4ax.engines.compiled.arguments import lay_out, take_back
from n4ax.engines.compiled.library import load_library

Range = Callable[[int, int], Any]
"""A kernel with its arguments, which works on the range from a first to a last place."""

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
        module = self.py_func.__module__.removeprefix("n4ax.engines.").replace(".kernels", "")
        return f"{module}.{self.py_func.__name__}"

    def entry_name(self, kinds: str) -> str:
        """The name of the kernel in the library, for a kind of arguments."""
        return f"{self.name}({kinds})"

    @property
    def kinds(self) -> list[str]:
        """The kinds of arguments that the kernel was called with."""
        return list(self._entries)

    def bind(self, *arguments: Any) -> Range:
        """The kernel with all its arguments but the range."""
        laid = lay_out(arguments)
        entry = self._find_entry(laid.kinds)
        if entry is None:
            dispatcher, plain = self.dispatcher, take_back(arguments)
            return lambda first, stop: dispatcher(first, stop, *plain)
        slots = (ctypes.c_int64 * len(laid.slots))(*laid.slots)
        address = ctypes.addressof(slots)

        def run(first: int, stop: int, _kept: Any = (slots, arguments)) -> None:
            if entry(first, stop, address):
                raise MemoryError("a kernel could not have the memory that it needs")

        return run

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel, and return its number if it has one."""
        if self.takes_range:
            return self.bind(*arguments[2:])(*arguments[:2])
        laid = lay_out(arguments)
        entry = self._find_entry(laid.kinds)
        if entry is None:
            return self.dispatcher(*take_back(arguments))
        slots = (ctypes.c_int64 * (len(laid.slots) + 1))(*laid.slots, 0)
        if entry(0, 0, ctypes.addressof(slots)):
            raise MemoryError("a kernel could not have the memory that it needs")
        return ctypes.c_double.from_buffer(slots, 8 * len(laid.slots)).value

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


class CFunction:
    """A function of the C library, for kernels to call.

    Parameters
    ----------
    name
        Its name.
    kind
        numba's name for the type of its number and of its result, ``"float32"`` or ``"float64"``.
    """

    def __init__(self, name: str, kind: str) -> None:
        self._name, self._kind = name, kind

    @property
    def _numba_type_(self) -> Any:
        from numba import types

        kind = getattr(types, self._kind)
        return types.ExternalFunction(self._name, kind(kind))


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
