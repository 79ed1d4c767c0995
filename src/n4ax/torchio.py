"""N4 as a transform of TorchIO.

Requires TorchIO: ``pip install 'n4ax[torchio]'``.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from n4ax.extras import need_extra

with need_extra("torchio", "n4ax.torchio"):
    import SimpleITK as sitk
    import torchio as tio
    from torchio.transforms import IntensityTransform

from n4ax.channels import (
    Corrector,
    Mask,
    MaskFunction,
    call_mask_function,
    check_affines,
    make_space,
    note_subject,
)
from n4ax.errors import InputError
from n4ax.itk.space import OUR_TOLERANCE, Space
from n4ax.settings import EngineName, N4Settings, PerAxis

# TorchIO's arrays have x first, whatever the file, so the voxel order is not a choice.
_PARAMETERS = tuple(field.name for field in fields(N4Settings) if field.name != "voxel_order")


class N4BiasFieldCorrection(IntensityTransform):
    """Correct the bias field of every scalar image of a subject (N4).

    An image with several channels is corrected channel by channel. Shapes, affines and label maps
    do not change. The result is float64 for a float64 image and float32 for any other. Nothing is
    random, and the history of the subject holds every parameter.

    Parameters
    ----------
    mask : str or callable, optional
        The voxels that the field is estimated on:

        - the name of a label map of the subject, which is used for all images. A voxel is inside
          where the map is not 0, or equals ``mask_label`` if that is given;
        - a function that takes the tensor of an image, shape (C, W, H, D), and returns its mask.
          It cannot be a lambda if the transform is pickled;
        - ``"all"``, all voxels;
        - ``"otsu"``, the default: those above Otsu's threshold of each channel.
    shared_field : str, optional
        The name of a scalar image with one channel. All images are divided by the field of this
        image, so they must lie on its grid. By default every image has a field of its own.
    iters : sequence of int
        The maximum number of iterations at each level.
    conv_threshold : float
        A level ends when the convergence measure is not above this value.
    shrink_factor : int or one per axis
        Estimate the field on every n-th voxel; training pipelines mostly use 4.
    spline_distance : float, optional
        The length of a mesh element at the first level, in mm. The voxel size comes from the
        image.
    adapt : bool
        Choose the mesh, iterations, FWHM and shrink factor for each image, or leave it as it is
        (:mod:`n4ax.auto`).
    engine : "cpu" or "xla"
        The compiled CPU engine, or XLA on JAX's device.
    num_threads : int, optional
        The number of threads of the CPU engine. The default is one in a worker of a
        ``DataLoader``; elsewhere it is the number of processors that the process may use, up to
        16. The result does not depend on it.
    **keywords
        The other parameters of :class:`n4ax.N4Settings` except ``voxel_order`` (the first axis is
        always x), and the parameters of ``torchio.Transform``: ``p``, ``copy``, ``include``,
        ``exclude``, ``keep``, ``label_keys``. The defaults are SimpleITK's.

    Raises
    ------
    ValueError
        A parameter is out of range; or, when the transform is called, an image of the subject
        cannot be corrected. A note on the error says which image.

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
            raise InputError(
                "{mask} is {0!r}; expected the name of a label map, a function, 'otsu' or 'all'",
                mask,
            )
        if not (shared_field is None or isinstance(shared_field, str)):
            raise InputError("{shared_field} is {0!r}; expected the name of an image", shared_field)
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
        # TorchIO's history, its repr and its Hydra configuration read attributes with these names.
        for name in _PARAMETERS:
            setattr(self, name, getattr(settings, name))
        self.args_names = ["mask", "shared_field", *_PARAMETERS, "engine", "num_threads"]
        self._make_corrector()  # it checks the engine and the number of threads
        if shared_field is not None:
            settings.check_shared()

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Correct the images of a subject in place, as TorchIO has already copied the subject."""
        corrector = self._make_corrector()
        # TorchIO makes NumPy raise on every floating-point exception; n4ax handles its own.
        with np.errstate(divide="warn", over="warn", invalid="warn"):
            if self.shared_field is None:
                self._correct_each(subject, corrector)
            else:
                self._correct_all(subject, corrector, self.shared_field)
        return subject

    def _make_corrector(self) -> Corrector:
        parameters: dict[str, Any] = {name: getattr(self, name) for name in _PARAMETERS}
        settings = N4Settings(voxel_order="F", **parameters)
        return Corrector(settings, self.engine, self.num_threads)

    def _correct_each(self, subject: tio.Subject, corrector: Corrector) -> None:
        for name, image in self.get_images_dict(subject).items():
            with note_subject(f"image {name!r}"):
                mask = self._find_mask(subject, image)
                space = _find_space(image)
                image.set_data(corrector.correct(image.data, mask, space))

    def _correct_all(self, subject: tio.Subject, corrector: Corrector, source: str) -> None:
        images = subject.get_images_dict(intensity_only=True)
        if source not in images:
            raise InputError(
                "{shared_field} is {0!r}; expected one of the scalar images of the subject: {1}",
                source,
                [*images],
            )
        space = _find_space(images[source])
        with note_subject(f"image {source!r}"):
            mask = self._find_mask(subject, images[source])
            shared = corrector.estimate_shared_field(images[source].data, mask, space)
        for name, image in self.get_images_dict(subject).items():
            with note_subject(f"image {name!r}"):
                check_affines(name, image.affine, source, images[source].affine)
                image.set_data(corrector.apply_shared_field(shared, image.data))

    def _find_mask(self, subject: tio.Subject, image: tio.ScalarImage) -> Mask:
        if self.mask is None or self.mask in ("otsu", "all"):
            return self.mask  # type: ignore[return-value]
        if not isinstance(self.mask, str):
            return call_mask_function(self.mask, image.data)
        images = subject.get_images_dict(intensity_only=False)
        maps = {name: one for name, one in images.items() if isinstance(one, tio.LabelMap)}
        if self.mask not in maps:
            raise InputError(
                "{mask} is {0!r}; expected 'otsu', 'all' or one of the label maps of the subject: "
                "{1}",
                self.mask,
                [*maps],
            )
        check_affines(self.mask, maps[self.mask].affine, "the image", image.affine)
        return maps[self.mask].data


def _find_space(image: tio.Image) -> Space:
    """The place of an image: as ITK reads it from its file, if the image still lies there."""
    place = None
    if isinstance(image.path, Path) and image.path.is_file():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(image.path))
        try:
            reader.ReadImageInformation()
        except RuntimeError:  # TorchIO reads such a file by nibabel
            pass
        else:
            place = _read_place(reader)
    by_affine = make_space(image.affine, 3)
    if place is not None and place.describe_difference(by_affine, OUR_TOLERANCE) is not None:
        place = None  # a transform has moved the image
    return make_space(image.affine, 3, place)


def _read_place(reader: sitk.ImageFileReader) -> Space | None:
    count = reader.GetDimension()
    if count < 3:
        return None
    rows = np.reshape(reader.GetDirection(), (count, count)).tolist()
    space = Space(reader.GetSpacing(), reader.GetOrigin(), tuple(map(tuple, rows)))
    return space.select_axes(range(3))
