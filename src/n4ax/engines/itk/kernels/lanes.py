"""Vector operations on a block of lanes, which numba would not vectorise by itself.

A block of lanes is a few control points of one voxel. Each operation here is written in LLVM's
own language (:mod:`n4ax.engines.itk.kernels.lane_code`), on vectors of
:data:`~n4ax.engines.itk.kernels.layout.LANES` numbers. LLVM makes instructions of them for any
processor. Every operation rounds once, as on single numbers.

Arrays are given by the addresses of their data. So the inner loops need not count references to
arrays, which would take longer than the arithmetic.

The functions run when numba compiles them. Nothing here imports numba before that.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from n4ax.engines.compiled.kernel import Intrinsic

if TYPE_CHECKING:
    from n4ax.engines.itk.kernels.lane_code import Lanes


def _compile(result: str, arguments: Sequence[Any], write: Callable[["Lanes"], Any]) -> Any:
    """Tell numba the type of an operation, and how its code is written.

    Parameters
    ----------
    result
        numba's name for the type of what the operation returns, which may be ``"void"``.
    arguments
        The types of its arguments.
    write
        Writes the code.
    """
    from numba import types

    from n4ax.engines.itk.kernels.lane_code import Lanes

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        value = write(Lanes(builder, values))
        return context.get_dummy_value() if value is None else value

    return getattr(types, result)(*arguments), generate


@Intrinsic
def load_lanes(_context, product, table, at):
    """Set the block at ``product`` (float64) to the block of ``table`` (float32) from ``at`` on."""

    def write(lanes: "Lanes") -> None:
        lanes.write(lanes.widen(lanes.read("float", 1, 2)), "double", 0)

    return _compile("void", (product, table, at), write)


@Intrinsic
def scale_lanes(_context, product, table, at):
    """Multiply the block at ``product`` by that of ``table`` (float64), rounded to float32."""

    def write(lanes: "Lanes") -> None:
        scaled = lanes.multiply(lanes.read("double", 0), lanes.read("double", 1, 2))
        lanes.write(lanes.widen(lanes.round(scaled)), "double", 0)

    return _compile("void", (product, table, at), write)


@Intrinsic
def add_residual(_context, sums, at, product, weight, residual, squares):
    """Add ``residual * (t^3 / squares)`` to a block of ``sums``, where t = product * weight."""

    def write(lanes: "Lanes") -> None:
        lanes.add_shares(lanes.compute_weights())

    return _compile("void", (sums, at, product, weight, residual, squares), write)


@Intrinsic
def add_larger(_context, sums, at, product, weight, residual, squares):
    """Do the same with weights that are not tiny, and leave the other sums as they are."""

    def write(lanes: "Lanes") -> None:
        t = lanes.compute_weights()
        lanes.add_shares(lanes.builder.select(lanes.are_tiny(t), lanes.fill("float", 0.0), t))

    return _compile("void", (sums, at, product, weight, residual, squares), write)


@Intrinsic
def tiny_matter(_context, sums, at, product, weight, residual):
    """Whether tiny weights may change a sum of a block: one that is not far above what they add.

    A sum stays as it is if less than half a unit of its last place is added.
    """
    arguments = (sums, at, product, weight, residual)
    return _compile("boolean", arguments, lambda lanes: lanes.find_whether_tiny_matter())


@Intrinsic
def add_weighted(_context, sums, at, product, weight, residual, squares, confidence):
    """Add ``residual * (t^3 confidence / squares)`` to a block of ``sums``."""

    def write(lanes: "Lanes") -> None:
        t = lanes.compute_weights()
        cube = lanes.multiply(lanes.multiply(lanes.multiply(t, t), t), lanes.repeat(6))
        share = lanes.builder.fdiv(cube, lanes.repeat(5))
        lanes.add_to_sums(lanes.multiply(lanes.repeat(4), share))

    arguments = (sums, at, product, weight, residual, squares, confidence)
    return _compile("void", arguments, write)


@Intrinsic
def add_confidence(_context, sums, at, product, weight, confidence):
    """Add ``confidence * t * t`` to a block of ``sums``, where t = product * weight."""

    def write(lanes: "Lanes") -> None:
        t = lanes.compute_weights()
        lanes.add_to_sums(lanes.multiply(lanes.multiply(lanes.repeat(4), t), t))

    return _compile("void", (sums, at, product, weight, confidence), write)


@Intrinsic
def set_lanes(_context, field, at, weights, place, value):
    """Set a block of ``field`` to 0 plus ``value`` times a block of ``weights``, all float32."""

    def write(lanes: "Lanes") -> None:
        addend = lanes.multiply(lanes.repeat(4), lanes.read("float", 2, 3))
        lanes.write(lanes.builder.fadd(lanes.fill("float", 0.0), addend), "float", 0, 1)

    return _compile("void", (field, at, weights, place, value), write)


@Intrinsic
def raise_lanes(_context, field, at, weights, place, value):
    """Add ``value`` times a block of ``weights`` to a block of ``field``, all float32."""

    def write(lanes: "Lanes") -> None:
        lanes.add_to_sums(lanes.multiply(lanes.repeat(4), lanes.read("float", 2, 3)))

    return _compile("void", (field, at, weights, place, value), write)


def _read(kind: str) -> Callable[["Lanes"], Any]:
    """Make the writer of a function that reads one number at a place after an address."""
    return lambda lanes: lanes.builder.load(lanes.locate(kind, 0, 1))


@Intrinsic
def read_single(_context, address, at):
    """The float32 number at a place after an address."""
    return _compile("float32", (address, at), _read("float"))


@Intrinsic
def read_double(_context, address, at):
    """The float64 number at a place after an address."""
    return _compile("float64", (address, at), _read("double"))


@Intrinsic
def read_index(_context, address, at):
    """The int64 number at a place after an address."""
    return _compile("int64", (address, at), _read("index"))


@Intrinsic
def copy_four(_context, target, source):
    """Copy four float32 numbers from one address to another."""
    return _compile("void", (target, source), lambda lanes: lanes.copy_four())


@Intrinsic
def write_single(_context, address, at, value):
    """Store a float32 number at a place after an address."""
    return _compile("void", (address, at, value), lambda lanes: lanes.write_one("float"))
