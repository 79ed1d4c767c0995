"""The bias field as a spline: evaluate it on any grid, apply it to any image, keep it in a file."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.files import replace_file
from n4ax.images.arrays import import_array, is_jax, is_lazy, namespace_of
from n4ax.images.libraries import is_turned, make_like, open_together
from n4ax.method.bspline import AxisBasis
from n4ax.method.grid import Axis
from n4ax.posing import Problem
from n4ax.settings import EngineName, N4Settings, Outside, VoxelOrder

_FORMAT = 1


@dataclass(frozen=True)
class BiasField:
    """The log bias field of an image, as control points of a B-spline.

    Attributes
    ----------
    control_points
        The lattice, float32, axes in the order of the image's (those of length 1 left out).
    order
        Order of the spline.
    shape
        Shape of the image that it was estimated on, axes of length 1 included.
    axes
        How each axis longer than 1 was padded and sampled.
    voxel_order
        The order of the voxels that it was estimated in; evaluation sums in the same.
    affine
        Voxel indices to mm of that image, shape (4, 4), or ``None`` where it is not known.
    axes_known
        Whether that image said how its axes run; a plain array does not.
    """

    control_points: npt.NDArray[np.float32]
    order: int
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    voxel_order: VoxelOrder = "C"
    affine: npt.NDArray[np.float64] | None = None
    axes_known: bool = False

    def evaluate(
        self,
        shape: tuple[int, ...] | None = None,
        *,
        engine: EngineName = "cpu",
        num_threads: int | None = None,
    ) -> Any:
        """The log field on a grid that covers the image from its first to its last voxel.

        This is ITK's index stretch: the first and last voxel of whatever grid is asked for lie
        at the ends of the fitted domain. After shrinking the domain really ends at the last
        sampled voxel, so the field is displaced by up to half the shrink factor of voxels at
        the edges. ITK, ANTs and SimpleITK all do so; :meth:`evaluate_at` does not.

        Parameters
        ----------
        shape
            Shape of the grid; ``None`` for that of the image.
        engine
            ``"cpu"`` gives a NumPy array, ``"xla"`` a JAX array on JAX's default device.
        num_threads
            Threads to use, on the CPU engine; ``None`` for all processors.

        Returns
        -------
        array, float32, log intensity
        """
        wanted = self.shape if shape is None else tuple(shape)
        grid = self._grid(wanted)
        if engine == "xla":
            from n4ax.engines.xla import field as xla

            return xla.evaluate(self.control_points, self._bases(grid)).reshape(wanted)
        from n4ax.engines.cpu.field import evaluate
        from n4ax.engines.cpu.threads import Threads

        lattice, bases = self._turned(grid)
        with Threads(num_threads) as threads:
            log_field = evaluate(lattice, bases, threads)
        return self._turn(log_field).reshape(wanted)

    def evaluate_at(
        self, shape: tuple[int, ...], affine: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float32]:
        """The log field where the voxels of another grid lie in space.

        Follows the positions at which the image was really sampled, instead of ITK's stretch.
        Outside the fitted domain the field goes on with its value at the edge.

        Parameters
        ----------
        shape
            Shape of the grid, with as many axes longer than 1 as the field.
        affine
            Voxel indices to mm of the grid, shape (4, 4); ``None`` for the image's own grid.

        Returns
        -------
        ndarray, float32, log intensity

        Raises
        ------
        ValueError
            ``affine`` is given and the field has none.
        """
        from scipy.ndimage import map_coordinates

        kept = [axis for axis, n in enumerate(self.shape) if n != 1]
        grid = np.indices(shape, dtype=np.float64).reshape(len(shape), -1)
        if affine is not None:
            grid = self._own_voxels(grid, np.asarray(affine, np.float64))
        elif len(shape) != len(self.shape):
            raise ValueError(f"shape is {shape}; the field's image has {len(self.shape)} axes")
        coordinates = [
            axis.fitted_coordinate(grid[number], count - self.order) + (self.order - 1) / 2.0
            for axis, number, count in zip(self.axes, kept, self.control_points.shape, strict=True)
        ]
        # The lattice gets a border: at the very end of the domain the point beyond it weighs 0.
        lattice = np.pad(self.control_points.astype(np.float64), self.order, mode="edge")
        at = np.stack(coordinates) + self.order
        values = map_coordinates(lattice, at, order=self.order, prefilter=False)
        return values.reshape(shape).astype(np.float32)

    def apply(
        self,
        image: npt.ArrayLike,
        mask: npt.ArrayLike | None = None,
        *,
        outside: Outside = "divide",
        num_threads: int | None = None,
    ) -> Any:
        """``image / exp(field)``, by ITK's index stretch where the shapes differ.

        Parameters
        ----------
        image
            An image or array of any library that :func:`n4ax.n4` takes, of any real dtype. If
            its axes are known to run the other way than those of the field's image (z, y, x
            against x, y, z), the field is turned.
        mask
            Inside where not 0; needed unless ``outside`` is ``"divide"``.
        outside
            Outside the mask: ``"divide"`` like the inside, ``"keep"`` the image, or ``"zero"``.
        num_threads
            Threads to use; ``None`` for all processors.

        Returns
        -------
        image of the same library and shape, float64 for a float64 image and float32 otherwise;
        of a dask or zarr array a dask array, divided block by block when it is asked for

        Raises
        ------
        ValueError
            ``outside`` needs a mask and none is given, shapes do not fit, or the image is complex.
        """
        given = open_together(image, mask, None)
        volume = import_array(given.arrays[0])
        inside = None if mask is None else import_array(given.arrays[1]) != 0
        if volume.dtype.kind not in "biuf":
            raise ValueError(f"image has dtype {volume.dtype}; expected real numbers")
        if outside not in ("divide", "keep", "zero"):
            raise ValueError(f"outside is {outside!r}; expected 'divide', 'keep' or 'zero'")
        if outside != "divide" and inside is None:
            raise ValueError(f"outside is {outside!r} and no mask is given: pass mask")
        if inside is not None and inside.shape != volume.shape:
            raise ValueError(f"mask has shape {inside.shape} and image has shape {volume.shape}")
        plain = None if self.axes_known else self.shape
        if is_turned(image, given, self.voxel_order, plain):
            corrected = self.divided(volume.T, num_threads=num_threads).T
        else:
            corrected = self.divided(volume, num_threads=num_threads)
        if outside != "divide":
            corrected = fill_outside(corrected, volume, inside, outside)
        return make_like(image, corrected)

    def divided(self, volume: Any, *, num_threads: int | None = None, give_up: bool = False) -> Any:
        """``volume / exp(field)`` of a NumPy, JAX or dask array.

        ``give_up``: the memory of a JAX array, not needed any more, may take the result.
        """
        grid = self._grid(volume.shape)
        if is_jax(volume):
            from n4ax.engines.xla import field as xla

            divided = xla.divide(
                volume.reshape(grid), self.control_points, self._bases(grid), overwrite=give_up
            )
            return divided.reshape(volume.shape)
        lattice, bases = self._turned(grid)
        turned = self._turn(volume.reshape(grid))
        if is_lazy(volume):
            from n4ax.engines.cpu import blocks

            divided = blocks.divide(turned, lattice, bases)
        else:
            from n4ax.engines.cpu.field import divide
            from n4ax.engines.cpu.threads import Threads

            with Threads(num_threads) as threads:
                divided = divide(turned, lattice, bases, threads)
        return self._turn(divided).reshape(volume.shape)

    def evaluate_like(self, volume: Any) -> Any:
        """The log field on the grid of a NumPy, JAX or dask array, as an array of that kind."""
        if not is_lazy(volume):
            return self.evaluate(volume.shape, engine="xla" if is_jax(volume) else "cpu")
        from n4ax.engines.cpu import blocks

        grid = self._grid(volume.shape)
        lattice, bases = self._turned(grid)
        log_field = blocks.evaluate(lattice, bases, self._turn(volume.reshape(grid)))
        return self._turn(log_field).reshape(volume.shape)

    def shifted(self, log_intensity: Any) -> BiasField:
        """The field with a constant added to its logarithm."""
        points = self.control_points + log_intensity
        return replace(self, control_points=points.astype(np.float32))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the field to a NumPy ``.npz`` file, whole or not at all."""
        layout = [(a.count, a.lower, a.upper, a.shrink, a.first, a.samples) for a in self.axes]
        content = io.BytesIO()
        np.savez_compressed(
            content,
            n4ax_bias_field=_FORMAT,
            control_points=self.control_points,
            order=self.order,
            shape=np.array(self.shape),
            axes=np.array(layout),
            voxel_order=self.voxel_order,
            affine=np.empty(0) if self.affine is None else self.affine,
            axes_known=self.axes_known,
        )
        with replace_file(Path(path)) as temporary:
            temporary.write_bytes(content.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BiasField:
        """Read a field that :meth:`save` wrote.

        Raises
        ------
        ValueError
            The file holds something else.
        """
        content = io.BytesIO(Path(path).read_bytes())
        try:
            with np.load(content) as data:
                if int(data["n4ax_bias_field"]) != _FORMAT:
                    raise ValueError("a later format")
                return cls(
                    control_points=data["control_points"],
                    order=int(data["order"]),
                    shape=tuple(int(n) for n in data["shape"]),
                    axes=tuple(Axis(*(int(n) for n in row)) for row in data["axes"]),
                    voxel_order="F" if str(data["voxel_order"]) == "F" else "C",
                    affine=data["affine"] if data["affine"].size else None,
                    axes_known=bool(data["axes_known"]),
                )
        except Exception as error:  # a damaged file can fail in many ways
            raise ValueError(f"{path} is not a bias field saved by n4ax ({error})") from None

    def _grid(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The axes of ``shape`` that the field has: those longer than 1 in its own image."""
        kept = tuple(n for n in shape if n != 1)
        if len(shape) == len(self.shape):
            kept = tuple(n for n, own in zip(shape, self.shape, strict=True) if own != 1)
        if len(kept) != len(self.axes) or int(np.prod(kept)) != int(np.prod(shape)):
            raise ValueError(
                f"shape {shape} does not fit a field of {len(self.axes)} axes, estimated on an "
                f"image of shape {self.shape}"
            )
        return kept

    def inside(self, problem: Problem) -> Any:
        """The mask of the problem that the field solves, of the shape of the image, bool."""
        return self._turn(problem.mask).reshape(self.shape)

    def _turn(self, array: Any) -> Any:
        """Between the image's axis order and the one in which the last axis is ITK's x."""
        return array.T if self.voxel_order == "F" else array

    def _bases(self, grid: tuple[int, ...]) -> list[AxisBasis]:
        return [
            axis.stretched_basis(n, count, self.order)
            for axis, n, count in zip(self.axes, grid, self.control_points.shape, strict=True)
        ]

    def _turned(self, grid: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], list[AxisBasis]]:
        """Lattice and bases on ``grid`` with ITK's x as the last axis: sums go in one order."""
        lattice = np.ascontiguousarray(self._turn(self.control_points))
        bases = self._bases(grid)
        return lattice, bases[::-1] if self.voxel_order == "F" else bases

    def _own_voxels(
        self, grid: npt.NDArray[np.float64], affine: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Voxel indices of a grid with ``affine`` as indices of the field's own image."""
        if self.affine is None:
            raise ValueError(
                "affine is given, and the field does not know where its own image lay: estimate "
                "it with n4ax.fit(..., affine=...)"
            )
        if affine.shape != (4, 4) or len(grid) > 3:
            raise ValueError(f"affine has shape {affine.shape}; expected (4, 4), for 2 or 3 axes")
        between = np.linalg.solve(self.affine, affine)
        points = np.zeros((3, grid.shape[1]))
        points[: len(grid)] = grid
        return between[:3, :3] @ points + between[:3, 3:]


def fill_outside(corrected: Any, volume: Any, inside: Any, outside: Outside) -> Any:
    """The corrected image; outside the mask divided as well, kept as it was, or 0."""
    if outside == "divide":
        return corrected
    other = volume.astype(corrected.dtype) if outside == "keep" else np.float32(0)
    return namespace_of(corrected).where(inside, corrected, other)


def make_field(
    problem: Problem,
    lattice: Any,
    settings: N4Settings,
    shape: tuple[int, ...],
    affine: npt.ArrayLike | None = None,
    axes_known: bool = False,
) -> BiasField:
    """The field that a solver found, in the axis order of the image that was given."""
    reverse = settings.voxel_order == "F"
    return BiasField(
        control_points=lattice.T if reverse else lattice,
        order=settings.spline_order,
        shape=shape,
        axes=problem.axes[::-1] if reverse else problem.axes,
        voxel_order=settings.voxel_order,
        affine=None if affine is None else np.asarray(affine, np.float64),
        axes_known=axes_known,
    )
