"""Vector operations on a block of lanes, which numba would not vectorise by itself.

A block of lanes is a few control points of one voxel. Each operation here is written in LLVM's
own language, on vectors of :data:`~n4ax.engines.itk.kernels.layout.LANES` numbers. LLVM makes
instructions of them for any processor. Every operation rounds once, as on single numbers.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from n4ax.engines.itk.kernels.layout import LANES

_SINGLE, _DOUBLE = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)


class _Lanes:
    """Writes the operations of one function: reads and writes blocks, and repeats numbers."""

    def __init__(self, context: Any, builder: Any, arguments: Any, kinds: Any) -> None:
        self._context, self.builder = context, builder
        self._arguments, self._kinds = arguments, kinds

    def _locate(self, array: int, at: int | None) -> Any:
        kind = self._kinds[array]
        view = self._context.make_array(kind)(self._context, self.builder, self._arguments[array])
        start = [] if at is None else [self._arguments[at]]
        place = self.builder.gep(view.data, start) if start else view.data
        vector = _SINGLE if kind.dtype == types.float32 else _DOUBLE
        return self.builder.bitcast(place, vector.as_pointer())

    def read(self, array: int, at: int | None = None) -> Any:
        """The block of an array, both arguments of the function, from an index on."""
        block = self.builder.load(self._locate(array, at))
        block.align = 4 if self._kinds[array].dtype == types.float32 else 8
        return block

    def write(self, block: Any, array: int, at: int | None = None) -> None:
        """Replace the block of an array."""
        self.builder.store(block, self._locate(array, at)).align = (
            4 if self._kinds[array].dtype == types.float32 else 8
        )

    def repeat(self, number: int) -> Any:
        """A block of one number, an argument of the function."""
        vector = _SINGLE if self._kinds[number] == types.float32 else _DOUBLE
        block = self.builder.insert_element(
            ir.Constant(vector, ir.Undefined), self._arguments[number], ir.IntType(32)(0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(block, block, zeros)

    def widen(self, block: Any) -> Any:
        """The block in double precision."""
        return self.builder.fpext(block, _DOUBLE)

    def round(self, block: Any) -> Any:
        """The block rounded to single precision."""
        return self.builder.fptrunc(block, _SINGLE)


def _compile(write: Callable[[_Lanes], None]) -> Callable[..., Any]:
    """Make the code generator of a function of numba that returns nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        write(_Lanes(context, builder, arguments, signature.args))
        return context.get_dummy_value()

    return generate


@intrinsic
def load_lanes(_context, product, table, at):
    """Set ``product`` (float64) to the block of ``table`` (float32) from ``at`` on."""

    def write(lanes: _Lanes) -> None:
        lanes.write(lanes.widen(lanes.read(1, 2)), 0)

    return types.void(product, table, at), _compile(write)


@intrinsic
def scale_lanes(_context, product, table, at):
    """Multiply ``product`` by the block of ``table`` (float64), rounded to float32."""

    def write(lanes: _Lanes) -> None:
        scaled = lanes.builder.fmul(lanes.read(0), lanes.read(1, 2))
        lanes.write(lanes.widen(lanes.round(scaled)), 0)

    return types.void(product, table, at), _compile(write)


@intrinsic
def add_residual(_context, sums, at, product, weight, residual, confidence, squares):
    """Add ``residual * (t^3 confidence / squares)`` to a block of ``sums``; t is the weight."""

    def write(lanes: _Lanes) -> None:
        multiply = lanes.builder.fmul
        t = lanes.round(multiply(lanes.read(2), lanes.repeat(3)))
        cube = multiply(multiply(multiply(t, t), t), lanes.repeat(5))
        share = lanes.builder.fdiv(cube, lanes.repeat(6))
        addend = multiply(lanes.repeat(4), share)
        lanes.write(lanes.builder.fadd(lanes.read(0, 1), addend), 0, 1)

    signature = types.void(sums, at, product, weight, residual, confidence, squares)
    return signature, _compile(write)


@intrinsic
def add_confidence(_context, sums, at, product, weight, confidence):
    """Add ``confidence * t * t`` to a block of ``sums``, where t = product * weight."""

    def write(lanes: _Lanes) -> None:
        multiply = lanes.builder.fmul
        t = lanes.round(multiply(lanes.read(2), lanes.repeat(3)))
        addend = multiply(multiply(lanes.repeat(4), t), t)
        lanes.write(lanes.builder.fadd(lanes.read(0, 1), addend), 0, 1)

    return types.void(sums, at, product, weight, confidence), _compile(write)
