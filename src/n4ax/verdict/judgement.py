"""The rules: what is suspicious about a correction, and what to do next."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np

from n4ax.errors import InputError
from n4ax.images.multiotsu import find_thresholds
from n4ax.verdict.evidence import Evidence
from n4ax.verdict.messages import Message, Verdict

FLAT = 0.02
"""A field is flat whose 95th percentile is less than this above its 5th."""
STRONG = 5.0
"""No coil shades tissue by more than this factor over an image, as a rule."""
FEW_VALUES = 3
"""An image of so few different intensities is a mask."""
FEW_SAMPLES = 200
"""A histogram of so few voxels says little."""
SMALL = 0.01
"""A mask with a smaller share of the image is hardly meant."""
KEPT = 0.6
"""Otsu's threshold keeps more than this of what is brighter than the air if it fits the image."""
ZEROS = 0.005
"""The share of zeros in the mask from which they are told."""
HEAD = (100.0, 300.0)
"""How far the mask of a head or of a brain reaches along each axis, in mm."""
ANATOMY = 26.0
"""Mesh elements of this length in mm follow the anatomy of a head."""
FINE = 0.115
"""Elements follow the anatomy of anything if they are shorter than this share of the mask."""
WEAK = 0.12
"""Up to this standard deviation of the log field, classes of the levelled image can stand for
tissues. Under stronger shading they are not reliable."""
RISE = 1.05
"""Of such classes, a rise by less than this factor says nothing."""
UNSETTLED = 2.0
"""A level has not settled if its measure is this many times the threshold."""

_ALIKE = 1e-4
"""Intensities count as the same that differ by less than this share of the largest."""
_MOST_SAMPLED = 500_000
"""So many voxels tell what Otsu's threshold has kept."""
_LEAST_SHARE = 0.001
"""Shares are not written more finely than this."""


def judge(evidence: Evidence) -> Verdict:
    """Say what is suspicious about a correction, and measure it.

    Parameters
    ----------
    evidence
        The image, its field, its mask and the run.
    """
    return Verdict(
        tuple(chain.from_iterable(rule(evidence) for rule in _RULES)), dict(evidence.measures)
    )


def tell_corrected(signs: Sequence[str]) -> Message:
    """The message that an image was corrected before, as ``signs`` say in words."""
    return Message(
        "already-corrected",
        "the image seems to have been corrected already ({0}), so that little may be left to do: "
        '{already:"skip"} leaves such images out, {already:"correct"} says nothing',
        ", ".join(signs),
    )


def _see_two_values(evidence: Evidence) -> Iterator[Message]:
    """The image is a mask."""
    samples = evidence.samples
    if samples.before is None:
        return
    values = samples.before[samples.mask & np.isfinite(samples.before)]
    step = _ALIKE * (float(np.abs(values).max(initial=0.0)) or 1.0)
    count = len(np.unique(np.rint(values / step)))
    if 0 < count <= FEW_VALUES:
        yield Message(
            "two-values",
            "{image} has {0} different intensities in the mask, as a mask or a label image has: "
            "look whether {image} and {mask} are swapped",
            count,
        )


def _see_small_mask(evidence: Evidence) -> Iterator[Message]:
    voxels = np.count_nonzero(evidence.inside)
    share = voxels / evidence.inside.size
    if evidence.estimated < FEW_SAMPLES:
        yield Message(
            "few-samples",
            "the field was estimated on {0} voxels, which is too few for a histogram: give a "
            "larger {mask}, or a {shrink_factor} below {1}",
            evidence.estimated,
            evidence.settings.shrink_factor,
        )
    elif share < SMALL:
        yield Message(
            "small-mask",
            "the mask has {0} voxels, {1} % of the image, and elsewhere the field is a guess: give "
            "a larger {mask}",
            voxels,
            _percent(share),
        )


