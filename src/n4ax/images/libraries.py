"""Images of other libraries: their voxels and their place in space, taken in and given back.

| images of | axes | fastest for ITK |
|---|---|---|
| nibabel, ANTsPy, SimpleITK | x, y, z (, t) | the first |
| xarray | as they come | the first if it is called x, else the last |
| dask, zarr | as they come | the last |

Arrays and tensors are :mod:`n4ax.images.arrays`' affair; here they have no place in space.
No library is loaded that an argument does not come from.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.images.arrays import export_array, import_array, is_lazy, load_array
from n4ax.itk.space import Space, Spaces, check_same_place, drop_last_ones
from n4ax.settings import VoxelOrder


class OpenedImage(NamedTuple):
    """An image as an array, and what it says of itself.

    Attributes
    ----------
    voxels
        NumPy, JAX, dask, or anything that :func:`n4ax.images.arrays.taken` takes.
    space
        Where it lies, axes in ITK's order; ``None`` for arrays.
    order
        Which axis ITK would walk fastest; ``None`` for arrays, which do not say.
    affine
        Voxel indices to mm in nibabel's convention (RAS), shape (4, 4), or ``None``.
    """

    voxels: Any
    space: Space | None = None
    order: VoxelOrder | None = None
    affine: npt.NDArray[np.float64] | None = None


class Inputs(NamedTuple):
    """Image, mask and weights as arrays, and what the image says of itself."""

    arrays: tuple[Any, Any, Any]
    spaces: Spaces | None
    order: VoxelOrder | None
    affine: npt.NDArray[np.float64] | None


def open_together(image: Any, mask: Any, weights: Any, plain: VoxelOrder = "C") -> Inputs:
    """An image, and its mask and weights, which must lie where it does.

    Words and ``None`` stay. ``plain`` is the order of plain arrays beside images of SimpleITK;
    "C" is that of its own arrays, z, y, x. Beside others they come as they are.

    Raises
    ------
    ValueError
        Mask or weights are known to lie elsewhere, or an image is not of one real number a voxel.
    """
    scan = open_image(image, "image")
    arrays, spaces = [scan.voxels], [scan.space]
    for name, other in (("mask", mask), ("weights", weights)):
        if other is None or isinstance(other, str):
            arrays.append(other)
            spaces.append(scan.space)
            continue
        voxels, space = _beside(name, other, image, scan, plain)
        arrays.append(voxels if is_lazy(scan.voxels) else load_array(voxels))
        spaces.append(space)
    known = None if scan.space is None else Spaces(*spaces)  # type: ignore[arg-type]
    return Inputs(tuple(arrays), known, scan.order, scan.affine)  # type: ignore[arg-type]


def _beside(
    name: str, other: Any, image: Any, scan: OpenedImage, plain: VoxelOrder
) -> tuple[Any, Space | None]:
    """A mask or weights with the axes of the image, and where it lies."""
    if _library(other) == _library(image) == "xarray" and set(other.dims) == set(image.dims):
        other = other.transpose(*image.dims)
    theirs = open_image(other, name)
    voxels = theirs.voxels if is_lazy(theirs.voxels) else import_array(theirs.voxels)
    beside_itk = "SimpleITK" in (_library(image), _library(other))
    unsaid = plain if beside_itk else scan.order or theirs.order
    if (theirs.order or unsaid) != (scan.order or unsaid):
        voxels = voxels.T
    if drop_last_ones(voxels.shape) == drop_last_ones(scan.voxels.shape):
        voxels = voxels.reshape(scan.voxels.shape)
    if scan.space is None or theirs.space is None or voxels.shape != scan.voxels.shape:
        return voxels, scan.space  # another shape is refused later
    if len(theirs.space.spacing) != len(scan.space.spacing):
        return voxels, scan.space
    check_same_place(name, theirs.space, "image", scan.space)
    return voxels, theirs.space


def is_turned(image: Any, given: Inputs, order: VoxelOrder, shape: tuple[int, ...] | None) -> bool:
    """Whether an image has its axes the other way than the one that a field is of.

    ``order`` is that one's; ``shape`` too if it was a plain array, which may have axes that run
    otherwise: images of its shape then come as they are, but for SimpleITK's.
    """
    if given.order in (None, order):
        return False
    same = shape is not None and tuple(given.arrays[0].shape) == shape
    return not same or _library(image) == "SimpleITK"


def open_image(image: Any, name: str = "image") -> OpenedImage:
    """An image of any library as an array.

    Raises
    ------
    ValueError
        It has several numbers a voxel, or they are not real.
    """
    library = _library(image)
    if hasattr(image, "dataobj"):
        return _of_nibabel(image, name)
    if library == "SimpleITK":
        return _of_simpleitk(image, name)
    if library == "ants" and hasattr(image, "direction"):
        _check_one(name, image.components)
        space = Space(tuple(image.spacing), tuple(image.origin), _rows(image.direction))
        return OpenedImage(image.numpy(), space, "F", space.to_affine())
    if library == "xarray" and hasattr(image, "coords"):
        order = "F" if image.dims[:1] == ("x",) else "C"
        return OpenedImage(image.data, _of_coordinates(image, order), order)
    if library == "zarr":
        return OpenedImage(_of_zarr(image, name))
    return OpenedImage(image if hasattr(image, "shape") else import_array(image))


def make_like(image: Any, voxels: Any) -> Any:
    """An image of the library and in the place of ``image``, of its shape, with other voxels.

    Voxels keep their type where the library's format has it. A zarr array gives a dask array.
    """
    library = _library(image)
    if hasattr(image, "dataobj"):
        return _like_nibabel(image, np.asarray(voxels).reshape(image.shape))
    if library == "SimpleITK":
        return _like_simpleitk(image, np.asarray(voxels).reshape(image.GetSize()))
    if library == "ants" and hasattr(image, "direction"):
        return image.new_image_like(np.ascontiguousarray(voxels).reshape(image.shape))
    if library == "xarray" and hasattr(image, "coords"):
        result = image.copy(data=make_like(image.data, voxels))
        result.encoding = {}  # of the integers that it may have been read from
        return result
    if is_lazy(voxels):
        return voxels
    if library == "dask":
        import dask.array

        return dask.array.from_array(np.asarray(voxels), chunks=image.chunks)
    if library == "monai":
        from monai.utils.type_conversion import convert_to_dst_type

        tensor = export_array(image, voxels)
        return convert_to_dst_type(tensor, image, dtype=tensor.dtype)[0]
    return export_array(image, voxels)


def _library(image: Any) -> str:
    return type(image).__module__.partition(".")[0]


def _check_one(name: str, components: int) -> None:
    if components > 1:
        raise ValueError(
            f"{name} has {components} components a voxel; expected one: take them one by one"
        )


def _check_real(name: str, dtype: Any) -> None:
    if np.dtype(dtype).kind not in "biuf":
        raise ValueError(
            f"{name} has dtype {dtype}; expected real numbers (for complex data pass the magnitude)"
        )


def _rows(matrix: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(x) for x in row) for row in np.asarray(matrix))


def _of_nibabel(image: Any, name: str) -> OpenedImage:
    from nibabel.nifti1 import Nifti1Pair

    from n4ax.images import nifti

    stored = np.dtype(image.get_data_dtype())
    _check_real(name, stored)
    kind = np.float64 if stored.kind == "f" and stored.itemsize >= 8 else np.float32
    space = Space.from_affine(image.affine, len(image.shape))
    if isinstance(image, Nifti1Pair):
        space = nifti.read_space(image)
    affine = np.asarray(image.affine, np.float64)
    return OpenedImage(np.asarray(image.dataobj, kind), space, "F", affine)


def _like_nibabel(image: Any, voxels: npt.NDArray[Any]) -> Any:
    from nibabel.nifti1 import Nifti1Pair
    from nibabel.spatialimages import HeaderDataError

    from n4ax.images import nifti

    if isinstance(image, Nifti1Pair):
        return nifti.replace_voxels(image, voxels, voxels.dtype)
    header = image.header.copy()
    try:
        header.set_data_dtype(voxels.dtype)
    except HeaderDataError:  # FreeSurfer's format has no double precision
        voxels = voxels.astype(np.float32)
        header.set_data_dtype(np.float32)
    return type(image)(voxels, image.affine, header)


def _of_simpleitk(image: Any, name: str) -> OpenedImage:
    import SimpleITK as sitk

    _check_one(name, image.GetNumberOfComponentsPerPixel())
    kind = image.GetPixelIDTypeAsString()
    if "label" in kind:  # which SimpleITK cannot make an array of, and crashes
        raise ValueError(f"{name} is a {kind}: convert it with SimpleITK.LabelMapToLabel first")
    voxels = sitk.GetArrayFromImage(image).T  # a view would not keep the image alive
    _check_real(name, voxels.dtype)
    n = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (n, n))
    space = Space(image.GetSpacing(), image.GetOrigin(), _rows(direction))
    return OpenedImage(voxels, space, "F", space.to_affine())


def _like_simpleitk(image: Any, voxels: npt.NDArray[Any]) -> Any:
    import SimpleITK as sitk

    result = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T), isVector=False)
    result.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        result.SetMetaData(key, image.GetMetaData(key))
    return result


def _of_zarr(array: Any, name: str) -> Any:
    try:
        import dask.array
    except ImportError as error:
        raise ImportError(
            f"{name} is a zarr array, which needs dask: pip install 'n4ax[arrays]'"
        ) from error
    return dask.array.from_zarr(array)


def _of_coordinates(image: Any, order: VoxelOrder) -> Space | None:
    """From the coordinates of an ``xarray.DataArray``, in mm, where its axes have even ones."""
    sizes, origin = [], []
    for axis in image.dims if order == "F" else image.dims[::-1]:  # ITK's order
        at = np.asarray(image.coords[axis]) if axis in image.coords else np.zeros(0)
        if at.dtype.kind not in "iuf" or len(at) == 0:
            return None
        steps = np.abs(np.diff(at.astype(np.float64))) if len(at) > 1 else np.ones(1)
        if not steps[0] > 0 or np.ptp(steps) > 1e-3 * steps[0]:
            return None
        sizes.append(float(steps.mean()))
        origin.append(float(at[0]))
    plain = Space.from_spacing(sizes)
    return Space(plain.spacing, tuple(origin), plain.direction)
