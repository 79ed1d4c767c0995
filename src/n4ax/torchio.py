"""N4 as a transform of TorchIO.

Needs TorchIO: ``pip install 'n4ax[torchio]'``.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

try:
    import torchio as tio
    from torchio.transforms import IntensityTransform
except ImportError as error:
    raise ImportError(
        "n4ax.torchio needs TorchIO, which cannot be imported here: pip install 'n4ax[torchio]'"
    ) from error

from n4ax.channels import (
    Corrector,
    Mask,
    MaskFunction,
    about,
    check_together,
    from_function,
    itk_space,
)
from n4ax.settings import EngineName, N4Settings, PerAxis

# TorchIO's arrays have x first, whatever the file, so the order of the voxels is no choice.
_PARAMETERS = tuple(field.name for field in fields(N4Settings) if field.name != "voxel_order")


class N4BiasFieldCorrection(IntensityTransform):
    """Correct the bias field of every scalar image of a subject (N4).

    Images of several channels are corrected channel by channel. Shape, affine and label maps
    stay; the result is float64 for a float64 image and float32 otherwise. Nothing is random, and
    the subject's history holds every parameter.

    Parameters
    ----------
    mask : str or callable, optional
        Voxels to estimate the field on: the name of a label map of the subject, which all images
        share, inside where it is not 0 or equals ``mask_label``; a function from an image's
        tensor, shape (C, W, H, D), to its mask, which must not be a lambda where a transform is
        pickled; ``"all"``; or by default, as with ``"otsu"``, Otsu's threshold of each image.
    shared_field : str, optional
        Name of a scalar image of one channel: all images are divided by its field, which needs
        them on its grid. By default every image has a field of its own.
    iters : sequence of int
        Most iterations at each level.
    conv_threshold : float
        A level ends once the convergence measure is not above this.
    shrink_factor : int or one per axis
        Estimate on every n-th voxel; 4 is what training pipelines mostly take.
    spline_distance : float, optional
        Length of a mesh element at the first level in mm. The voxel size is the image's.
    engine : "cpu" or "xla"
        The compiled CPU engine, or XLA on JAX's device.
    num_threads : int, optional
        Of the CPU engine. By default one in a worker of a ``DataLoader``, and the processors that
        the process may use, at most 16, elsewhere. The result does not depend on it.
    **keywords
        The other parameters of :class:`n4ax.N4Settings`, whose defaults are SimpleITK's, but for
        ``voxel_order``: the first axis is x. And those of ``torchio.Transform``: ``p``, ``copy``,
        ``include``, ``exclude``, ``keep``, ``label_keys``.

    Raises
    ------
    ValueError
        A parameter is out of range; when called, a subject cannot be worked with. A note on the
        error says which image it is about.

    References
    ----------
    N. J. Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE Transactions on Medical
    Imaging 29(6), 2010, doi:10.1109/TMI.2010.2046908.

    Examples
    --------
    >>> import torchio as tio
    >>> from n4ax.torchio import N4BiasFieldCorrection
    >>> transform = tio.Compose([
    ...     tio.ToCanonical(),
    ...     N4BiasFieldCorrection(mask="brain", shrink_factor=4),
    ...     tio.ZNormalization(masking_method="brain"),
    ... ])
    """

    def __init__(
        self,
        mask: str | MaskFunction | None = None,
        *,
        shared_field: str | None = None,
        iters: Sequence[int] = (50, 50, 50, 50),
        conv_threshold: float = 0.001,
        shrink_factor: PerAxis = 1,
        spline_distance: float | None = None,
        engine: EngineName = "cpu",
        num_threads: int | None = None,
        **keywords: Any,
    ) -> None:
        others = {name: keywords.pop(name) for name in _PARAMETERS if name in keywords}
        super().__init__(**keywords)
        if not (mask is None or isinstance(mask, str) or callable(mask)):
            raise ValueError(
                f"mask is {mask!r}; expected the name of a label map, a function, 'otsu' or 'all'"
            )
        if not (shared_field is None or isinstance(shared_field, str)):
            raise ValueError(f"shared_field is {shared_field!r}; expected the name of an image")
        settings = N4Settings(
            iters=iters,
            conv_threshold=conv_threshold,
            shrink_factor=shrink_factor,
            spline_distance=spline_distance,
            **others,
        )
        self.mask = mask
        self.shared_field = shared_field
        self.engine: EngineName = engine
        self.num_threads = num_threads
        # TorchIO's history, its repr and its Hydra configuration read attributes of these names.
        for name in _PARAMETERS:
            setattr(self, name, getattr(settings, name))
        self.args_names = ["mask", "shared_field", *_PARAMETERS, "engine", "num_threads"]
        self._corrector()  # which checks the engine and the number of threads
        if shared_field is not None:
            settings.check_shared()

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Correct the images of a subject in place: TorchIO has copied it."""
        corrector = self._corrector()
        # TorchIO makes NumPy raise on every floating-point exception; n4ax sees to its own.
        with np.errstate(divide="warn", over="warn", invalid="warn"):
            if self.shared_field is None:
                self._correct_each(subject, corrector)
            else:
                self._correct_all(subject, corrector, self.shared_field)
        return subject

    def _corrector(self) -> Corrector:
        parameters: dict[str, Any] = {name: getattr(self, name) for name in _PARAMETERS}
        settings = N4Settings(voxel_order="F", **parameters)
        return Corrector(settings, self.engine, self.num_threads)

    def _correct_each(self, subject: tio.Subject, corrector: Corrector) -> None:
        for name, image in self.get_images_dict(subject).items():
            with about(f"image {name!r}"):
                mask = self._mask_of(subject, image)
                place = itk_space(image.affine, 3)
                image.set_data(corrector.corrected(image.data, mask, place))

    def _correct_all(self, subject: tio.Subject, corrector: Corrector, source: str) -> None:
        images = subject.get_images_dict(intensity_only=True)
        if source not in images:
            raise ValueError(
                f"shared_field is {source!r}; this subject has the scalar images {[*images]}"
            )
        place = itk_space(images[source].affine, 3)
        with about(f"image {source!r}"):
            mask = self._mask_of(subject, images[source])
            shared = corrector.shared_field(images[source].data, mask, place)
        for name, image in self.get_images_dict(subject).items():
            with about(f"image {name!r}"):
                check_together(name, image.affine, source, images[source].affine)
                image.set_data(corrector.applied(shared, image.data))

    def _mask_of(self, subject: tio.Subject, image: tio.ScalarImage) -> Mask:
        if self.mask is None or self.mask in ("otsu", "all"):
            return self.mask  # type: ignore[return-value]
        if not isinstance(self.mask, str):
            return from_function(self.mask, image.data)
        images = subject.get_images_dict(intensity_only=False)
        maps = {name: one for name, one in images.items() if isinstance(one, tio.LabelMap)}
        if self.mask not in maps:
            raise ValueError(f"mask is {self.mask!r}; this subject has the label maps {[*maps]}")
        check_together(self.mask, maps[self.mask].affine, "the image", image.affine)
        return maps[self.mask].data