def _see_otsu_mask(evidence: Evidence) -> Iterator[Message]:
    """The mask is a threshold that has left out most of what is brighter than the air."""
    volume, inside = evidence.volume, evidence.inside
    if volume is None or evidence.settings.outside == "zero" or inside.all():
        return
    step = max(1, round((volume.size / _MOST_SAMPLED) ** (1 / volume.ndim)))
    cut = (slice(None, None, step),) * volume.ndim
    values, chosen = volume[cut], inside[cut]
    finite = np.isfinite(values)
    bright, dark = values[finite & chosen], values[finite & ~chosen]
    if not (bright.size and dark.size):
        return
    if bright.min() < dark.max() - _ALIKE * abs(float(bright.max())):
        return  # it is another mask
    try:
        air = find_thresholds(values[finite], 2)[0]
    except InputError:  # there are too few different intensities
        return
    kept = bright.size / max(np.count_nonzero(values[finite] > air), 1)
    if kept < KEPT:
        yield Message(
            "otsu-mask",
            "Otsu's threshold kept {0} % of what is brighter than the air ({1} % of the image), "
            "so that the field is a guess in the darker part: give a {mask} of the whole body, or "
            '{mask:"all"}',
            _percent(kept),
            _percent(np.count_nonzero(inside) / inside.size),
        )


def _see_non_positive(evidence: Evidence) -> Iterator[Message]:
    volume, settings = evidence.volume, evidence.settings
    if volume is None or settings.non_positive != "itk" or settings.tiny is not None:
        return
    found = volume <= 0
    found &= evidence.inside
    if not found.any():
        return
    total, negative = np.count_nonzero(evidence.inside), np.count_nonzero(volume[found] < 0)
    zeros = np.count_nonzero(found) - negative
    if negative or zeros / total >= ZEROS:
        yield Message(
            "non-positive",
            "{0} % of the voxels in the mask are negative and {1} % are 0; they have no logarithm "
            'and distort the histogram: leave them out with {non_positive:"exclude"}, or raise '
            'the image with {non_positive:"offset"}',
            _percent(negative / total),
            _percent(zeros / total),
        )


def _see_strong_field(evidence: Evidence) -> Iterator[Message]:
    samples = evidence.samples
    logs = samples.log_bias[samples.mask & np.isfinite(samples.log_bias)]
    if not logs.size:
        return
    with np.errstate(over="ignore"):
        low, high = (float(np.exp(end)) for end in (logs.min(), logs.max()))
    if not high <= STRONG * low:
        yield Message(
            "strong-field",
            "the field in the mask reaches from {0:.3g} to {1:.3g}, over more than a factor of "
            "{2:g}, which coils hardly do: look at the image and at the {mask}, and give fewer "
            "levels, {iters:{3}}",
            low,
            high,
            STRONG,
            _drop_level(evidence),
        )


def _see_flat_field(evidence: Evidence) -> Iterator[Message]:
    low, high = evidence.measures["inu_p05"], evidence.measures["inu_p95"]
    if low is None or high is None or not 0 < high < (1 + FLAT) * low:
        return
    spread, elements = _percent(high / low - 1), evidence.elements
    longer = [e > reach for e, reach in zip(elements, evidence.extents, strict=False)]
    if longer and all(longer):
        distance = min(elements) * evidence.coarsening
        reach = max(evidence.extents)
        # Half of the mask at the first level is a usual mesh.
        finer = float(f"{reach / 2:.2g}")
        choice = "{spline_distance:{5}}" if evidence.unit == "mm" else "a larger {mesh}"
        yield Message(
            "flat-field",
            "the field in the mask spans {0} %, since the mesh is too coarse: a distance of "
            f"{{1:.0f}} {{2}} at the first level, and of {{3:.0f}} {{2}} at the last one, is "
            f"longer than the mask ({{4:.0f}} {{2}}): give {choice}",
            spread,
            distance,
            evidence.unit,
            min(elements),
            reach,
            finer,
        )
    else:
        yield Message(
            "flat-field",
            "the field in the mask spans {0} % (5th to 95th percentile), so that there was hardly "
            "anything to correct: the image can be used as it was; if it does look shaded, give a "
            "smaller {spline_distance} or a larger {mask}",
            spread,
        )


