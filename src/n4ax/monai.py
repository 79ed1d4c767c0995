"""N4 as transforms of MONAI, for arrays and for dictionaries.

Requires MONAI: ``pip install 'n4ax[monai]'``.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from n4ax.extras import need_extra

with need_extra("monai", "n4ax.monai"):
    from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
    from monai.data.meta_obj import get_track_meta
    from monai.data.meta_tensor import MetaTensor
    from monai.data.utils import to_affine_nd
    from monai.transforms.transform import MapTransform, Transform
    from monai.utils.enums import MetaKeys, SpaceKeys, TransformBackends
    from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

import numpy as np
import torch

from n4ax.channels import (
    Corrector,
    Mask,
    MaskFunction,
    SharedField,
    Spacing,
    call_mask_function,
    check_affines,
    make_space,
    note_subject,
)
from n4ax.errors import InputError
from n4ax.images.headers import PLACE_FIELDS, read_space
from n4ax.itk.space import Space
from n4ax.settings import EngineName, N4Settings, PerAxis, VoxelOrder

_MASK_WORDS = ("otsu", "all")


class N4BiasFieldCorrection(Transform):
    """Correct the bias field of a channel-first image (N4).

    Every channel has a field of its own. The result is float64 for a float64 image and float32 for
    any other, and on the device of the input. As with MONAI's own transforms, it is a
    ``MetaTensor`` with the metadata, affine and applied operations of the input, or a
    ``torch.Tensor`` if metadata is not tracked. Nothing is random.

    Parameters
    ----------
    mask : "otsu", "all" or callable, optional
        The voxels that the field is estimated on, when no mask is given together with the image:

        - ``"otsu"``, the default: those above Otsu's threshold of each channel;
        - ``"all"``, all voxels;
        - a function that takes the image and returns its mask. It cannot be a lambda if the
          transform is pickled.
    iters : sequence of int
        The maximum number of iterations at each level.
    conv_threshold : float
        A level ends when the convergence measure is not above this value.
    shrink_factor : int or one per axis
        Estimate the field on every n-th voxel; training pipelines mostly use 4.
    spline_distance : float, optional
        The length of a mesh element at the first level, in mm. It requires the voxel size.
    adapt : bool
        Choose the mesh, iterations, FWHM and shrink factor for each image, or leave it as it is
        (:mod:`n4ax.auto`).
    spacing : float or one per axis, optional
        The voxel size in mm. By default it comes from the metadata of a ``MetaTensor``: from the
        header of its NIfTI file if no transform has moved the image, else from its affine.
    voxel_order : "F" or "C"
        The axis along which ITK would step fastest: ``"F"`` is the first (MONAI's readers put x
        first), ``"C"`` the last.
    engine : "cpu" or "xla"
        The compiled CPU engine, which computes on the host even for a tensor on a GPU, or XLA on
        JAX's device.
    num_threads : int, optional
        The number of threads of the CPU engine. The default is one in a worker of a
        ``DataLoader``; elsewhere it is the number of processors that the process may use, up to
        16. The result does not depend on it.
    **parameters
        The other parameters of :class:`n4ax.N4Settings`. The defaults are SimpleITK's.

    Raises
    ------
    ValueError
        A parameter is out of range; or, when the transform is called, the image cannot be
        corrected.

    References
    ----------
    N. J. Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE Transactions on Medical
    Imaging 29(6), 2010, doi:10.1109/TMI.2010.2046908.

    Examples
    --------
    >>> from monai.transforms import Compose, LoadImage, NormalizeIntensity
    >>> from n4ax.monai import N4BiasFieldCorrection
    >>> transform = Compose([
    ...     LoadImage(ensure_channel_first=True),
    ...     N4BiasFieldCorrection(shrink_factor=4),
    ...     NormalizeIntensity(nonzero=True),
    ... ])
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI declares it so

    def __init__(
        self,
        mask: str | MaskFunction | None = None,
        *,
        iters: Sequence[int] = (50, 50, 50, 50),
        conv_threshold: float = 0.001,
        shrink_factor: PerAxis = 1,
        spline_distance: float | None = None,
        spacing: float | Sequence[float] | None = None,
        voxel_order: VoxelOrder = "F",
        engine: EngineName = "cpu",
        num_threads: int | None = None,
        **parameters: Any,
    ) -> None:
        if not (mask is None or callable(mask) or (isinstance(mask, str) and mask in _MASK_WORDS)):
            raise InputError("{mask} is {0!r}; expected 'otsu', 'all' or a function", mask)
        settings = N4Settings(
            iters=iters,
            conv_threshold=conv_threshold,
            shrink_factor=shrink_factor,
            spline_distance=spline_distance,
            voxel_order=voxel_order,
            **parameters,
        )
        self.corrector = Corrector(settings, engine, num_threads)
        self.mask = mask
        self.spacing = spacing

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> torch.Tensor:
        """Correct ``img``, of shape (C, ...) with 2, 3 or 4 axes after the channels.

        Parameters
        ----------
        img : ndarray, Tensor or MetaTensor
            The intensities, of any real dtype.
        mask : ndarray, Tensor or MetaTensor, optional
            A mask with the shape of the image or with one channel. A voxel is inside where the
            mask is not 0, or equals ``mask_label`` if that is given. This mask takes precedence
            over the mask of the transform.

        Returns
        -------
        MetaTensor or Tensor
            The corrected image.

        Raises
        ------
        ValueError
            The image cannot be corrected; the message says why.
        """
        image = _to_tensor(img)
        corrected = self.corrector.correct(
            image, self._find_mask(image, mask), self._find_spacing(img)
        )
        return _to_monai(corrected, img)

    def shared_field(
        self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None
    ) -> SharedField:
        """Estimate the field of an image with one channel, for :meth:`apply_field`."""
        image = _to_tensor(img)
        return self.corrector.estimate_shared_field(
            image, self._find_mask(image, mask), self._find_spacing(img)
        )

    def apply_field(self, shared: SharedField, img: NdarrayOrTensor) -> torch.Tensor:
        """Divide every channel of ``img`` by the field of another image on the same grid."""
        return _to_monai(self.corrector.apply_shared_field(shared, _to_tensor(img)), img)

    def _find_mask(self, image: torch.Tensor, mask: NdarrayOrTensor | None) -> Mask:
        if mask is not None:
            return _to_tensor(mask)
        if callable(self.mask):
            return _to_tensor(call_mask_function(self.mask, image))
        return self.mask

    def _find_spacing(self, img: NdarrayOrTensor) -> Spacing:
        if self.spacing is not None or not isinstance(img, MetaTensor):
            return self.spacing
        last = self.corrector.settings.voxel_order == "C"
        return make_space(_get_affine(img), img.ndim - 1, _find_place(img), fastest_last=last)


