"""Arguments of kernels as compiled code reads them: a table of slots of 8 bytes.

A number takes one slot. An array takes one slot for the address of its data, and one for its
length along each axis. The members of a tuple follow one another.
"""

import struct
from typing import Any, NamedTuple

import numpy as np

_DOUBLE, _SINGLE = struct.Struct("=d"), struct.Struct("=fxxxx")
_WHOLE = struct.Struct("=q")

UNKNOWN = "?"
"""The kind of an argument that a library of kernels cannot take."""


class LaidOut(NamedTuple):
    """Arguments that were laid out once, to be given to kernels many times.

    Attributes
    ----------
    kinds
        The types of all numbers and arrays, such as ``"i"`` for a whole number and ``"f42"`` for
        an array of float32 with two axes.
    slots
        The content of the slots, as whole numbers with the same 8 bytes.
    value
        The arguments as they were given. They keep the memory of the arrays alive.
    """

    kinds: str
    slots: list[int]
    value: Any


def lay_out(value: Any) -> LaidOut:
    """Lay out a number, an array, or a tuple of such; what was laid out before stays as it is.

    Arrays are C-contiguous. The kind of anything else is :data:`UNKNOWN`.
    """
    if isinstance(value, LaidOut):
        return value
    if isinstance(value, np.ndarray):
        return _lay_out_array(value)
    if isinstance(value, tuple):
        members = [lay_out(member) for member in value]
        slots = [slot for member in members for slot in member.slots]
        return LaidOut("".join([member.kinds for member in members]), slots, value)
    return _lay_out_number(value)


def _lay_out_array(array: Any) -> LaidOut:
    if not array.flags.c_contiguous:
        return LaidOut(UNKNOWN, [0], array)
    address = array.__array_interface__["data"][0]
    return LaidOut(f"{array.dtype.str[1:]}{array.ndim}", [address, *array.shape], array)


def _lay_out_number(number: Any) -> LaidOut:
    if isinstance(number, (bool, np.bool_)):
        return LaidOut("b", [int(number)], number)
    if hasattr(number, "__index__"):
        return LaidOut("i", [int(number)], number)
    if type(number) is np.float32:
        return LaidOut("s", [_read_bits(_SINGLE.pack(number))], number)
    if isinstance(number, float):
        return LaidOut("d", [_read_bits(_DOUBLE.pack(number))], number)
    return LaidOut(UNKNOWN, [0], number)


def _read_bits(content: bytes) -> int:
    return _WHOLE.unpack(content)[0]


def take_back(value: Any) -> Any:
    """The arguments as they were before :func:`lay_out`."""
    if isinstance(value, LaidOut):
        return value.value
    if isinstance(value, tuple) and any(isinstance(member, (tuple, LaidOut)) for member in value):
        members = [take_back(member) for member in value]
        return type(value)(*members) if hasattr(value, "_fields") else tuple(members)
    return value