def _see_fine_mesh(evidence: Evidence) -> Iterator[Message]:
    elements, extents = evidence.elements, evidence.extents
    if not elements or len(extents) < 2 or min(extents) == 0:
        return
    is_head = evidence.unit == "mm" and all(HEAD[0] <= reach <= HEAD[1] for reach in extents)
    is_fine = max(e / reach for e, reach in zip(elements, extents, strict=True)) < FINE
    if not (is_fine or (is_head and len(extents) > 2 and max(elements) <= ANATOMY)):
        return
    fewer = len(evidence.settings.iters) > 1
    choice = "give one level less, {iters:{3}}" if fewer else "give a longer {spline_distance}"
    yield Message(
        "fine-mesh",
        "the elements of the finest mesh are {0:.0f} {1} long in a mask of {2:.0f} {1}, as fine as "
        f"anatomy, which the field then takes for shading: {choice}",
        max(elements),
        evidence.unit,
        max(extents),
        _drop_level(evidence),
    )


def _see_iteration_limit(evidence: Evidence) -> Iterator[Message]:
    settings, solved = evidence.settings, evidence.solved
    threshold = settings.conv_threshold
    ended = [k for k, why in enumerate(solved.stopped) if why == "iteration limit"]
    # Settings that were chosen for the image have as many iterations as are good for it.
    if solved.choice is not None or not (threshold > 0 and ended):
        return
    measures = solved.last_measures
    last = {k: measure for k in ended if (measure := measures[k]) is not None}
    unsettled = [k for k, measure in last.items() if measure > UNSETTLED * threshold]
    if unsettled:
        more = tuple(n * 2 if k in unsettled else n for k, n in enumerate(settings.iters))
        yield Message(
            "iteration-limit",
            "level{0} {1} ended at the iteration limit while the field still changed by {2:.2g}, "
            "above {conv_threshold:{3}}: give more iterations, {iters:{4}}",
            "s" * (len(unsettled) > 1),
            ", ".join(str(k + 1) for k in unsettled),
            max(last[k] for k in unsettled),
            threshold,
            more,
        )


def _see_uneven_tissues(evidence: Evidence) -> Iterator[Message]:
    """The tissues differ less from each other, for their width: the field has anatomy in it."""
    before, after = evidence.measures["cjv_before"], evidence.measures["cjv_after"]
    samples = evidence.samples
    logs = samples.log_bias[samples.mask & np.isfinite(samples.log_bias)]
    if before is None or after is None or after <= before:
        return
    if not samples.tissues and (after <= RISE * before or float(logs.std()) > WEAK):
        return
    advice = "use the image as it was"
    if evidence.solved.choice is None:
        advice = 'let the settings be chosen with {preset:"auto"}, or ' + advice
    yield Message(
        "uneven-tissues",
        "the tissues can be told apart less well after the correction than before it (coefficient "
        "of joint variation {1:.3g} and {0:.3g}), so that the field seems to have anatomy in it: "
        f"{advice}",
        before,
        after,
    )


def _see_signs(evidence: Evidence) -> Iterator[Message]:
    if evidence.signs:
        yield tell_corrected(evidence.signs)


_RULES: tuple[Callable[[Evidence], Iterator[Message]], ...] = (
    _see_two_values,
    _see_small_mask,
    _see_otsu_mask,
    _see_non_positive,
    _see_strong_field,
    _see_flat_field,
    _see_fine_mesh,
    _see_iteration_limit,
    _see_uneven_tissues,
    _see_signs,
)


def _drop_level(evidence: Evidence) -> tuple[int, ...]:
    """The iterations without those of the last level, if there are several levels."""
    iters = tuple(evidence.settings.iters)
    return iters[:-1] if len(iters) > 1 else iters


def _percent(share: float) -> str:
    """A share as a percentage with two digits, and 0 only if there is nothing."""
    percent = 100 * share
    if percent == 0:
        return "0"
    if percent < 100 * _LEAST_SHARE:
        return f"under {100 * _LEAST_SHARE:g}"
    return f"{percent:.1f}" if percent < 10 else f"{percent:.0f}"
