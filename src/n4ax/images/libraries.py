"""Images of other libraries: their voxels and their place in space, taken in and given back.

| images of | order of the axes | ITK's x |
|---|---|---|
| nibabel, ANTsPy, SimpleITK | x, y, z (, t) | the first axis |
| xarray | as they come | the first axis if it is called x, else the last |
| dask, zarr | as they come | the last axis |

:mod:`n4ax.images.arrays` deals with arrays and tensors, which have no place in space here. A
library is imported only if an argument comes from it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.extras import need_extra
from n4ax.images.arrays import (
    check_real,
    export_array,
    import_array,
    is_lazy,
    is_masked,
    load_array,
)
from n4ax.itk.space import Space, Spaces, check_same_place, drop_last_ones
from n4ax.messages import give_reason
from n4ax.settings import VoxelOrder


class OpenedImage(NamedTuple):
    """An image as an array, and what the image says about itself.

    Attributes
    ----------
    voxels
        A NumPy, JAX or dask array, or anything that :func:`n4ax.images.arrays.import_array` takes.
    space
        Where the image lies, axes in ITK's order (x first); ``None`` for arrays.
    order
        Which axis is ITK's x; ``None`` for arrays, which do not say.
    affine
        Voxel indices to mm in nibabel's convention (RAS), shape (4, 4), or ``None``.
    """

    voxels: Any
    space: Space | None = None
    order: VoxelOrder | None = None
    affine: npt.NDArray[np.float64] | None = None


class OpenedInputs(NamedTuple):
    """An image, its mask and its weights as arrays, and what the image says about itself."""

    arrays: tuple[Any, Any, Any]
    spaces: Spaces | None
    order: VoxelOrder | None
    affine: npt.NDArray[np.float64] | None


def open_together(image: Any, mask: Any, weights: Any, plain: VoxelOrder = "C") -> OpenedInputs:
    """Open an image together with its mask and its weights, which must lie where the image does.

    Parameters
    ----------
    image
        An image or array of any library.
    mask, weights
        Images or arrays; words and ``None`` stay as they are.
    plain
        The order of the axes of plain arrays beside images of SimpleITK. ``"C"`` is the order of
        SimpleITK's own arrays (z, y, x). Beside images of other libraries, plain arrays have the
        order of the image.

    Raises
    ------
    ValueError
        The mask or the weights are known to lie elsewhere, or an image does not have one real
        number in each voxel.
    """
    scan = open_image(image, "image")
    arrays, spaces = [scan.voxels], [scan.space]
    for name, other in (("mask", mask), ("weights", weights)):
        if other is None or isinstance(other, str):
            arrays.append(other)
            spaces.append(scan.space)
            continue
        voxels, space = _open_beside(name, other, image, scan, plain)
        arrays.append(voxels if is_lazy(scan.voxels) else load_array(voxels))
        spaces.append(space)
    known = None if scan.space is None else Spaces(*spaces)  # type: ignore[arg-type]
    return OpenedInputs((arrays[0], arrays[1], arrays[2]), known, scan.order, scan.affine)


def open_beside(image: Any, other: Any, plain: VoxelOrder = "C", name: str = "tissues") -> Any:
    """Open another image of the place and the shape of an image, with its axes.

    Parameters
    ----------
    image, plain
        As for :func:`open_together`.
    other
        The other image, or an array.
    name
        What messages call it.

    Raises
    ------
    ValueError
        It is known to lie elsewhere, or has another shape.
    """
    scan = open_image(image)
    voxels, _ = _open_beside(name, other, image, scan, plain)
    if tuple(voxels.shape) != tuple(scan.voxels.shape):
        raise InputError(
            f"{{{name}}} has shape {{0}} and {{image}} has shape {{1}}",
            tuple(voxels.shape),
            tuple(scan.voxels.shape),
        )
    return load_array(voxels)


def _open_beside(
    name: str, other: Any, image: Any, scan: OpenedImage, plain: VoxelOrder
) -> tuple[Any, Space | None]:
    """Open a mask or weights with the axes of the image, and say where they lie."""
    if _library_of(other) == _library_of(image) == "xarray" and set(other.dims) == set(image.dims):
        other = other.transpose(*image.dims)
    theirs = open_image(other, name)
    voxels = theirs.voxels if is_lazy(theirs.voxels) else import_array(theirs.voxels)
    beside_itk = "SimpleITK" in (_library_of(image), _library_of(other))
    assumed = plain if beside_itk else scan.order or theirs.order
    if (theirs.order or assumed) != (scan.order or assumed):
        voxels = voxels.T
    if drop_last_ones(voxels.shape) == drop_last_ones(scan.voxels.shape):
        voxels = voxels.reshape(scan.voxels.shape)
    if scan.space is None or theirs.space is None or voxels.shape != scan.voxels.shape:
        return voxels, scan.space  # a wrong shape is refused when the problem is posed
    if len(theirs.space.spacing) != len(scan.space.spacing):
        return voxels, scan.space
    check_same_place(name, theirs.space, "image", scan.space)
    return voxels, theirs.space


def is_reversed(
    image: Any, opened: OpenedInputs, order: VoxelOrder, plain_shape: tuple[int, ...] | None
) -> bool:
    """Whether the axes of an image run the other way than those of the image that a field is from.

    Parameters
    ----------
    image, opened
        The image, as it was given and as it was opened.
    order
        The order of the axes of the image that the field is from.
    plain_shape
        The shape of that image if it was a plain array, else ``None``. The order of a plain array
        may have been assumed wrongly, so an image of the same shape is taken as it comes. Images
        of SimpleITK are the exception, since their arrays are known to be reversed.
    """
    if opened.order in (None, order):
        return False
    same = plain_shape is not None and tuple(opened.arrays[0].shape) == plain_shape
    return not same or _library_of(image) == "SimpleITK"


def open_image(image: Any, name: str = "image") -> OpenedImage:
    """Open an image of any library as an array.

    Parameters
    ----------
    image
        An image or array.
    name
        What messages call it.

    Raises
    ------
    ValueError
        The image has several numbers in each voxel, or they are not real.
    """
    library = _library_of(image)
    if hasattr(image, "dataobj"):
        return _open_nibabel(image, name)
    if library == "SimpleITK":
        return _open_simpleitk(image, name)
    if library == "ants" and hasattr(image, "direction"):
        _check_components(name, image.components)
        space = Space(tuple(image.spacing), tuple(image.origin), _rows(image.direction))
        return OpenedImage(image.numpy(), space, "F", space.to_affine())
    if library == "xarray" and hasattr(image, "coords"):
        order = find_order(image)
        return OpenedImage(image.data, _space_of_coordinates(image, order), order)
    if library == "zarr":
        return OpenedImage(_open_zarr(image, name))
    return OpenedImage(image if hasattr(image, "shape") else import_array(image))


def find_order(image: Any) -> VoxelOrder | None:
    """Find which axis of an image is ITK's x; ``None`` for arrays, which do not say."""
    library = _library_of(image)
    if library == "xarray" and hasattr(image, "coords"):
        return "F" if image.dims[:1] == ("x",) else "C"
    is_ants = library == "ants" and hasattr(image, "direction")
    return "F" if is_ants or library == "SimpleITK" or hasattr(image, "dataobj") else None


