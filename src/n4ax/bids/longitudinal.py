"""One setting for all images of a participant, chosen on all of them.

Settings that were chosen for each session alone could differ where the brain does not, and so would
the corrected images. The choice is that of ``n4ax tune``.

References
----------
M. Reuter et al., "Within-subject template estimation for unbiased longitudinal image analysis",
NeuroImage 61(4), 2012, doi:10.1016/j.neuroimage.2012.02.084: all time points are treated alike.
"""

from collections.abc import Sequence

from n4ax.auto.choice import Choice
from n4ax.bids.companions import Companions
from n4ax.bids.recipe import Recipe
from n4ax.errors import InputError
from n4ax.inputs import Run
from n4ax.mask_files import MaskChoice
from n4ax.scan import How, Scan, view_scan
from n4ax.series import Estimate
from n4ax.tuning import Look, find_settings


def choose_for_all(
    recipe: Recipe,
    scans: Sequence[Scan],
    companions: Sequence[Companions],
    series: Sequence[Estimate | None],
) -> Choice:
    """Choose the settings for images that are to be corrected alike.

    Parameters
    ----------
    recipe
        How the images are corrected; its settings are those of the preset ``auto``.
    scans, companions, series
        The images, the files that belong to them, and what their fields are estimated on.

    Returns
    -------
    Choice
        The settings, and why they were chosen.

    Raises
    ------
    ValueError
        N4 cannot work with an image. The message names it.
    """
    looks: list[Look] = []
    for scan, own, estimate in zip(scans, companions, series, strict=True):
        mask = MaskChoice(own.mask, above=recipe.mask_above)
        how = How(estimate, weights=own.weights, tissues=own.tissues)
        run = Run("cpu", recipe.threads)
        try:
            looks.append(Look(str(scan.path), *view_scan(recipe.settings, scan, mask, how, run)))
        except InputError as error:
            raise error.about(str(scan.path)) from None
    tuning = find_settings(recipe.settings, looks)
    return Choice(tuning.settings, tuning.sentence, tuning.images[0].trials)
