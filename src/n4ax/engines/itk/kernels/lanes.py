"""Vector operations on a block of lanes, which numba would not vectorise by itself.

A block of lanes is a few control points of one voxel. Each operation here is written in LLVM's
own language, on vectors of :data:`~n4ax.engines.itk.kernels.layout.LANES` numbers. LLVM makes
instructions of them for any processor. Every operation rounds once, as on single numbers.

Arrays are given by the addresses of their data. So the inner loops need not count references to
arrays, which would take longer than the arithmetic.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from n4ax.engines.itk.kernels.layout import LANES

_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()


class _Lanes:
    """Writes the operations of one function: reads and writes blocks, and repeats numbers.

    The function's arguments are addresses, places and numbers; blocks are named by the numbers of
    the arguments that say where they lie.
    """

    def __init__(self, builder: Any, arguments: Any) -> None:
        self.builder, self._arguments = builder, arguments
        self.multiply = builder.fmul

    def _locate(self, kind: Any, address: int, at: int | None) -> Any:
        start = self.builder.inttoptr(self._arguments[address], kind.as_pointer())
        place = start if at is None else self.builder.gep(start, [self._arguments[at]])
        return self.builder.bitcast(place, ir.VectorType(kind, LANES).as_pointer())

    def read(self, kind: Any, address: int, at: int | None = None) -> Any:
        """The block of numbers of a kind at an address, from a place on."""
        block = self.builder.load(self._locate(kind, address, at))
        block.align = 4 if kind is _FLOAT else 8
        return block

    def write(self, block: Any, kind: Any, address: int, at: int | None = None) -> None:
        """Replace that block."""
        stored = self.builder.store(block, self._locate(kind, address, at))
        stored.align = 4 if kind is _FLOAT else 8

    def repeat(self, number: int) -> Any:
        """A block of one number, an argument of the function."""
        value = self._arguments[number]
        nothing = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
        block = self.builder.insert_element(nothing, value, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(block, block, zeros)

    def widen(self, block: Any) -> Any:
        """The block in double precision."""
        return self.builder.fpext(block, ir.VectorType(_DOUBLE, LANES))

    def round(self, block: Any) -> Any:
        """The block rounded to single precision."""
        return self.builder.fptrunc(block, ir.VectorType(_FLOAT, LANES))

    def compute_weights(self) -> Any:
        """The weights t: the product (at argument 2) times the weight (argument 3), rounded."""
        return self.round(self.multiply(self.read(_DOUBLE, 2), self.repeat(3)))

    def add_to_sums(self, addend: Any) -> None:
        """Add a block to the sums, at the address of argument 0 and the place of argument 1."""
        self.write(self.builder.fadd(self.read(_FLOAT, 0, 1), addend), _FLOAT, 0, 1)


def _compile(write: Callable[[_Lanes], None]) -> Callable[..., Any]:
    """Make the code generator of a function of numba that returns nothing."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        write(_Lanes(builder, arguments))
        return context.get_dummy_value()

    return generate


@intrinsic
def load_lanes(_context, product, table, at):
    """Set the block at ``product`` (float64) to the block of ``table`` (float32) from ``at`` on."""

    def write(lanes: _Lanes) -> None:
        lanes.write(lanes.widen(lanes.read(_FLOAT, 1, 2)), _DOUBLE, 0)

    return types.void(product, table, at), _compile(write)


@intrinsic
def scale_lanes(_context, product, table, at):
    """Multiply the block at ``product`` by that of ``table`` (float64), rounded to float32."""

    def write(lanes: _Lanes) -> None:
        scaled = lanes.multiply(lanes.read(_DOUBLE, 0), lanes.read(_DOUBLE, 1, 2))
        lanes.write(lanes.widen(lanes.round(scaled)), _DOUBLE, 0)

    return types.void(product, table, at), _compile(write)


@intrinsic
def add_residual(_context, sums, at, product, weight, residual, squares):
    """Add ``residual * (t^3 / squares)`` to a block of ``sums``, where t = product * weight."""

    def write(lanes: _Lanes) -> None:
        t = lanes.compute_weights()
        cube = lanes.multiply(lanes.multiply(t, t), t)
        share = lanes.builder.fdiv(cube, lanes.repeat(5))
        lanes.add_to_sums(lanes.multiply(lanes.repeat(4), share))

    return types.void(sums, at, product, weight, residual, squares), _compile(write)


@intrinsic
def add_weighted(_context, sums, at, product, weight, residual, squares, confidence):
    """Add ``residual * (t^3 confidence / squares)`` to a block of ``sums``."""

    def write(lanes: _Lanes) -> None:
        t = lanes.compute_weights()
        cube = lanes.multiply(lanes.multiply(lanes.multiply(t, t), t), lanes.repeat(6))
        share = lanes.builder.fdiv(cube, lanes.repeat(5))
        lanes.add_to_sums(lanes.multiply(lanes.repeat(4), share))

    signature = types.void(sums, at, product, weight, residual, squares, confidence)
    return signature, _compile(write)


@intrinsic
def add_confidence(_context, sums, at, product, weight, confidence):
    """Add ``confidence * t * t`` to a block of ``sums``, where t = product * weight."""

    def write(lanes: _Lanes) -> None:
        t = lanes.compute_weights()
        lanes.add_to_sums(lanes.multiply(lanes.multiply(lanes.repeat(4), t), t))

    return types.void(sums, at, product, weight, confidence), _compile(write)


def _read(kind: Any) -> Callable[..., Any]:
    """Make the code generator of a function that reads one number at an address."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        start = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.load(builder.gep(start, [arguments[1]]))

    return generate


@intrinsic
def read_single(_context, address, at):
    """The float32 number at a place after an address."""
    return types.float32(address, at), _read(_FLOAT)


@intrinsic
def read_double(_context, address, at):
    """The float64 number at a place after an address."""
    return types.float64(address, at), _read(_DOUBLE)


@intrinsic
def read_index(_context, address, at):
    """The int64 number at a place after an address."""
    return types.int64(address, at), _read(ir.IntType(64))


@intrinsic
def write_single(_context, address, at, value):
    """Store a float32 number at a place after an address."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        start = builder.inttoptr(arguments[0], _FLOAT.as_pointer())
        builder.store(arguments[2], builder.gep(start, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(address, at, value), generate
