"""N4 in stages, each with other classes of intensity as its weights.

Where shading is strong, one histogram holds dark and bright parts of the same tissue far apart.
RABIES (Desrosiers-Grégoire et al. 2024) therefore lets the dark classes of an image decide first,
then the bright ones, and in the end all of them. Here the classes are found anew at each stage, on
the image as it is corrected by then, and each stage starts from the field of the one before.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from n4ax.errors import InputError
from n4ax.images.masks import find_mask
from n4ax.images.multiotsu import find_thresholds
from n4ax.inputs import Inputs, Run
from n4ax.pipeline import check_start, divide_by_init, fit_image
from n4ax.result import N4Result
from n4ax.settings import N4Settings

THRESHOLDS = 4
"""Number of Otsu's thresholds. They cut five classes, of which the darkest is left out."""

STAGES = ((1, 2), (3, 4), (1, 2, 3), (2, 3, 4), (1, 2, 3, 4))
"""The classes that count at each stage, from 0 for the darkest."""


def fit_in_stages(settings: N4Settings, inputs: Inputs, run: Run | None = None) -> N4Result[Any]:
    """Estimate a field in stages, with classes of intensity as weights.

    Parameters
    ----------
    settings
        The parameters of N4, for every stage.
    inputs
        ``image`` is an array, and ``weights`` are not given. ``init`` may be the field to start
        from.
    run
        How the work is to be done.

    Returns
    -------
    N4Result
        The result of the last stage, whose field is that of all stages.

    Raises
    ------
    InputError
        Weights are given too, or a class of intensities is empty in the mask.
    """
    if inputs.weights is not None:
        raise InputError("{weights} and {weights_from} are both given: give only one of them")
    check_start(settings, "weights_from")
    settings.check_chosen("N4 in stages")
    threads = None if run is None else run.num_threads
    inside = find_mask(
        divide_by_init(settings, replace(inputs, mask=None), threads),
        inputs.mask,
        settings.mask_label,
    )
    stage = replace(inputs, mask=inside)
    found: N4Result[Any] | None = None
    for classes in STAGES:
        labels = _find_classes(divide_by_init(settings, stage, threads), inside)
        weights = (np.isin(labels, classes) & inside).astype(np.float32)
        stage = replace(stage, weights=weights)
        found = fit_image(settings.override(mask_label=None), stage, run)
        stage = replace(stage, weights=None, init=found.field)
    assert found is not None
    return found


def _find_classes(flat: Any, inside: Any) -> Any:
    """The classes of the voxels of an image, from 0 for the darkest."""
    values = flat[inside & np.isfinite(flat)]
    return np.digitize(flat, find_thresholds(values, THRESHOLDS), right=True)
