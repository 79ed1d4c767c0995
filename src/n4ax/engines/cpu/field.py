"""A log bias field on the CPU: expanded for the kernels, and evaluated on a whole grid."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.engines.compiled.arguments import LaidOut, lay_out
from n4ax.engines.cpu.basis import stack_basis, stack_planes
from n4ax.engines.cpu.kernels.evaluation import divide_planes, evaluate_planes, expand_planes
from n4ax.engines.cpu.kernels.layout import LANES, Basis, Lattice, Sheets
from n4ax.engines.cpu.threads import Threads
from n4ax.errors import explain_shortage
from n4ax.method.bspline import AxisBasis


class CpuField(NamedTuple):
    """A lattice, and the sheets from which the kernels evaluate its spline.

    Attributes
    ----------
    lattice
        The control points, C-contiguous.
    flat, stack
        Views of the lattice with one axis, and with its leading axes as one.
    sheets
        The :class:`~n4ax.engines.cpu.kernels.layout.Sheets`, laid out for the kernels.
    """

    lattice: Lattice
    flat: Lattice
    stack: Lattice
    sheets: LaidOut


def allocate_field(basis: Basis, control_points: tuple[int, ...]) -> CpuField:
    """Allocate the memory of a field, for lattices with that many control points per axis."""
    lattice = np.zeros(control_points, np.float32)
    stride = basis.x_weight.shape[1] + LANES
    values = np.empty(len(basis.plane_control) * control_points[-2] * stride, np.float32)
    sheets = Sheets(values, control_points[-2], stride, basis.y_first, basis.y_weight)
    return CpuField(lattice, lattice.reshape(-1), stack_planes(lattice), lay_out(sheets))


@explain_shortage()
def evaluate(lattice: Lattice, bases: list[AxisBasis], threads: Threads) -> npt.NDArray[np.float32]:
    """Evaluate the lattice's spline on a grid.

    Parameters
    ----------
    lattice
        Control points of the log field.
    bases
        The basis on each axis of the grid.
    threads
        The threads that run the kernels.

    Returns
    -------
    array, float32, of the shape of the grid
    """
    log_field = np.empty([len(basis.first) for basis in bases], np.float32)
    stack = stack_planes(log_field)
    sheets = _expand_on_grid(lattice, bases, threads)
    threads.run(len(stack), evaluate_planes, sheets, stack)
    return log_field


@explain_shortage()
def divide(
    lattice: Lattice, image: npt.NDArray[Any], bases: list[AxisBasis], threads: Threads
) -> npt.NDArray[Any]:
    """Divide an image by exp(spline): the exponential in float32, the quotient in its own type.

    Parameters
    ----------
    lattice
        Control points of the log field.
    image
        The image, on the grid of ``bases``.
    bases
        The basis on each axis of the image.
    threads
        The threads that run the kernels.

    Returns
    -------
    array, C-ordered
        float64 for a float64 image, and float32 otherwise.
    """
    wide = image.dtype.kind == "f" and image.dtype.itemsize >= 8
    given = np.ascontiguousarray(image, np.float64 if wide else np.float32)
    corrected = np.empty_like(given)
    stack = stack_planes(given)
    sheets = _expand_on_grid(lattice, bases, threads)
    threads.run(len(stack), divide_planes, sheets, stack, stack_planes(corrected))
    return corrected


def _expand_on_grid(lattice: Lattice, bases: list[AxisBasis], threads: Threads) -> LaidOut:
    basis = stack_basis(bases, [axis.weights for axis in bases])
    field = allocate_field(basis, lattice.shape)
    field.lattice[...] = lattice
    planes = len(basis.plane_control)
    threads.run(planes, expand_planes, field.stack, basis, field.sheets)
    return field.sheets
