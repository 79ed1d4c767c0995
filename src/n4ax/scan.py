"""An image file from its path to its correction, for the command line and the BIDS app."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image, Nifti1Pair

from n4ax.auto import Solve, View
from n4ax.errors import InputError
from n4ax.field import BiasField
from n4ax.images import nifti
from n4ax.images.signature import sign
from n4ax.images.volumes import SPATIAL, take_volume
from n4ax.inputs import Inputs, Run
from n4ax.itk.space import Space, Spaces, drop_last_ones
from n4ax.level import compute_bias
from n4ax.mask_files import MaskChoice, combine_masks, uses_otsu
from n4ax.pipeline import divide_by_init, fit_image, view_image
from n4ax.result import N4Result
from n4ax.series import Estimate, check_volumes, correct_series, find_volume
from n4ax.settings import N4Settings
from n4ax.slices import correct_slices
from n4ax.staged import fit_in_stages
from n4ax.verdict import Evidence, Verdict, judge


class Scan(NamedTuple):
    """An image file and its content."""

    path: Path
    image: Nifti1Pair
    voxels: npt.NDArray[np.float32]

    @property
    def volumes(self) -> int:
        """Number of volumes: the length of the fourth axis, or 1."""
        return self.image.shape[3] if self.image.ndim > 3 else 1

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to mm, shape (4, 4)."""
        return nifti.read_affine(self.image)


class How(NamedTuple):
    """How a field is estimated, besides the parameters of N4 and the mask.

    Attributes
    ----------
    series
        For a series, what the field is estimated on; ``"4d"`` is for one field that varies in
        space and time.
    slicewise
        Whether each slice has a field of its own.
    weights
        Path of the confidence of each voxel.
    in_stages
        Whether classes of intensity are the weights, one after the other: see
        :mod:`n4ax.staged`.
    init
        The field to start from.
    tissues
        Paths of maps of tissues, by which settings are chosen.
    """

    series: Estimate | Literal["4d"] | None = None
    slicewise: bool = False
    weights: Path | None = None
    in_stages: bool = False
    init: BiasField | None = None
    tissues: tuple[Path, ...] = ()


class CorrectedScan(NamedTuple):
    """A corrected scan.

    Attributes
    ----------
    scan
        The image; for a series, the volume that the field was estimated on.
    corrected
        The corrected image, of the file's shape.
    log_bias
        The log field, of the file's shape. The field of a series has the shape of a volume, unless
        each volume has a field of its own.
    mask
        The voxels that the field was estimated in, of the shape of ``scan``.
    results
        One result, or one for each volume or slice.
    """

    scan: Scan
    corrected: npt.NDArray[np.float32]
    log_bias: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    results: list[N4Result]

    @property
    def settings(self) -> N4Settings:
        """The parameters of the estimation."""
        return self.results[0].settings

    def judge(self, signs: Sequence[str] = ()) -> Verdict:
        """Say what is suspicious about the correction, and measure it.

        Of a series, the volume is looked at that the field was estimated on.

        Parameters
        ----------
        signs
            What says that the image was corrected before, in words.
        """
        result, voxels = self.results[0], self.scan.voxels
        # Slices have fields of their own, which are looked at together.
        log_bias = self.log_bias if result.field.shape != voxels.shape else result.log_bias
        sizes = (*nifti.read_voxel_sizes(self.scan.image), 1.0, 1.0, 1.0)[: min(voxels.ndim, 3)]
        maps = result.maps
        return judge(Evidence(voxels, log_bias, self.mask, result, sizes, signs, maps))


def read_scan(path: Path) -> Scan:
    """Read an image of any format that is read, with its voxels as float32.

    Raises
    ------
    ValueError
        The file is missing or cannot be read. The message says which.
    """
    image = nifti.read_image(path)
    return Scan(path, image, nifti.read_voxels(image, path))


def correct_scan(
    settings: N4Settings,
    scan: Scan,
    mask: MaskChoice,
    how: How | None = None,
    run: Run | None = None,
) -> CorrectedScan:
    """Correct an image that was read from a file.

    Parameters
    ----------
    settings
        The parameters of N4.
    scan
        The image.
    mask
        The voxels to estimate the field in.
    how
        How the field is estimated besides.
    run
        How the work is to be done.

    Raises
    ------
    ValueError
        N4 cannot work with the input. The message says why.
    """
    how = how or How()
    if how.slicewise:
        return _correct_slices(settings, scan, mask, how, run)
    is_series = check_volumes(settings, Inputs(scan.image), how.series)
    estimate = how.series if is_series and how.series != "4d" else None
    inputs = make_inputs(settings, scan, mask, how._replace(series=estimate))
    if how.in_stages and is_series:
        raise InputError("{weights_from} is for volumes, and {image} is a series")
    if estimate is None:
        fit = fit_in_stages if how.in_stages else fit_image
        result = fit(settings, inputs, run)
        return CorrectedScan(scan, result.corrected, result.log_bias, result.mask, [result])
    done = correct_series(settings, inputs, estimate, run)
    volume = _first_volume(scan)._replace(voxels=done.volume)
    return CorrectedScan(volume, done.corrected, done.log_bias, done.results[0].mask, done.results)


