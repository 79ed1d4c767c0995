"""Puts a mutant into a running process, where the package is imported already.

A fault inside a function takes the place of the function's code. Whoever has imported the function
runs the fault. Kernels that are changed, or that call one that is changed, are compiled by numba.
"""

import functools
import gc
import sys
from collections.abc import Collection, Iterable, Iterator
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

Functions = dict[tuple[str, str], list[FunctionType]]


def list_functions() -> Functions:
    """List all functions of the package that exist, by file and qualified name."""
    found: Functions = {}
    for value in gc.get_objects():
        # What only passes for a function may be gone: weak references do.
        if type(value) is FunctionType and "n4ax" in value.__code__.co_filename:
            code = value.__code__
            found.setdefault((code.co_filename, code.co_qualname), []).append(value)
    return found


def swap(functions: Functions, file: str, function: str, source: str) -> list[FunctionType]:
    """Give a function the code that a mutated source has for it.

    Raises
    ------
    LookupError
        The function does not exist, or is not made once.
    """
    old = functions.get((file, function), [])
    new = [c for c in _walk(compile(source, file, "exec")) if c.co_qualname == function]
    if not old or len({f.__code__.co_firstlineno for f in old}) != len(new):
        raise LookupError(f"{file} has no function {function} to be changed")
    by_line = {code.co_firstlineno: code for code in new}
    for live in old:
        code = by_line.get(live.__code__.co_firstlineno, new[0])
        if code.co_freevars != live.__code__.co_freevars:
            raise LookupError(f"{function} has other outer variables than before")
        live.__code__ = code
    return old


def _walk(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _walk(constant)


def forget_results() -> None:
    """Empty the caches of functions, which may hold what was computed before the fault."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "n4ax":
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def list_kernels() -> list[Any]:
    """List all kernels, and the intrinsic functions that they call."""
    from n4ax.engines.compiled.kernel import Intrinsic, Kernel

    return [value for value in gc.get_objects() if type(value) in (Kernel, Intrinsic)]


def find_callers(kernels: Collection[Any], names: Iterable[str]) -> set[str]:
    """Find the kernels with these names, and those that call them directly or not."""
    calls = {name_kernel(kernel): _find_called(kernel) for kernel in kernels}
    found = _add_intrinsics(kernels, names)
    while more := {name for name, called in calls.items() if called & found} - found:
        found |= more
    return found


def _add_intrinsics(kernels: Collection[Any], names: Iterable[str]) -> set[str]:
    """Add all intrinsic functions beside what writes LLVM's code for them, if that is changed."""
    from n4ax.engines.compiled.kernel import Intrinsic

    found = set(names)
    folders = {name.partition("lane_code.")[0] for name in found if ".lane_code." in name}
    beside = (name_kernel(kernel) for kernel in kernels if isinstance(kernel, Intrinsic))
    return found | {name for name in beside if name.startswith(tuple(folders))}


def name_kernel(kernel: Any) -> str:
    """Name a kernel by its module and function."""
    return f"{kernel.py_func.__module__}.{kernel.py_func.__name__}"


def _find_called(kernel: Any) -> set[str]:
    function = kernel.py_func
    words = {word for code in _walk(function.__code__) for word in code.co_names}
    values = [function.__globals__.get(word) for word in words]
    values += [cell.cell_contents for cell in function.__closure__ or ()]
    modules = [value for value in values if isinstance(value, ModuleType)]
    values += [getattr(module, word, None) for module in modules for word in words]
    called = {name_kernel(value) for value in values if hasattr(value, "py_func")}
    plain = [v for v in values if isinstance(v, FunctionType)]
    return called | {f"{v.__module__}.{v.__name__}" for v in plain}


def compile_anew(kernels: Iterable[Any], changed: set[str]) -> None:
    """Have numba compile the changed kernels, and not take them from the library or from disk."""
    import numba

    from n4ax.engines.compiled import numba_fallback
    from n4ax.engines.compiled.kernel import Kernel

    for kernel in kernels:
        if name_kernel(kernel) in changed and isinstance(kernel, Kernel):
            kernel._entries.clear()
            kernel._dispatcher = None
            kernel._look_up = lambda _: None  # type: ignore[method-assign]

    def compile_function(cache: bool, **options: Any) -> Any:
        def decorate(function: Any) -> Any:
            name = f"{function.__module__}.{function.__name__}"
            return numba.njit(cache=cache and name not in changed, **options)(function)

        return decorate

    numba_fallback.numba = SimpleNamespace(njit=compile_function, **_others(numba))


def _others(numba: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(numba).items() if name != "njit"}
