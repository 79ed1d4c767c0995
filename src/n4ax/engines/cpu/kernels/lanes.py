"""Operations on lanes: vectors of :data:`~n4ax.engines.cpu.kernels.layout.LANES` numbers.

LLVM does not make vector instructions of a loop over a row if it cannot rule out that the arrays
overlap, and it works off the rest of each row number by number. Kernels that are written in lanes
are free of both. The operations are written in LLVM's own language
(:mod:`n4ax.engines.cpu.kernels.lane_code`), and LLVM makes instructions of them for any processor.

Each operation rounds once, as on single numbers. Only the sums of :func:`add_product` may be
rounded once where a product and a sum would be rounded twice, as in kernels with the flag
"contract".

Most operations take and return lanes. A place in an array is that of the first lane.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from n4ax.engines.compiled.kernel import Intrinsic
from n4ax.engines.cpu.kernels.layout import LANES

if TYPE_CHECKING:
    from n4ax.engines.cpu.kernels.lane_code import Code


def _compile(result: Any, arguments: Sequence[Any], write: Callable[["Code"], Any]) -> Any:
    """Tell numba the types of an operation, and how its code is written.

    ``result`` is ``"floats"``, ``"doubles"`` or ``"wholes"`` (lanes of float32, float64 or int32),
    ``"pair"`` (two lanes of float32), ``"int32"``, ``"void"``, or the type of an argument.
    """
    from n4ax.engines.cpu.kernels.lane_code import compile_code

    return compile_code(result, arguments, write)


# ---- arrays -------------------------------------------------------------------------------------


_LANES_OF = {"float32": "floats", "float64": "doubles"}


@Intrinsic
def load(_context, array, at):
    """The numbers of a float32, float64 or int32 array from a place on."""
    result = _LANES_OF.get(str(array.dtype), "wholes")
    return _compile(result, (array, at), lambda code: code.read(0, code.values[1]))


@Intrinsic
def store(_context, array, at, x):
    """Replace the numbers of an array from a place on."""

    def write(code: "Code") -> None:
        code.write(code.values[2], 0, code.values[1])

    return _compile("void", (array, at, x), write)


@Intrinsic
def load_pairs(_context, array, at):
    """The pairs of an array from the pair ``at`` on: their first numbers, and their second."""

    def write(code: "Code") -> Any:
        return code.split_pairs(code.read(0, code.twice(code.values[1]), 2 * LANES))

    return _compile("pair", (array, at), write)


@Intrinsic
def store_pairs(_context, array, at, x, y):
    """Replace the pairs of an array from the pair ``at`` on by those of ``x`` and ``y``."""

    def write(code: "Code") -> None:
        _, at, x, y = code.values
        places = [lane + LANES * second for lane in range(LANES) for second in (0, 1)]
        code.write(code.mix(x, y, places), 0, code.twice(at))

    return _compile("void", (array, at, x, y), write)


@Intrinsic
def copy_pair(_context, target, to, source, at):
    """Replace the pair ``to`` of an array by the pair ``at`` of another one."""

    def write(code: "Code") -> None:
        _, to, _, at = code.values
        code.write(code.read(2, code.twice(at), 2), 0, code.twice(to))

    return _compile("void", (target, to, source, at), write)


@Intrinsic
def add_pair(_context, target, to, source, at):
    """Add the pair ``at`` of an array to two neighbouring numbers of another one."""

    def write(code: "Code") -> None:
        _, to, _, at = code.values
        both = code.builder.fadd(code.read(0, to, 2), code.read(2, code.twice(at), 2))
        code.write(both, 0, to)

    return _compile("void", (target, to, source, at), write)


@Intrinsic
def find_address(_context, array):
    """The address of the data of an array. It does not keep the array alive."""
    return _compile("uint64", (array,), lambda code: code.find_address())


@Intrinsic
def load_from(_context, address, at):
    """The float32 numbers from a place after an address on."""

    def write(code: "Code") -> Any:
        lanes = code.builder.load(code.locate_at())
        lanes.align = 4
        return lanes

    return _compile("floats", (address, at), write)


@Intrinsic
def store_to(_context, address, at, x):
    """Replace the float32 numbers from a place after an address on."""

    def write(code: "Code") -> None:
        code.builder.store(code.values[2], code.locate_at()).align = 4

    return _compile("void", (address, at, x), write)


@Intrinsic
def repeat_from(_context, address, at):
    """The float32 number at a place after an address, in all lanes."""

    def write(code: "Code") -> Any:
        start = code.builder.inttoptr(code.values[0], code.single.as_pointer())
        return code.repeat(code.builder.load(code.builder.gep(start, [code.values[1]])))

    return _compile("floats", (address, at), write)


# ---- numbers ------------------------------------------------------------------------------------


@Intrinsic
def repeat(_context, number):
    """One number, in all lanes."""
    result = _LANES_OF.get(str(number), "wholes")
    return _compile(result, (number,), lambda code: code.repeat(code.values[0]))


@Intrinsic
def add(_context, x, y):
    """``x + y``."""
    return _compile(x, (x, y), lambda code: code.builder.fadd(*code.values))


@Intrinsic
def add_whole(_context, x, y):
    """``x + y`` of whole numbers."""
    return _compile("wholes", (x, y), lambda code: code.builder.add(*code.values))


@Intrinsic
def subtract(_context, x, y):
    """``x - y``."""
    return _compile(x, (x, y), lambda code: code.builder.fsub(*code.values))


@Intrinsic
def multiply(_context, x, y):
    """``x * y``."""
    return _compile(x, (x, y), lambda code: code.multiply(*code.values))


@Intrinsic
def add_product(_context, total, x, y):
    """``total + x * y``. The product is not rounded if the processor can add it at once."""

    def write(code: "Code") -> Any:
        total, x, y = code.values
        return code.add_fused(total, code.multiply(x, y))

    return _compile(total, (total, x, y), write)


@Intrinsic
def divide(_context, x, y):
    """``x / y``."""
    return _compile("floats", (x, y), lambda code: code.builder.fdiv(*code.values))


@Intrinsic
def truncate(_context, x):
    """``x`` as whole numbers, without what is after the point."""
    return _compile("wholes", (x,), lambda code: code.truncate(code.values[0]))


@Intrinsic
def to_float(_context, x):
    """Whole numbers as float32."""
    return _compile("floats", (x,), lambda code: code.to_float(code.values[0]))


@Intrinsic
def to_double(_context, x):
    """The float32 numbers ``x`` as float64."""
    return _compile("doubles", (x,), lambda code: code.to_double(code.values[0]))


@Intrinsic
def sum_lanes(_context, x):
    """The sum of all lanes, in an order that is the same on all processors."""
    return _compile(x.number, (x,), lambda code: code.sum_lanes(code.values[0]))


# ---- choices ------------------------------------------------------------------------------------


@Intrinsic
def choose_between(_context, x, low, high, other):
    """``x`` where ``low <= x <= high``, and ``other`` elsewhere."""

    def write(code: "Code") -> Any:
        x, low, high, other = code.values
        inside = code.builder.and_(
            code.builder.fcmp_ordered(">=", x, low), code.builder.fcmp_ordered("<=", x, high)
        )
        return code.builder.select(inside, x, other)

    return _compile("floats", (x, low, high, other), write)


@Intrinsic
def choose_below(_context, x, high, value, other):
    """``value`` where ``x < high``, and ``other`` elsewhere."""

    def write(code: "Code") -> Any:
        x, high, value, other = code.values
        return code.builder.select(code.builder.fcmp_ordered("<", x, high), value, other)

    return _compile("floats", (x, high, value, other), write)


@Intrinsic
def order_bits(_context, x):
    """Whole numbers of the same order as the float32 numbers ``x``, made of their bits."""
    return _compile("wholes", (x,), lambda code: code.order(code.values[0]))


@Intrinsic
def choose_least(_context, x, y):
    """The lesser of the whole numbers ``x`` and ``y``."""
    return _compile("wholes", (x, y), lambda code: code.choose("<"))


@Intrinsic
def choose_greatest(_context, x, y):
    """The greater of the whole numbers ``x`` and ``y``."""
    return _compile("wholes", (x, y), lambda code: code.choose(">"))


@Intrinsic
def find_least(_context, x):
    """The least of the whole numbers of all lanes."""
    return _compile("int32", (x,), lambda code: code.reduce("smin"))


@Intrinsic
def find_greatest(_context, x):
    """The greatest of the whole numbers of all lanes."""
    return _compile("int32", (x,), lambda code: code.reduce("smax"))