def view_scan(
    settings: N4Settings, scan: Scan, mask: MaskChoice, how: How, run: Run
) -> tuple[View, Solve]:
    """Look at an image that was read from a file, as :func:`n4ax.pipeline.view_image` does.

    Parameters
    ----------
    settings, scan, mask, how, run
        As for :func:`correct_scan`, with the same errors. A series has one field for all volumes.
    """
    check_volumes(settings, Inputs(scan.image), how.series)
    inputs = make_inputs(settings, scan, mask, how)
    if how.series is not None and how.series != "4d":
        voxels = find_volume(scan.voxels, SPATIAL, how.series)
        inputs = replace(inputs, image=voxels)
    return view_image(settings, inputs, run)


def make_inputs(settings: N4Settings, scan: Scan, mask: MaskChoice, how: How) -> Inputs:
    """Read what belongs to an image, and say where everything lies.

    Parameters
    ----------
    settings
        The parameters of N4.
    scan
        The image.
    mask
        The voxels to estimate the field in.
    how
        How the field is estimated. If it is estimated on a volume of a series, mask and weights
        have the shape of a volume.

    Raises
    ------
    ValueError
        A file cannot be read, or lies on another grid than the image.
    """
    volume = scan if how.series is None else _first_volume(scan)
    place = nifti.read_space(volume.image)
    expression = mask.parse()
    if uses_otsu(mask, expression):
        volume = volume._replace(voxels=_find_estimated(settings, scan, how))
    inside, place_of_mask = combine_masks(
        mask,
        expression,
        volume.voxels,
        nifti.read_voxel_sizes(volume.image),
        partial(_read_on_grid, scan=volume),
    )
    confidence, place_of_weights = None, place
    if how.weights is not None:
        confidence, place_of_weights = _read_on_grid(how.weights, volume)
    return Inputs(
        image=scan.voxels,
        mask=inside,
        weights=confidence,
        spacing=Spaces(place, place_of_mask or place, place_of_weights),
        affine=scan.affine,
        init=how.init,
        tissues=[_read_on_grid(path, volume)[0] for path in how.tissues],
    )


def make_corrected_image(scan: Scan, done: CorrectedScan, dtype: Any) -> Nifti1Image:
    """Make an image of the corrected voxels in a data type, with the scan's header."""
    truncate = done.settings.arithmetic == "itk"
    return sign(nifti.replace_voxels(scan.image, done.corrected, dtype, truncate=truncate))


def make_bias_image(scan: Scan, done: CorrectedScan) -> Nifti1Image:
    """Make an image of the field that the scan was divided by, with the scan's header."""
    return sign(nifti.replace_voxels(scan.image, compute_bias(done.log_bias, done.settings)))


def make_mask_image(done: CorrectedScan) -> Nifti1Image:
    """Make an image of the mask that was used, 1 inside and 0 outside, of type uint8."""
    image = done.scan.image
    voxels = done.mask.reshape(image.shape).astype(np.uint8)
    return sign(nifti.replace_voxels(image, voxels, np.uint8))


def _correct_slices(
    settings: N4Settings, scan: Scan, mask: MaskChoice, how: How, run: Run | None
) -> CorrectedScan:
    """Correct each slice of a volume by itself."""
    inputs = make_inputs(settings, scan, mask, how)
    shape = drop_last_ones(scan.voxels.shape, 3)
    flat = Scan(scan.path, scan.image, scan.voxels.reshape(shape))
    arrays = {
        name: value.reshape(shape)
        for name, value in (("mask", inputs.mask), ("weights", inputs.weights))
        if isinstance(value, np.ndarray)
    }
    done = correct_slices(settings, replace(inputs, image=flat.voxels, **arrays), run)
    corrected, log_bias = (a.reshape(scan.voxels.shape) for a in (done.corrected, done.log_bias))
    return CorrectedScan(flat, corrected, log_bias, done.mask, done.results)


def _find_estimated(settings: N4Settings, scan: Scan, how: How) -> npt.NDArray[np.float32]:
    """What the field is estimated on, for Otsu's threshold: of a series one volume."""
    if how.series == "each":
        raise InputError(
            "{mask} has otsu as a part, and with {series:each} every volume has a mask of its own: "
            "give the mask of a file, or otsu alone"
        )
    voxels = scan.voxels
    image = scan.image
    if how.series is not None and how.series != "4d":
        voxels = find_volume(voxels, SPATIAL, how.series)
        image = take_volume(image, SPATIAL, 0)
    if how.init is None:
        return voxels
    place = nifti.read_space(image)
    inputs = Inputs(voxels, spacing=Spaces(place, place, place), affine=scan.affine, init=how.init)
    return divide_by_init(settings, inputs)


def _first_volume(scan: Scan) -> Scan:
    """Take the first volume of a series, for its grid."""
    return Scan(scan.path, take_volume(scan.image, SPATIAL, 0), scan.voxels[..., 0])


def _read_on_grid(path: Path, scan: Scan) -> tuple[npt.NDArray[np.float32], Space]:
    return nifti.read_on_grid(path, scan.image, scan.path)
