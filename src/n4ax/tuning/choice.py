"""What is tried on all images, what is taken for all of them, and why, in a sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, log, prod
from statistics import median
from typing import NamedTuple

from n4ax.auto import Solve, Trial, View, shading
from n4ax.auto.choice import (
    list_searched,
    make_by_shading,
    make_first,
    try_settings,
    write_factors,
    write_settings,
)
from n4ax.errors import InputError
from n4ax.settings import N4Settings


class Look(NamedTuple):
    """An image on a coarse grid.

    Attributes
    ----------
    name
        What the image is called; no two have the same name.
    view
        The image. Its voxel size is known in mm.
    solve
        Estimates the log field on its grid.
    """

    name: str
    view: View
    solve: Solve


class Tried(NamedTuple):
    """What was tried on an image.

    Attributes
    ----------
    name
        What the image is called.
    reach
        How far the tissue in its mask reaches, in mm.
    fullness
        Which share of its mask is tissue rather than air.
    trials
        With tissues, one for each candidate; without them, the first estimate.
    """

    name: str
    reach: float
    fullness: float
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Tuning:
    """What was chosen for all images.

    Attributes
    ----------
    settings
        The settings.
    sentence
        What was chosen and why.
    images
        What was tried on each image, in the order in which the images were given.
    reach
        The median over the images of how far the tissue in their masks reaches, in mm.
    candidates
        The settings that were tried on all images; none if no tissues are known.
    criteria
        For each of them the geometric mean over the images of the coefficient of joint variation
        after the correction, as a share of that before. Below 1 the tissues are more even.
    notes
        Sentences about images that are unlike the others.
    """

    settings: N4Settings
    sentence: str
    images: tuple[Tried, ...]
    reach: float
    candidates: tuple[N4Settings, ...] = ()
    criteria: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def leaves(self) -> bool:
        """Whether the images are best left as they are."""
        return not any(self.settings.iters)

    @property
    def spread(self) -> float:
        """The median over the images of the spread of the first trial's field, in percent."""
        return median(one.trials[0].spread for one in self.images)

    @property
    def chosen(self) -> int:
        """The number of the candidate that was chosen; only with tissues."""
        return self.candidates.index(self.settings)


def find_settings(
    settings: N4Settings,
    looks: Sequence[Look],
    on_image: Callable[[str], None] | None = None,
) -> Tuning:
    """Find one setting for all images.

    Parameters
    ----------
    settings
        The settings of the user, of which those stay that have nothing to do with the choice.
    looks
        The images, one at least. Tissues are known in all of them or in none.
    on_image
        Called with the name of each image that has been tried.

    Raises
    ------
    InputError
        Tissues are known in some images only, they are not distinct in one of them, or the images
        have different numbers of axes.
    """
    _check_alike(looks)
    plain = settings.override(adapt=False)
    reach = median(look.view.reach for look in looks)
    typical = find_typical(looks)
    common = list_searched(plain, typical.view, reach) if typical.view.tissues else []
    tried: list[Tried] = []
    for look in looks:
        own = common or [make_first(plain, look.view)]
        trials = tuple(_try(one, look) for one in own)
        tried.append(Tried(look.name, look.view.reach, look.view.fullness, trials))
        if on_image is not None:
            on_image(look.name)
    notes = _describe_shrinking(looks, typical)
    if common:
        return _take_by_tissues(tuple(common), tuple(tried), reach, notes)
    spread = median(one.trials[0].spread for one in tried)
    strength = shading.weigh(spread, median(one.fullness for one in tried))
    chosen = make_by_shading(plain, typical.view, reach, strength)
    return Tuning(chosen, _describe_shading(chosen, tried), tuple(tried), reach, notes=notes)


