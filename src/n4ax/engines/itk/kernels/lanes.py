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

TINY = 2.0**-36
"""The third power of a weight below this may leave the numbers of full precision, with which
processors take a hundred times as long."""

_NEGLIGIBLE = 2.0**-70
"""What such a weight adds is less than this share of the residual, by a factor above 2**25."""


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

    def fill(self, kind: Any, value: float) -> Any:
        """A block of one constant."""
        return ir.Constant(ir.VectorType(kind, LANES), [value] * LANES)

    def find_size(self, block: Any) -> Any:
        """The block without its signs."""
        whole = ir.VectorType(ir.IntType(32), LANES)
        bits = self.builder.bitcast(block, whole)
        bits = self.builder.and_(bits, ir.Constant(whole, [0x7FFFFFFF] * LANES))
        return self.builder.bitcast(bits, block.type)

    def are_tiny(self, weights: Any) -> Any:
        """Which weights are below :data:`TINY`."""
        return self.builder.fcmp_ordered("<", weights, self.fill(_FLOAT, TINY))

    def add_shares(self, weights: Any) -> None:
        """Add ``residual * (t^3 / squares)``, the arguments 4 and 5, to the sums."""
        cube = self.multiply(self.multiply(weights, weights), weights)
        share = self.builder.fdiv(cube, self.repeat(5))
        self.add_to_sums(self.multiply(self.repeat(4), share))

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
        lanes.add_shares(lanes.compute_weights())

    return types.void(sums, at, product, weight, residual, squares), _compile(write)


@intrinsic
def add_larger(_context, sums, at, product, weight, residual, squares):
    """Do the same with weights that are not tiny, and leave the other sums as they are."""

    def write(lanes: _Lanes) -> None:
        t = lanes.compute_weights()
        lanes.add_shares(lanes.builder.select(lanes.are_tiny(t), lanes.fill(_FLOAT, 0.0), t))

    return types.void(sums, at, product, weight, residual, squares), _compile(write)


@intrinsic
def tiny_matter(_context, sums, at, product, weight, residual):
    """Whether tiny weights may change a sum of a block: one that is not far above what they add.

    A sum stays as it is if less than half a unit of its last place is added.
    """

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        lanes = _Lanes(builder, arguments)
        t = lanes.compute_weights()
        counted = builder.and_(
            lanes.are_tiny(t), builder.fcmp_unordered("!=", t, lanes.fill(_FLOAT, 0.0))
        )
        share = lanes.multiply(lanes.find_size(lanes.repeat(4)), lanes.fill(_FLOAT, _NEGLIGIBLE))
        small = builder.fcmp_unordered("<", lanes.find_size(lanes.read(_FLOAT, 0, 1)), share)
        bits = builder.bitcast(builder.and_(counted, small), ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.IntType(LANES)(0))

    return types.boolean(sums, at, product, weight, residual), generate


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


@intrinsic
def set_lanes(_context, field, at, weights, place, value):
    """Set a block of ``field`` to 0 plus ``value`` times a block of ``weights``, all float32."""

    def write(lanes: _Lanes) -> None:
        addend = lanes.multiply(lanes.repeat(4), lanes.read(_FLOAT, 2, 3))
        lanes.write(lanes.builder.fadd(lanes.fill(_FLOAT, 0.0), addend), _FLOAT, 0, 1)

    return types.void(field, at, weights, place, value), _compile(write)


@intrinsic
def raise_lanes(_context, field, at, weights, place, value):
    """Add ``value`` times a block of ``weights`` to a block of ``field``, all float32."""

    def write(lanes: _Lanes) -> None:
        lanes.add_to_sums(lanes.multiply(lanes.repeat(4), lanes.read(_FLOAT, 2, 3)))

    return types.void(field, at, weights, place, value), _compile(write)


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
def copy_four(_context, target, source):
    """Copy four float32 numbers from one address to another."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        four = ir.VectorType(_FLOAT, 4).as_pointer()
        target, source = (builder.inttoptr(address, four) for address in arguments)
        numbers = builder.load(source)
        numbers.align = 4
        builder.store(numbers, target).align = 4
        return context.get_dummy_value()

    return types.void(target, source), generate


@intrinsic
def write_single(_context, address, at, value):
    """Store a float32 number at a place after an address."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        start = builder.inttoptr(arguments[0], _FLOAT.as_pointer())
        builder.store(arguments[2], builder.gep(start, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(address, at, value), generate
