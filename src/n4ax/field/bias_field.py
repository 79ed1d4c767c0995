"""The bias field as a spline: evaluate it on any grid, apply it to any image, keep it in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from n4ax.engines.choice import check_engine, check_threads
from n4ax.engines.cpu.threads import Threads
from n4ax.errors import InputError
from n4ax.field import file
from n4ax.field import lattice as itk
from n4ax.field.grid import GridField, Spline, lay_on_grid, read_shape
from n4ax.field.images import divide_image
from n4ax.field.places import to_own_voxels
from n4ax.images.arrays import is_jax, is_lazy, is_traced
from n4ax.images.axes import ImageAxes
from n4ax.method.bspline import AxisBasis, evaluate_points
from n4ax.method.grid import Axis
from n4ax.settings import Arithmetic, EngineName, ItkTool, Outside, PerAxis, VoxelOrder
from n4ax.settings.checks import check_choice

Lattice = npt.NDArray[np.float32]

POINTS_AT_A_TIME = 1 << 16
"""Single points are evaluated so many at a time, which stay in the processor's cache."""


@dataclass(frozen=True, eq=False, repr=False)
class BiasField:
    """The log bias field of an image, as the control points of a B-spline.

    Attributes
    ----------
    control_points
        The lattice of control points, float32. Its axes are those of the image, in the same order,
        without those of length 1.
    order
        Order of the spline.
    shape
        Shape of the image that the field was estimated on, axes of length 1 included.
    axes
        How each axis longer than 1 was padded and sampled.
    voxel_order
        The order of the voxels during the estimation. The field is evaluated in the same order.
    affine
        Voxel indices to mm of that image, shape (4, 4), or ``None`` if they are unknown.
    axes_known
        Whether that image said which of its axes is x. A plain array does not.
    arithmetic, itk_tool
        The arithmetic that the field is evaluated in, as in :class:`N4Settings`.

    Examples
    --------
    >>> import numpy as np, n4ax
    >>> x = np.linspace(0, 1, 32)
    >>> brain = np.where(np.hypot(*np.meshgrid(x - 0.5, x - 0.5)) < 0.3, 200.0, 100.0)
    >>> field = n4ax.fit(brain * (1 + 0.3 * x), mask="all").field
    >>> field.evaluate().shape, field.evaluate((64, 64)).shape
    ((32, 32), (64, 64))
    """

    control_points: Lattice
    order: int
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    voxel_order: VoxelOrder = "C"
    affine: npt.NDArray[np.float64] | None = None
    axes_known: bool = False
    arithmetic: Arithmetic = "limit"
    itk_tool: ItkTool = "simpleitk"

    def __post_init__(self) -> None:
        check_choice("voxel_order", self.voxel_order, get_args(VoxelOrder))
        check_choice("arithmetic", self.arithmetic, get_args(Arithmetic))
        check_choice("itk_tool", self.itk_tool, get_args(ItkTool))
        file.check_parts(self.control_points, self.order, self.shape, self.axes, self.affine)

    def __repr__(self) -> str:
        """Show the size of the lattice, and of the image that the field is from."""
        points = " x ".join(map(str, self.control_points.shape))
        return f"<BiasField: {points} control points of order {self.order}, image of {self.shape}>"

    def evaluate(
        self,
        shape: tuple[int, ...] | None = None,
        *,
        engine: EngineName = "cpu",
        num_threads: int | None = None,
    ) -> Any:
        """Evaluate the log field on a grid that covers the image from its first to its last voxel.

        This is ITK's index stretch: the first and the last voxel of any grid lie at the ends of
        the fitted domain. After shrinking, the domain really ends at the last sampled voxel, so
        the field is displaced at the edges by up to half the shrink factor, in voxels. ITK, ANTs
        and SimpleITK all do this; :meth:`evaluate_at` does not.

        Parameters
        ----------
        shape
            Shape of the grid; ``None`` for the shape of the image.
        engine
            ``"cpu"`` gives a NumPy array, ``"xla"`` a JAX array on JAX's default device.
        num_threads
            Number of threads of the CPU engine; ``None`` for all processors.

        Returns
        -------
        array of float32
            Log intensity, in the shape of the grid.

        Raises
        ------
        ValueError
            The grid does not have the axes of the field.
        """
        check_engine(engine)
        wanted = self.shape if shape is None else read_shape(shape)
        grid = self._axes_on(wanted)
        if engine == "xla":
            self._check_xla()
            from n4ax.engines.xla.field import evaluate as evaluate_by_xla

            return evaluate_by_xla(self.control_points, self._bases(grid)).reshape(wanted)
        field = self._lay_on_grid(grid)
        with Threads(check_threads(num_threads)) as threads:
            return grid.from_itk(field.evaluate(field.bases, threads))

    def evaluate_at(
        self, shape: tuple[int, ...], affine: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float32]:
        """Evaluate the log field where the voxels of another grid lie in space.

        This follows the positions at which the image was really sampled, instead of ITK's index
        stretch. Outside the fitted domain, the field keeps its value at the edge.

        Parameters
        ----------
        shape
            Shape of the grid, with as many axes longer than 1 as the field.
        affine
            Voxel indices to mm of the grid, shape (4, 4); ``None`` for the image's own grid.

        Returns
        -------
        ndarray of float32
            Log intensity, in the shape of the grid.

        Raises
        ------
        ValueError
            ``affine`` is given and the field has none, or the grid has other axes.
        """
        shape = read_shape(shape)
        affine = None if affine is None else file.check_affine(affine)
        if affine is None and len(shape) != len(self.shape):
            raise InputError(
                "{shape} is {0}; the field's image has {1} axes", shape, len(self.shape)
            )
        values = np.empty(prod(shape), np.float32)
        for first in range(0, len(values), POINTS_AT_A_TIME):
            part = values[first : first + POINTS_AT_A_TIME]
            index = np.unravel_index(np.arange(first, first + len(part)), shape)
            part[:] = self.evaluate_voxels(np.stack(index).astype(np.float64), affine)
        return values.reshape(shape)

    def evaluate_voxels(
        self, voxels: npt.NDArray[np.float64], affine: npt.ArrayLike | None
    ) -> npt.NDArray[np.float64]:
        """Evaluate the log field at voxels of a grid in space, shape (axes, points)."""
        if affine is not None:
            voxels = to_own_voxels(self.affine, np.asarray(affine, np.float64), voxels)
        kept = [axis for axis, n in enumerate(self.shape) if n != 1]
        points = [
            axis.fitted_coordinate(voxels[number], count - self.order)
            for axis, number, count in zip(self.axes, kept, self.control_points.shape, strict=True)
        ]
        return evaluate_points(self.control_points, points, self.order)

    def apply(
        self,
        image: npt.ArrayLike,
        mask: npt.ArrayLike | None = None,
        *,
        outside: Outside = "divide",
        num_threads: int | None = None,
    ) -> Any:
        """Divide an image by the field; ITK's index stretch is used if the shapes differ.

        Parameters
        ----------
        image
            An image or array of any library that :func:`n4ax.n4` takes, of any real dtype. If its
            axes are known to run the other way than those of the field's image (z, y, x against
            x, y, z), the field is turned. Of a series, every volume is divided.
        mask
            A voxel is inside where the mask is not 0. It is needed unless ``outside`` is
            ``"divide"``. For a series it may have the shape of one volume.
        outside
            What happens outside the mask: ``"divide"`` like the inside, ``"keep"`` the image, or
            set it to ``"zero"``.
        num_threads
            Number of threads; ``None`` for all processors.

        Returns
        -------
        image or array
            It has the image's library and shape; float64 for a float64 image and float32
            otherwise. A dask or zarr array gives a dask array, which is divided block by block
            when it is computed.

        Raises
        ------
        ValueError
            ``outside`` needs a mask and none is given, shapes do not fit, or the image is complex.
        """
        return divide_image(self, image, mask, outside, num_threads)

    def divide(
        self, volume: Any, *, num_threads: int | None = None, overwrite: bool = False
    ) -> Any:
        """Divide a NumPy, JAX or dask array by the field.

        Parameters
        ----------
        volume
            An array with the axes of the field's image.
        num_threads
            Number of threads of the CPU engine.
        overwrite
            Whether the memory of a JAX array may take the result.
        """
        grid = self._axes_on(volume.shape)
        if is_jax(volume) and self.arithmetic == "itk" and not is_traced(volume):
            volume = np.asarray(volume)
        if is_jax(volume):
            self._check_xla()
            from n4ax.engines.xla.field import divide as divide_by_xla

            divided = divide_by_xla(
                grid.squeeze(volume), self.control_points, self._bases(grid), overwrite=overwrite
            )
            return divided.reshape(volume.shape)
        turned, field = grid.to_itk(volume), self._lay_on_grid(grid)
        if is_lazy(volume):
            from n4ax.engines.cpu import blocks

            return grid.from_itk(blocks.divide(field.divide, field.bases, turned))
        with Threads(check_threads(num_threads)) as threads:
            return grid.from_itk(field.divide(turned, field.bases, threads))

    def evaluate_like(self, volume: Any, num_threads: int | None = None) -> Any:
        """Evaluate the log field on the grid of a NumPy, JAX or dask array, as such an array.

        In the arithmetic of ITK, it is a NumPy array for a JAX array too.
        """
        if not is_lazy(volume):
            engine = "xla" if is_jax(volume) and self.arithmetic == "limit" else "cpu"
            return self.evaluate(volume.shape, engine=engine, num_threads=num_threads)
        from n4ax.engines.cpu import blocks

        grid = self._axes_on(volume.shape)
        field = self._lay_on_grid(grid)
        return grid.from_itk(blocks.evaluate(field.evaluate, field.bases, grid.to_itk(volume)))

    def shift(self, log_intensity: Any) -> BiasField:
        """Add a constant to the log field."""
        points = self.control_points + log_intensity
        return replace(self, control_points=points.astype(np.float32))

    def turn_axes(self) -> BiasField:
        """Make the same field for an image with its axes in the reversed order."""
        return BiasField(**file.turn_parts(vars(self)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the field to a file, which appears whole or not at all.

        A name that ends in ``.nii`` or ``.nii.gz`` gives an image of NIfTI with the control points
        and a text in its header, which other programs can read. Any other name gives a NumPy
        ``.npz`` file. Both hold the field to the last bit.

        Raises
        ------
        OSError
            The folder cannot be written to, or the disk is full.
        ValueError
            The field is too large for NIfTI.
        """
        file.write_parts(file.take_path(path), vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BiasField:
        """Read a field that :meth:`save` wrote.

        Raises
        ------
        OSError
            There is no such file, or it cannot be read.
        ValueError
            The file holds something else or a later version of the format, or its parts do not
            belong together.
        """
        try:
            return cls(**file.read_parts(path))
        except InputError as error:
            raise ValueError(f"{path} is not a bias field saved by n4ax ({error})") from None

    def to_itk_lattice(self) -> itk.ItkLattice:
        """Give the control points as ITK's ``GetLogBiasFieldControlPointLattice`` does.

        Returns
        -------
        ItkLattice
            ``array`` (z, y, x), ``origin`` and ``spacing`` in mm (x, y, z) and ``direction``. As
            in ITK, the origin of the image is left out of ``origin``. Where the voxel size is not
            known, it is 1 mm.
        """
        return itk.make_lattice(vars(self if self.voxel_order == "F" else self.turn_axes()))

    @classmethod
    def from_itk_lattice(
        cls,
        lattice: Any,
        image: Any,
        *,
        spline_order: int = 3,
        shrink_factor: PerAxis = 1,
        padding: Sequence[Sequence[int]] | None = None,
        voxel_order: VoxelOrder = "C",
    ) -> BiasField:
        """Make a field of the control points that ITK's N4 filter found.

        Parameters
        ----------
        lattice
            What :meth:`to_itk_lattice` gives, or that image of the Python package ``itk``.
        image
            The image that is to be corrected, before it was padded and shrunk for ITK: as for
            :func:`n4ax.n4`. Its voxels are not used.
        spline_order
            ITK's order of the spline.
        shrink_factor
            By how much the image was shrunk for ITK.
        padding
            Voxels of padding before and after the image along each of its axes, if it was padded.
        voxel_order
            Which axis of a plain array is ITK's x, as in :class:`N4Settings`.

        Raises
        ------
        ValueError
            The lattice does not cover such an image.
        TypeError
            It is no lattice, or there is no image.
        """
        return cls(
            **itk.read_parts(lattice, image, spline_order, shrink_factor, padding, voxel_order)
        )

    def _axes_on(self, shape: tuple[int, ...]) -> ImageAxes:
        """Describe a grid by the axes that the field has: those longer than 1 in its own image."""
        grid = ImageAxes.of(shape, self.voxel_order)
        if len(shape) == len(self.shape):
            grid = replace(grid, kept=ImageAxes.of(self.shape, self.voxel_order).kept)
        if len(grid.kept) != len(self.axes) or prod(grid.lengths) != prod(shape) or 0 in shape:
            raise InputError(
                "shape {0} does not fit a field of {1} axes, estimated on an image of shape {2}",
                shape,
                len(self.axes),
                self.shape,
            )
        return grid

    def _bases(self, grid: ImageAxes) -> list[AxisBasis]:
        """Make the basis along each axis of a grid, in the order of the image."""
        counts = self.control_points.shape
        return [
            axis.stretched_basis(n, count, self.order)
            for axis, n, count in zip(self.axes, grid.lengths, counts, strict=True)
        ]

    def _lay_on_grid(self, grid: ImageAxes) -> GridField:
        """Lay the field on a grid in ITK's order, so that its sums always have one order."""
        lattice = np.ascontiguousarray(grid.turn_array(self.control_points))
        axes = grid.turn(self.axes)
        spline = Spline(lattice, self.order, axes, self.arithmetic, self.itk_tool)
        return lay_on_grid(spline, grid.turn(grid.lengths))

    def _check_xla(self) -> None:
        if self.arithmetic == "itk":
            raise InputError(
                "the field is in the arithmetic of ITK, which the XLA engine does not have: use "
                "{engine:cpu} and NumPy arrays"
            )
