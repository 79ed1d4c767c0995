"""Kernels by which threads share the pieces of a job, without Python in between.

The leader writes a job, and sets the number of its pieces that are left. A thread that finds some
left takes one, in a single step that no two threads can do at once, and counts it as finished
afterwards. The leader goes on when all are finished. So a helper that comes too late finds
nothing, and a job never waits for a helper that has taken nothing.

Tables are given by their addresses, because a step on shared memory must not be reordered.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import sys
from collections.abc import Callable, Sequence
from typing import Any

from n4ax.engines.compiled.kernel import CFunction, Intrinsic, compile_kernel

LEFT, FINISHED, FAILED, CLOSED = 0, 8, 16, 24
"""Places in the table of a team. What several threads change lies in cache lines of its own."""

ENTRY, SLOTS, PARTS, PIECES = 32, 33, 34, 35
"""Places of the job: the address of the machine code and of its arguments, how many parts the job
has, and in how many pieces they are shared out."""

TABLE = 40
"""Length of the table."""

SHORT = 1_000
"""A leader looks so many times whether all is finished before it lets other threads run."""

_let_others_run = CFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", "int32")


@compile_kernel()
def lead(table):
    """Work on the job in the table until it is done, together with all helpers that come."""
    pieces = load(table, PIECES)
    store(table, FINISHED, 0)
    store(table, LEFT, pieces)
    _work(table)
    looks = 0
    while load(table, FINISHED) < pieces:
        pause(table)
        looks += 1
        if looks > SHORT:
            _let_others_run()


@compile_kernel()
def serve(table, patience):
    """Work on jobs as they come, until none has come for ``patience`` looks at the table."""
    looks = 0
    while looks < patience and load(table, CLOSED) == 0:
        if load(table, LEFT) > 0:
            _work(table)
            looks = 0
        pause(table)
        looks += 1


@compile_kernel()
def _work(table):
    """Take pieces until none is left."""
    left = load(table, LEFT)
    while left > 0:
        if take_one(table, LEFT, left):
            pieces, parts = load(table, PIECES), load(table, PARTS)
            first, stop = parts * (left - 1) // pieces, parts * left // pieces
            if call_entry(load(table, ENTRY), first, stop, load(table, SLOTS)) != 0:
                store(table, FAILED, 1)
            add_one(table, FINISHED)
        left = load(table, LEFT)


# ---- steps that no two threads can do at once -------------------------------------------------


def _compile(result: str, arguments: Sequence[Any], write: Callable[[Any, list[Any]], Any]) -> Any:
    """Tell numba the type of a step, and how its code is written with LLVM's builder."""
    from numba import types

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        value = write(builder, values)
        return context.get_dummy_value() if value is None else value

    return getattr(types, result)(*arguments), generate


def _locate(builder: Any, table: Any, place: Any) -> Any:
    from llvmlite import ir

    return builder.gep(builder.inttoptr(table, ir.IntType(64).as_pointer()), [place])


@Intrinsic
def load(_context, table, place):
    """Read a place of the table, as the last thread has left it."""

    def write(builder: Any, values: list[Any]) -> Any:
        return builder.load_atomic(_locate(builder, *values), "acquire", 8)

    return _compile("int64", (table, place), write)


@Intrinsic
def store(_context, table, place, value):
    """Set a place of the table, after everything that was written before."""

    def write(builder: Any, values: list[Any]) -> None:
        builder.store_atomic(values[2], _locate(builder, *values[:2]), "release", 8)

    return _compile("void", (table, place, value), write)


@Intrinsic
def take_one(_context, table, place, expected):
    """Lower a place of the table by one if it is still as expected, and tell whether it was."""

    def write(builder: Any, values: list[Any]) -> Any:
        lower = builder.sub(values[2], values[2].type(1))
        place = _locate(builder, *values[:2])
        result = builder.cmpxchg(place, values[2], lower, "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return _compile("boolean", (table, place, expected), write)


@Intrinsic
def add_one(_context, table, place):
    """Raise a place of the table by one."""

    def write(builder: Any, values: list[Any]) -> None:
        builder.atomic_rmw("add", _locate(builder, *values), values[1].type(1), "acq_rel")

    return _compile("void", (table, place), write)


@Intrinsic
def call_entry(_context, entry, first, stop, slots):
    """Call the machine code at an address, with a range and the address of its arguments."""

    def write(builder: Any, values: list[Any]) -> Any:
        from llvmlite import ir

        word = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(32), [word, word, word])
        function = builder.inttoptr(values[0], kind.as_pointer())
        return builder.sext(builder.call(function, values[1:]), word)

    return _compile("int64", (entry, first, stop, slots), write)


@Intrinsic
def pause(_context, table):
    """Let the processor rest for a moment while this thread waits."""

    def write(builder: Any, _values: list[Any]) -> None:
        from llvmlite import ir
        from numba.core.cgutils import get_or_insert_function

        machine = builder.module.triple.split("-")[0]
        nothing, word = ir.VoidType(), ir.IntType(32)
        if machine == "x86_64":
            kind = ir.FunctionType(nothing, [])
            builder.call(get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        elif machine in ("aarch64", "arm64"):
            kind = ir.FunctionType(nothing, [word])
            hint = get_or_insert_function(builder.module, kind, "llvm.aarch64.hint")
            builder.call(hint, [word(1)])

    return _compile("void", (table,), write)
