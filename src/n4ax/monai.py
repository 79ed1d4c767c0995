"""N4 as transforms of MONAI, for arrays and for dictionaries.

Needs MONAI: ``pip install 'n4ax[monai]'``.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

try:
    from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
    from monai.data.meta_obj import get_track_meta
    from monai.data.meta_tensor import MetaTensor
    from monai.data.utils import to_affine_nd
    from monai.transforms.transform import MapTransform, Transform
    from monai.utils.enums import TransformBackends
    from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
except ImportError as error:
    raise ImportError(
        "n4ax.monai needs MONAI, which cannot be imported here: pip install 'n4ax[monai]'"
    ) from error

import torch

from n4ax.channels import (
    Corrector,
    Mask,
    MaskFunction,
    SharedField,
    Spacing,
    about,
    check_together,
    from_function,
    itk_space,
)
from n4ax.itk.space import Space
from n4ax.settings import EngineName, N4Settings, PerAxis, VoxelOrder


class N4BiasFieldCorrection(Transform):
    """Correct the bias field of a channel-first image (N4).

    Every channel is corrected by itself. As with MONAI's own transforms the result is a
    ``MetaTensor`` with the metadata, affine and applied operations of the input, or a
    ``torch.Tensor`` where metadata is not tracked, on the input's device; float64 for a float64
    image and float32 otherwise. Nothing is random.

    Parameters
    ----------
    mask : "otsu", "all" or callable, optional
        Voxels to estimate the field on, where no mask is given with the image: by default, as
        with ``"otsu"``, above Otsu's threshold of each channel; all; or where a function of the
        image says so, which must not be a lambda where a transform is pickled.
    iters : sequence of int
        Most iterations at each level.
    conv_threshold : float
        A level ends once the convergence measure is not above this.
    shrink_factor : int or one per axis
        Estimate on every n-th voxel; 4 is what training pipelines mostly take.
    spline_distance : float, optional
        Length of a mesh element at the first level in mm; needs the voxel size.
    spacing : float or one per axis, optional
        Voxel size in mm. By default that of a ``MetaTensor``'s affine.
    voxel_order : "F" or "C"
        Which axis ITK would walk fastest: the first (MONAI's readers put x first), or the last.
    engine : "cpu" or "xla"
        The compiled CPU engine, on the host wherever the tensor lies, or XLA on JAX's device.
    num_threads : int, optional
        Of the CPU engine. By default one in a worker of a ``DataLoader``, and the processors that
        the process may use, at most 16, elsewhere. The result does not depend on it.
    **parameters
        The others of :class:`n4ax.N4Settings`, whose defaults are SimpleITK's.

    Raises
    ------
    ValueError
        A parameter is out of range; when called, an image cannot be worked with.

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

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - as MONAI declares it

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
        if not (mask is None or callable(mask) or (isinstance(mask, str) and mask in _WORDS)):
            raise ValueError(f"mask is {mask!r}; expected 'otsu', 'all' or a function")
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
            Intensities, any real dtype.
        mask : ndarray, Tensor or MetaTensor, optional
            Of the image's shape or of one channel; inside where it is not 0, or equals
            ``mask_label``. It goes before the mask of the transform.

        Returns
        -------
        MetaTensor or Tensor

        Raises
        ------
        ValueError
            The image cannot be worked with; the message says why.
        """
        image = _plain(img)
        corrected = self.corrector.corrected(image, self._mask(image, mask), self._spacing(img))
        return _as_monai(corrected, img)

    def shared_field(
        self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None
    ) -> SharedField:
        """The field of an image of one channel, for :meth:`apply_field`."""
        image = _plain(img)
        return self.corrector.shared_field(image, self._mask(image, mask), self._spacing(img))

    def apply_field(self, shared: SharedField, img: NdarrayOrTensor) -> torch.Tensor:
        """``img`` with every channel divided by the field of another image on its grid."""
        return _as_monai(self.corrector.applied(shared, _plain(img)), img)

    def _mask(self, image: torch.Tensor, mask: NdarrayOrTensor | None) -> Mask:
        if mask is not None:
            return _plain(mask)
        if callable(self.mask):
            return _plain(from_function(self.mask, image))
        return self.mask

    def _spacing(self, img: NdarrayOrTensor) -> Spacing:
        if self.spacing is not None or not isinstance(img, MetaTensor):
            return self.spacing
        return _place(img, fastest_last=self.corrector.settings.voxel_order == "C")


class N4BiasFieldCorrectiond(MapTransform):
    """Correct the bias field of the images of a dictionary (N4).

    Parameters
    ----------
    keys : key or keys
        Of the images to correct, each of shape (C, ...).
    mask_key : key, optional
        Of the mask that all images share, of their shape or of one channel; inside where it is
        not 0, or equals ``mask_label``.
    shared_field_key : key, optional
        Of an image of one channel: all images are divided by its field, which needs them on its
        grid. It need not be one of ``keys``. By default every image has a field of its own.
    allow_missing_keys : bool
        Leave out those of ``keys`` that the dictionary lacks. The other two are needed.
    **parameters
        Of :class:`N4BiasFieldCorrection`.

    Raises
    ------
    ValueError
        A parameter is out of range; when called, an image cannot be worked with. A note on the
        error says which image it is about.
    KeyError
        When called: a key is missing.

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
        self.shared_field_key = shared_field_key
        self.transform = N4BiasFieldCorrection(**parameters)
        if shared_field_key is not None:
            self.transform.corrector.settings.check_shared()

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        """The dictionary with its images corrected."""
        result = dict(data)
        keys = list(self.key_iterator(result))
        if not keys:
            return result
        mask = self._needed(result, "mask_key")
        source = self._needed(result, "shared_field_key")
        if source is None:
            for key in keys:
                with about(f"image {key!r}"):
                    self._check_place(key, result[key], self.mask_key, mask)
                    result[key] = self.transform(result[key], mask)
            return result
        with about(f"image {self.shared_field_key!r}"):
            self._check_place(self.shared_field_key, source, self.mask_key, mask)
            shared = self.transform.shared_field(source, mask)
        for key in keys:
            with about(f"image {key!r}"):
                self._check_place(key, result[key], self.shared_field_key, source)
                result[key] = self.transform.apply_field(shared, result[key])
        return result

    def _needed(self, data: Mapping[Hashable, Any], name: str) -> Any:
        key = getattr(self, name)
        if key is not None and key not in data:
            raise KeyError(f"{name} is {key!r}; the data has the keys {[*data]}")
        return None if key is None else data[key]

    def _check_place(self, key: Hashable, img: Any, other_key: Hashable, other: Any) -> None:
        """Where both images say where they lie, it must be one place; shapes are checked later."""
        known = isinstance(img, MetaTensor) and isinstance(other, MetaTensor)
        if known and img.shape[1:] == other.shape[1:]:
            check_together(str(other_key), _affine(other), str(key), _affine(img))


N4BiasFieldCorrectionD = N4BiasFieldCorrectionDict = N4BiasFieldCorrectiond

_WORDS = ("otsu", "all")


def _plain(array: NdarrayOrTensor) -> torch.Tensor:
    return convert_to_tensor(array, track_meta=False)


def _as_monai(corrected: torch.Tensor, img: NdarrayOrTensor) -> torch.Tensor:
    """With the metadata of ``img``, and on its device."""
    target = convert_to_tensor(img, track_meta=get_track_meta())
    return convert_to_dst_type(corrected, dst=target, dtype=corrected.dtype)[0]


def _place(img: MetaTensor, *, fastest_last: bool) -> Space:
    return itk_space(_affine(img), img.ndim - 1, fastest_last=fastest_last)


def _affine(img: MetaTensor) -> Any:
    return to_affine_nd(3, img.affine.numpy())