def find_typical(looks: Sequence[Look]) -> Look:
    """The image with the median voxel size; of two in the middle the one with smaller voxels."""
    ordered = sorted(looks, key=lambda look: (prod(_measure_voxel(look)), look.name))
    return ordered[(len(ordered) - 1) // 2]


def _measure_voxel(look: Look) -> tuple[float, ...]:
    """The voxel size along each axis, in mm, rounded so that equal sizes are equal."""
    steps = zip(look.view.spacing, look.view.shrink, strict=True)
    return tuple(float(f"{step / shrink:.6g}") for step, shrink in steps)


def _check_alike(looks: Sequence[Look]) -> None:
    """Refuse tissues of some images only, and slices beside volumes."""
    known = [look.name for look in looks if look.view.tissues]
    unknown = [look.name for look in looks if not look.view.tissues]
    if known and unknown:
        raise InputError(
            "{tissues} are given for {0} and not for {1}: give them for all images, or for none",
            known[0],
            unknown[0],
        )
    first = looks[0]
    for look in looks:
        axes, others = len(look.view.shrink), len(first.view.shrink)
        if axes != others:
            raise InputError(
                "{images} have different numbers of axes, {0} has {1} and {2} has {3}: tune "
                "slices and volumes apart from each other",
                first.name,
                others,
                look.name,
                axes,
            )


def _try(settings: N4Settings, look: Look) -> Trial:
    """Try settings on an image, whose name is in the error."""
    try:
        return try_settings(settings, look.view, look.solve)
    except InputError as error:
        raise error.about(look.name) from None


def _take_by_tissues(
    candidates: tuple[N4Settings, ...],
    tried: tuple[Tried, ...],
    reach: float,
    notes: tuple[str, ...],
) -> Tuning:
    """Take the candidate after which the tissues of all images are most even."""
    shares = [_list_shares(one) for one in tried]
    # fsum rounds once, so that the order of the images does not count.
    criteria = tuple(exp(fsum(map(log, each)) / len(tried)) for each in zip(*shares, strict=True))
    best = min(range(len(candidates)), key=criteria.__getitem__)
    chosen, count = candidates[best], len(candidates) - 1
    many = len(tried) > 1
    if not any(chosen.iters):
        sentence = (
            f"No correction is the best choice: none of {count} settings makes the two tissues "
            f"more even{' in all images together' if many else ''}."
        )
    else:
        own = sorted(100 * share[best] for share in shares)
        over = f" (mean of {len(own)} images, {own[0]:.0f} to {own[-1]:.0f} %)" if many else ""
        sentence = (
            f"Chosen: {write_settings(chosen)}, which of {count} settings makes the two tissues "
            f"most even: their coefficient of joint variation falls to {100 * criteria[best]:.0f} "
            f"% of what it is without a correction{over}."
        )
    worse = sorted(one.name for one, share in zip(tried, shares, strict=True) if share[best] > 1)
    if worse:
        more = f" and {len(worse) - 1} more" if len(worse) > 1 else ""
        notes = (
            *notes,
            f"The tissues become less even in {worse[0]}{more}: tune such images apart.",
        )
    return Tuning(chosen, sentence, tried, reach, candidates, criteria, notes)


def _list_shares(one: Tried) -> list[float]:
    """The coefficient of joint variation after each trial, as a share of that before."""
    values = [trial.cjv or 0.0 for trial in one.trials]
    if not 0 < values[0] < inf:
        raise InputError(
            "{tissues} show two tissues in {0} that are not distinct or have no variation at all: "
            "give maps of tissues whose brightness differs, such as grey and white matter",
            one.name,
        )
    return [value / values[0] for value in values]


def _describe_shading(chosen: N4Settings, tried: Sequence[Tried]) -> str:
    """Say why these settings belong to the shading of the images."""
    spreads = sorted(one.trials[0].spread for one in tried)
    if len(tried) == 1:
        found = f"a first estimate of the field varies by {spreads[0]:.1f} %"
    else:
        found = (
            f"first estimates of the field vary by {median(spreads):.1f} % (median of "
            f"{len(tried)} images, {spreads[0]:.1f} to {spreads[-1]:.1f} %)"
        )
    if not any(chosen.iters):
        return (
            f"No correction is the best choice: {found}, as much as anatomy makes in an even image."
        )
    return f"Chosen: {write_settings(chosen)}, since {found}."


def _describe_shrinking(looks: Sequence[Look], typical: Look) -> tuple[str, ...]:
    """Say whose shrink factor was taken, if the images would have different ones."""
    factors = {write_factors(look.view.turn(look.view.shrink)) for look in looks}
    if len(factors) == 1:
        return ()
    own = write_factors(typical.view.turn(typical.view.shrink))
    return (
        f"The shrink factors of the images would differ ({', '.join(sorted(factors))}). Taken is "
        f"{own}, that of {typical.name}, whose voxels are of the median size.",
    )
