"""LLVM's code of the operations on a block of lanes, written while numba compiles a kernel."""

from typing import Any

from llvmlite import ir

from n4ax.engines.itk.kernels.layout import LANES, TINY

KINDS = {"float": ir.FloatType(), "double": ir.DoubleType(), "index": ir.IntType(64)}
_SIZES = {"float": 4, "double": 8}
"""Bytes of a number of each kind."""

_NEGLIGIBLE = 2.0**-70
"""What such a weight adds is less than this share of the residual, by a factor above 2**25."""


class Lanes:
    """Writes the operations of one function: reads and writes blocks, and repeats numbers.

    The function's arguments are addresses, places and numbers; blocks are named by the numbers of
    the arguments that say where they lie.
    """

    def __init__(self, builder: Any, arguments: Any) -> None:
        self.builder, self._arguments = builder, arguments
        self.multiply = builder.fmul

    def locate(self, kind: str, address: int, at: int | None = None) -> Any:
        """The place of a number of a kind: so many numbers from an address on."""
        start = self.builder.inttoptr(self._arguments[address], KINDS[kind].as_pointer())
        return start if at is None else self.builder.gep(start, [self._arguments[at]])

    def _locate_block(self, kind: str, address: int, at: int | None) -> Any:
        return self.builder.bitcast(
            self.locate(kind, address, at), ir.VectorType(KINDS[kind], LANES).as_pointer()
        )

    def read(self, kind: str, address: int, at: int | None = None) -> Any:
        """The block of numbers of a kind at an address, from a place on."""
        block = self.builder.load(self._locate_block(kind, address, at))
        block.align = _SIZES[kind]
        return block

    def write(self, block: Any, kind: str, address: int, at: int | None = None) -> None:
        """Replace that block."""
        stored = self.builder.store(block, self._locate_block(kind, address, at))
        stored.align = _SIZES[kind]

    def repeat(self, number: int) -> Any:
        """A block of one number, an argument of the function."""
        value = self._arguments[number]
        nothing = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
        block = self.builder.insert_element(nothing, value, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(block, block, zeros)

    def widen(self, block: Any) -> Any:
        """The block in double precision."""
        return self.builder.fpext(block, ir.VectorType(KINDS["double"], LANES))

    def round(self, block: Any) -> Any:
        """The block rounded to single precision."""
        return self.builder.fptrunc(block, ir.VectorType(KINDS["float"], LANES))

    def compute_weights(self) -> Any:
        """The weights t: the product (at argument 2) times the weight (argument 3), rounded."""
        return self.round(self.multiply(self.read("double", 2), self.repeat(3)))

    def fill(self, kind: str, value: float) -> Any:
        """A block of one constant."""
        return ir.Constant(ir.VectorType(KINDS[kind], LANES), [value] * LANES)

    def find_size(self, block: Any) -> Any:
        """The block without its signs."""
        whole = ir.VectorType(ir.IntType(32), LANES)
        bits = self.builder.bitcast(block, whole)
        bits = self.builder.and_(bits, ir.Constant(whole, [0x7FFFFFFF] * LANES))
        return self.builder.bitcast(bits, block.type)

    def are_tiny(self, weights: Any) -> Any:
        """Which weights are below :data:`TINY`."""
        return self.builder.fcmp_ordered("<", weights, self.fill("float", TINY))

    def add_shares(self, weights: Any) -> None:
        """Add ``residual * (t^3 / squares)``, the arguments 4 and 5, to the sums."""
        cube = self.multiply(self.multiply(weights, weights), weights)
        share = self.builder.fdiv(cube, self.repeat(5))
        self.add_to_sums(self.multiply(self.repeat(4), share))

    def add_to_sums(self, addend: Any) -> None:
        """Add a block to the sums, at the address of argument 0 and the place of argument 1."""
        self.write(self.builder.fadd(self.read("float", 0, 1), addend), "float", 0, 1)

    def find_whether_tiny_matter(self) -> Any:
        """Whether tiny weights may change a sum of the block: one not far above what they add."""
        builder = self.builder
        t = self.compute_weights()
        counted = builder.and_(
            self.are_tiny(t), builder.fcmp_unordered("!=", t, self.fill("float", 0.0))
        )
        share = self.multiply(self.find_size(self.repeat(4)), self.fill("float", _NEGLIGIBLE))
        small = builder.fcmp_unordered("<", self.find_size(self.read("float", 0, 1)), share)
        bits = builder.bitcast(builder.and_(counted, small), ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.IntType(LANES)(0))

    def copy_four(self) -> None:
        """Copy four float32 numbers from the address of argument 1 to that of argument 0."""
        four = ir.VectorType(KINDS["float"], 4).as_pointer()
        target, source = (self.builder.inttoptr(address, four) for address in self._arguments)
        numbers = self.builder.load(source)
        numbers.align = 4
        self.builder.store(numbers, target).align = 4

    def write_one(self, kind: str) -> None:
        """Store argument 2 at the place of argument 1 after the address of argument 0."""
        self.builder.store(self._arguments[2], self.locate(kind, 0, 1))