def make_like(image: Any, voxels: Any) -> Any:
    """Make an image with other voxels, of the same library, shape and place in space.

    The voxels keep their type if the library's format has it; bool becomes uint8 in images. A
    zarr array gives a dask array.
    """
    library = _library_of(image)
    if is_masked(image):
        return np.ma.MaskedArray(np.asarray(voxels), mask=np.ma.getmaskarray(image))
    if hasattr(image, "dataobj"):
        return _make_nibabel(image, _numbers(voxels).reshape(image.shape))
    if library == "SimpleITK":
        return _make_simpleitk(image, _numbers(voxels).reshape(image.GetSize()))
    if library == "ants" and hasattr(image, "direction"):
        return image.new_image_like(np.ascontiguousarray(_numbers(voxels)).reshape(image.shape))
    if library == "xarray" and hasattr(image, "coords"):
        result = image.copy(data=make_like(image.data, voxels))
        result.encoding = {}  # it describes the integers of the file that the image came from
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


def _numbers(voxels: Any) -> npt.NDArray[Any]:
    """Make a NumPy array of numbers, since image formats have no bool."""
    array = np.asarray(voxels)
    return array.astype(np.uint8) if array.dtype == bool else array


def _library_of(image: Any) -> str:
    return type(image).__module__.partition(".")[0]