class N4BiasFieldCorrectiond(MapTransform):
    """Correct the bias field of the images of a dictionary (N4).

    Parameters
    ----------
    keys : key or keys
        The keys of the images to correct, each of shape (C, ...).
    mask_key : key, optional
        The key of a mask for all images, with their shape or with one channel. A voxel is inside
        where the mask is not 0, or equals ``mask_label`` if that is given.
    shared_field_key : key, optional
        The key of an image with one channel. All images are divided by the field of this image, so
        they must lie on its grid. It need not be one of ``keys``. By default every image has a
        field of its own.
    allow_missing_keys : bool
        Skip those of ``keys`` that the dictionary does not have. ``mask_key`` and
        ``shared_field_key`` must not be missing.
    **parameters
        The parameters of :class:`N4BiasFieldCorrection`.

    Raises
    ------
    ValueError
        A parameter is out of range; or, when the transform is called, an image cannot be
        corrected. A note on the error says which image.
    KeyError
        When the transform is called: a key is missing.

    Examples
    --------
    >>> from monai.transforms import Compose, LoadImaged
    >>> from n4ax.monai import N4BiasFieldCorrectiond
    >>> transform = Compose([
    ...     LoadImaged(["t1", "t2", "brain"], ensure_channel_first=True),
    ...     N4BiasFieldCorrectiond(["t1", "t2"], mask_key="brain", shrink_factor=4),
    ... ])
    """

    backend = N4BiasFieldCorrection.backend

    def __init__(
        self,
        keys: KeysCollection,
        mask_key: Hashable | None = None,
        shared_field_key: Hashable | None = None,
        allow_missing_keys: bool = False,
        **parameters: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key
        # The transform of TorchIO has no keys, and calls this parameter shared_field.
        called_otherwise = parameters.pop("shared_field", None)
        self.shared_field_key = called_otherwise if shared_field_key is None else shared_field_key
        self.transform = N4BiasFieldCorrection(**parameters)
        if self.shared_field_key is not None:
            self.transform.corrector.settings.check_shared()

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        """Correct the images in a copy of the dictionary."""
        result = dict(data)
        keys = list(self.key_iterator(result))
        if not keys:
            return result
        mask = self._get_required(result, "mask_key")
        source = self._get_required(result, "shared_field_key")
        if source is None:
            for key in keys:
                with note_subject(f"image {key!r}"):
                    self._check_same_place(key, result[key], self.mask_key, mask)
                    result[key] = self.transform(result[key], mask)
            return result
        with note_subject(f"image {self.shared_field_key!r}"):
            self._check_same_place(self.shared_field_key, source, self.mask_key, mask)
            shared = self.transform.shared_field(source, mask)
        for key in keys:
            with note_subject(f"image {key!r}"):
                self._check_same_place(key, result[key], self.shared_field_key, source)
                result[key] = self.transform.apply_field(shared, result[key])
        return result

    def _get_required(self, data: Mapping[Hashable, Any], name: str) -> Any:
        key = getattr(self, name)
        if key is not None and key not in data:
            raise KeyError(f"{name} is {key!r}; expected one of the keys of the data: {[*data]}")
        return None if key is None else data[key]

    def _check_same_place(self, key: Hashable, img: Any, other_key: Hashable, other: Any) -> None:
        """Refuse two images at different places, if both are known; shapes are checked later."""
        known = isinstance(img, MetaTensor) and isinstance(other, MetaTensor)
        if known and img.shape[1:] == other.shape[1:]:
            check_affines(str(other_key), _get_affine(other), str(key), _get_affine(img))


N4BiasFieldCorrectionD = N4BiasFieldCorrectionDict = N4BiasFieldCorrectiond


def _to_tensor(array: NdarrayOrTensor) -> torch.Tensor:
    return convert_to_tensor(array, track_meta=False)


def _to_monai(corrected: torch.Tensor, img: NdarrayOrTensor) -> torch.Tensor:
    """Give a result the metadata and the device of ``img``."""
    target = convert_to_tensor(img, track_meta=get_track_meta())
    return convert_to_dst_type(corrected, dst=target, dtype=corrected.dtype)[0]


def _get_affine(img: MetaTensor) -> Any:
    """The affine of an image in nibabel's convention (RAS), shape (4, 4)."""
    affine = to_affine_nd(3, img.affine.numpy())
    lps = img.meta.get(MetaKeys.SPACE) == SpaceKeys.LPS
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine if lps else affine


def _find_place(img: MetaTensor) -> Space | None:
    """Where ITK places the NIfTI file of an image, if the image has its header and its affine."""
    meta = img.meta
    original = meta.get(MetaKeys.ORIGINAL_AFFINE)
    if original is None or any(field not in meta for field in PLACE_FIELDS):
        return None
    if not np.array_equal(np.asarray(original), img.affine.numpy()):  # a transform has moved it
        return None
    sizes = meta.get(MetaKeys.ORIGINAL_PIXDIM, meta[MetaKeys.PIXDIM])
    return read_space({**meta, "pixdim": sizes}, img.ndim - 1)
