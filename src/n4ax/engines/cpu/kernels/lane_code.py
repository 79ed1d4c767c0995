"""LLVM's code of the operations on lanes, written while numba compiles a kernel."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from n4ax.engines.cpu.kernels.layout import LANES

_FUSED = ("contract",)
"""LLVM's flag for a product and a sum that may be rounded once instead of twice."""

_WHOLE = ir.IntType(32)


class LanesType(types.Type):
    """The type of lanes of float32, float64 or int32 numbers in the eyes of numba."""

    def __init__(self, element: str) -> None:
        self.element = element
        self.number = getattr(types, element)
        super().__init__(name=f"lanes({element})")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    """Lanes are one vector of LLVM."""

    def __init__(self, manager: Any, kind: LanesType) -> None:
        super().__init__(manager, kind, ir.VectorType(_ELEMENTS[kind.element], LANES))


_ELEMENTS = {"float32": ir.FloatType(), "float64": ir.DoubleType(), "int32": _WHOLE}

FLOATS, DOUBLES, WHOLES = (LanesType(element) for element in _ELEMENTS)
_RESULTS = {
    "void": types.void, "int32": types.int32, "uint64": types.uint64,
    "floats": FLOATS, "doubles": DOUBLES, "wholes": WHOLES, "pair": types.UniTuple(FLOATS, 2),
}  # fmt: skip


class Code:
    """Writes the code of one operation. ``values`` are its arguments, in LLVM's words."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> None:
        self.builder, self.values, self.single = builder, values, ir.FloatType()
        self._context, self._signature = context, signature

    def _locate(self, array: int, at: Any, count: int) -> Any:
        make = self._context.make_array(self._signature.args[array])
        data = make(self._context, self.builder, self.values[array]).data
        element = self._context.get_data_type(self._signature.args[array].dtype)
        vector = ir.VectorType(element, count)
        return self.builder.bitcast(self.builder.gep(data, [at]), vector.as_pointer())

    def find_address(self) -> Any:
        """The address of the data of an array, the only argument."""
        make = self._context.make_array(self._signature.args[0])
        data = make(self._context, self.builder, self.values[0]).data
        return self.builder.ptrtoint(data, ir.IntType(64))

    def locate_at(self) -> Any:
        """The place of float32 lanes: an address, and a number of places after it."""
        start = self.builder.inttoptr(self.values[0], ir.FloatType().as_pointer())
        place = self.builder.gep(start, [self.values[1]])
        return self.builder.bitcast(place, ir.VectorType(ir.FloatType(), LANES).as_pointer())

    def read(self, array: int, at: Any, count: int = LANES) -> Any:
        """Read ``count`` numbers of an array, an argument of that number, from a place on."""
        vector = self.builder.load(self._locate(array, at, count))
        vector.align = 4
        return vector

    def write(self, vector: Any, array: int, at: Any) -> None:
        """Replace the numbers of an array from a place on."""
        stored = self.builder.store(vector, self._locate(array, at, vector.type.count))
        stored.align = 4

    def twice(self, value: Any) -> Any:
        """Two times a place."""
        return self.builder.shl(value, value.type(1))

    def mix(self, first: Any, second: Any, places: Sequence[int]) -> Any:
        """The elements at some places of two vectors, the second one after the first."""
        chosen = ir.Constant(ir.VectorType(_WHOLE, len(places)), list(places))
        return self.builder.shuffle_vector(first, second, chosen)

    def repeat(self, value: Any) -> Any:
        """Lanes of one number."""
        vector = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
        vector = self.builder.insert_element(vector, value, _WHOLE(0))
        return self.mix(vector, vector, [0] * LANES)

    def split_pairs(self, vector: Any) -> Any:
        """The elements at even places and those at odd places, as a tuple."""
        halves = [self.mix(vector, vector, range(odd, 2 * LANES, 2)) for odd in (0, 1)]
        return self._context.make_tuple(self.builder, self._signature.return_type, halves)

    def multiply(self, x: Any, y: Any) -> Any:
        """A product, which a fused sum may take unrounded."""
        return self.builder.fmul(x, y, flags=_FUSED)

    def add_fused(self, x: Any, y: Any) -> Any:
        """A sum, of which a product may be part unrounded."""
        return self.builder.fadd(x, y, flags=_FUSED)

    def choose(self, relation: str) -> Any:
        """The first of two whole numbers where it has a relation to the second, or else that."""
        return self.builder.select(self.builder.icmp_signed(relation, *self.values), *self.values)

    def truncate(self, vector: Any) -> Any:
        """Whole numbers of single precision numbers."""
        return self.builder.fptosi(vector, ir.VectorType(_WHOLE, LANES))

    def to_float(self, vector: Any) -> Any:
        """Single precision numbers of whole numbers."""
        return self.builder.sitofp(vector, ir.VectorType(ir.FloatType(), LANES))

    def to_double(self, vector: Any) -> Any:
        """Double precision numbers of single precision numbers."""
        return self.builder.fpext(vector, ir.VectorType(ir.DoubleType(), LANES))

    def sum_lanes(self, vector: Any) -> Any:
        """The sum of all lanes: those that are four places apart first, one after the other."""
        total, *others = (self.mix(vector, vector, range(i, i + 4)) for i in range(0, LANES, 4))
        for other in others:
            total = self.builder.fadd(total, other)
        for half in (2, 1):
            halves = (self.mix(total, total, range(i, i + half)) for i in (0, half))
            total = self.builder.fadd(*halves)
        return self.builder.extract_element(total, _WHOLE(0))

    def order(self, vector: Any) -> Any:
        """Whole numbers in the order of single precision numbers, made of their bits."""
        kind = ir.VectorType(_WHOLE, LANES)
        bits = self.builder.bitcast(vector, kind)
        sign = self.builder.ashr(bits, ir.Constant(kind, [31] * LANES))
        mask = self.builder.and_(sign, ir.Constant(kind, [0x7FFFFFFF] * LANES))
        return self.builder.xor(bits, mask)

    def reduce(self, name: str) -> Any:
        """One number of the lanes, by an operation of LLVM."""
        (vector,) = self.values
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(_WHOLE, [vector.type]),
            f"llvm.vector.reduce.{name}.v{LANES}i32",
        )
        return self.builder.call(function, [vector])


def compile_code(result: Any, arguments: Sequence[Any], write: Callable[[Code], Any]) -> Any:
    """Tell numba the types of an operation, and how its code is written."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value = write(Code(context, builder, signature, values))
        return context.get_dummy_value() if value is None else value

    kind = _RESULTS[result] if isinstance(result, str) else result
    return kind(*arguments), generate