def _check_components(name: str, components: int) -> None:
    if components > 1:
        raise InputError(
            f"{{{name}}} has {{0}} components in each voxel; expected one: correct them one by one",
            components,
        )


def _rows(matrix: Sequence[Sequence[float]] | npt.NDArray[Any]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(x) for x in row) for row in np.asarray(matrix))


def _open_nibabel(image: Any, name: str) -> OpenedImage:
    from nibabel.nifti1 import Nifti1Image, Nifti1Pair

    from n4ax.images import nifti

    stored = np.dtype(image.get_data_dtype())
    check_real(name, stored)
    kind = np.float64 if stored.kind == "f" and stored.itemsize >= 8 else np.float32
    offset = getattr(image.dataobj, "offset", None)
    if isinstance(image, Nifti1Image) and offset is not None and offset < image.header.sizeof_hdr:
        raise InputError(
            f"{{{name}}} comes from a file whose header says that the voxels begin at byte {{0}} "
            "(vox_offset), which is within the header: correct vox_offset, which is 352 in most "
            "files",
            offset,
        )
    try:
        voxels = nifti.scale_voxels(image, kind)
    except nifti.UNREADABLE as error:
        place = getattr(image.dataobj, "file_like", None)
        file = f" {place}" if isinstance(place, str) else ""
        raise InputError(
            f"{{{name}}}{{0}} cannot be read: {{1}}", file, give_reason(error)
        ) from None
    ndim = len(image.shape)
    if image.affine is None:  # the voxel sizes may be known nevertheless
        sizes = image.header.get_zooms()
        return OpenedImage(voxels, None if set(sizes) == {1.0} else Space.from_spacing(sizes), "F")
    nifti_image = isinstance(image, Nifti1Pair)
    space = nifti.read_space(image) if nifti_image else Space.from_affine(image.affine, ndim)
    affine = nifti.read_affine(image) if nifti_image else np.asarray(image.affine, np.float64)
    return OpenedImage(voxels, space, "F", affine)


def _make_nibabel(image: Any, voxels: npt.NDArray[Any]) -> Any:
    from nibabel.nifti1 import Nifti1Pair
    from nibabel.spatialimages import HeaderDataError

    from n4ax.images import nifti

    if isinstance(image, Nifti1Pair):
        return nifti.replace_voxels(image, voxels, voxels.dtype)
    header = image.header.copy()
    for field in ("cal_min", "cal_max", "glmin", "glmax"):  # the range of what is replaced
        if field in header:
            header[field] = 0
    try:
        header.set_data_dtype(voxels.dtype)
    except HeaderDataError:  # FreeSurfer's format has no double precision
        voxels = voxels.astype(np.float32)
        header.set_data_dtype(np.float32)
    return type(image)(voxels, image.affine, header)


def _open_simpleitk(image: Any, name: str) -> OpenedImage:
    import SimpleITK as sitk

    _check_components(name, image.GetNumberOfComponentsPerPixel())
    kind = image.GetPixelIDTypeAsString()
    if "label" in kind:  # SimpleITK crashes when it is asked for the array of a label map
        raise InputError(f"{{{name}}} is a {kind}: convert it with SimpleITK.LabelMapToLabel first")
    voxels = sitk.GetArrayFromImage(image).T  # a view would not keep the image alive
    check_real(name, voxels.dtype)
    n = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (n, n))
    space = Space(image.GetSpacing(), image.GetOrigin(), _rows(direction))
    return OpenedImage(voxels, space, "F", space.to_affine())


def _make_simpleitk(image: Any, voxels: npt.NDArray[Any]) -> Any:
    import SimpleITK as sitk

    result = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T), isVector=False)
    result.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        # These are fields of NIfTI that describe the voxels that are replaced.
        if not key.startswith(("cal_", "intent_", "scl_", "aux_file")):
            result.SetMetaData(key, image.GetMetaData(key))
    return result


def _open_zarr(array: Any, name: str) -> Any:
    with need_extra("arrays", f"{name}, a zarr array,"):
        import dask.array
    return dask.array.from_zarr(array)


def _space_of_coordinates(image: Any, order: VoxelOrder | None) -> Space | None:
    """Find the place of an ``xarray.DataArray`` from its coordinates in mm, if they are even."""
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
