"""Several image files that share one field, for the command line and the BIDS app."""

from collections.abc import Sequence
from pathlib import Path

from n4ax.contrasts import fit_shared
from n4ax.errors import InputError
from n4ax.inputs import Inputs, Run
from n4ax.mask_files import MaskChoice
from n4ax.scan import CorrectedScan, How, Scan, make_inputs
from n4ax.settings import N4Settings


def correct_scans(
    settings: N4Settings,
    scans: Sequence[Scan],
    masks: Sequence[MaskChoice],
    *,
    weights: Sequence[Path | None] | None = None,
    run: Run | None = None,
) -> list[CorrectedScan]:
    """Correct images that were read from files by one field that they share.

    Parameters
    ----------
    settings
        The parameters of N4.
    scans
        The images: volumes of one grid in one place. The iterations end by the first of them.
    masks
        For each image the voxels to estimate the field in.
    weights
        For each image the path of the confidence of each voxel, or ``None``.
    run
        How the work is to be done.

    Returns
    -------
    list of CorrectedScan
        One for each image.

    Raises
    ------
    ValueError
        N4 cannot work with an image, or the images do not have one grid in one place. The message
        names the files.
    """
    weights = [None] * len(scans) if weights is None else weights
    inputs = [_read_inputs(settings, *one) for one in zip(scans, masks, weights, strict=True)]
    names = [str(scan.path) for scan in scans]
    results = fit_shared(settings, inputs, run or Run(), names)
    return [
        CorrectedScan(scan, result.corrected, result.log_bias, result.mask, [result])
        for scan, result in zip(scans, results, strict=True)
    ]


def _read_inputs(
    settings: N4Settings, scan: Scan, mask: MaskChoice, weights: Path | None
) -> Inputs:
    """Read the mask and the weights of an image, and say where the three lie in space."""
    if scan.volumes > 1:
        raise InputError(
            "{0} is a series of {1} volumes, and {shared_field} is for single volumes: correct "
            "the series by itself",
            scan.path,
            scan.volumes,
        )
    return make_inputs(settings, scan, mask, How(weights=weights))
