"""Correct several images of a dataset that share one field or one setting, and write their files.

The files appear when all images have been corrected, image by image. A run that is killed meanwhile
leaves some images done. The next run finds the same field and writes the others.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from n4ax.bids.companions import Companions, find_companions
from n4ax.bids.image import (
    Clock,
    Outcome,
    choose_volumes,
    computing,
    correct_alone,
    correct_source,
    describe_failure,
    leave_out,
    name_for_lock,
    stage_correction,
)
from n4ax.bids.inputs import Source
from n4ax.bids.longitudinal import choose_for_all
from n4ax.bids.outputs import Outputs
from n4ax.bids.recipe import Recipe
from n4ax.bids.sidecar import Correction, Identity, hash_files, identify, is_complete
from n4ax.bids.staging import put_in_place, reserve
from n4ax.images import nifti
from n4ax.inputs import Run
from n4ax.itk.space import OUR_TOLERANCE
from n4ax.mask_files import MaskChoice
from n4ax.scan import Scan, read_scan
from n4ax.series import Estimate
from n4ax.shared_scans import correct_scans

_ALONE = "no other image that was to share its field has its grid, so it has a field of its own"
_SERIES = "it is a series of volumes, so it has a field of its own"


def correct_sources(
    recipe: Recipe, sources: Sequence[Source], *, wait: bool = True
) -> list[Outcome]:
    """Correct images that are to share something, and write all files.

    Those of each grid share a field, or all of them share the settings that are chosen for them.

    Files that exist are kept if they are complete and were made from the same images with the same
    settings by the same version. If one of the images cannot be corrected, none is.

    Parameters
    ----------
    recipe
        How to correct the images.
    sources
        The images, in the order that decides which is the first; or a single image.
    wait
        Whether to wait for images that another run is working on.

    Returns
    -------
    list of Outcome
        What became of each image.
    """
    left_out = {source.path: leave_out(recipe, source) for source in sources}
    if any(left_out.values()):
        kept = [source for source in sources if left_out[source.path] is None]
        made = iter(correct_sources(recipe, kept, wait=wait) if kept else [])
        return [left_out[source.path] or next(made) for source in sources]
    if len(sources) == 1:
        return [correct_source(recipe, sources[0], wait=wait)]
    start = time.perf_counter()
    outcomes = [Outcome(source.path, source.participant, "failed") for source in sources]
    try:
        with ExitStack() as stack:
            # All runs reserve images in one order, so that no two wait for each other.
            stagings = {
                source.path: stack.enter_context(
                    reserve(recipe.output, name_for_lock(source), wait=wait)
                )
                for source in sorted(sources, key=name_for_lock)
            }
            outcomes = _correct_unless_complete(recipe, sources, stagings)
    except _SourceError as error:
        outcomes = [_describe_failure(recipe, error, outcome) for outcome in outcomes]
    except Exception as error:  # one bad group must not end a study
        outcomes = [describe_failure(recipe, error, outcome) for outcome in outcomes]
    seconds = (time.perf_counter() - start) / len(sources)
    return [replace(outcome, seconds=seconds) for outcome in outcomes]


class _SourceError(Exception):
    """One of the images cannot be corrected."""

    def __init__(self, source: Source, error: Exception) -> None:
        super().__init__(source.path, error)
        self.source = source
        self.error = error


@contextmanager
def _about(source: Source) -> Iterator[None]:
    """Say in an error which of the images it is about."""
    try:
        yield
    except Exception as error:
        raise _SourceError(source, error) from error


def _describe_failure(recipe: Recipe, error: _SourceError, outcome: Outcome) -> Outcome:
    own, path = outcome.source, error.source.path
    failed = describe_failure(recipe, error.error, replace(outcome, source=path))
    if own == path:
        return failed
    what = "settings are chosen" if recipe.longitudinal else "field is shared"
    reason = f"its {what} with {path}, which failed: {failed.reason}"
    return replace(failed, source=own, reason=reason, log=())


@dataclass(eq=False)
class _Member:
    """One of the images on its way."""

    source: Source
    companions: Companions
    identity: Identity
    outcome: Outcome
    clock: Clock = field(default_factory=Clock)
    note: str = ""

    @property
    def is_done(self) -> bool:
        """Whether all its files exist and are up to date."""
        return self.outcome.state == "unchanged"


def _correct_unless_complete(
    recipe: Recipe, sources: Sequence[Source], stagings: Mapping[str, Path]
) -> list[Outcome]:
    """Correct the images whose files are missing or out of date."""
    members = _find_members(recipe, sources)
    if not all(member.is_done for member in members):
        correct = _correct_alike if recipe.longitudinal else _correct_by_grid
        made = [pair for pair in correct(recipe, members) if not pair[0].is_done]
        for member, correction in made:
            staging = stagings[member.source.path]
            with _about(member.source):
                outcome = stage_correction(
                    correction, member.identity, staging, member.clock, member.outcome
                )
            notes = (*outcome.notes, *([member.note] if member.note else []))
            member.outcome = replace(outcome, notes=notes)
        for member, correction in made:
            staging = stagings[member.source.path]
            try:
                put_in_place(staging, recipe.output, correction.outputs.sidecar)
            except Exception as error:  # those before it are in place
                failed = replace(member.outcome, state="failed", notes=(), problem="", log=())
                member.outcome = describe_failure(recipe, error, failed)
    return [member.outcome for member in members]


def _find_members(recipe: Recipe, sources: Sequence[Source]) -> list[_Member]:
    """Find what belongs to each image, and whether its files are up to date."""
    companions: list[Companions] = []
    hashes: dict[str, dict[str, str]] = {}
    for source in sources:
        with _about(source):
            companions.append(find_companions(recipe, source))
            hashes[source.path] = hash_files(recipe, source, companions[-1])
    members: list[_Member] = []
    for source, own in zip(sources, companions, strict=True):
        identity = identify(recipe, source, own, hashes)
        outcome = Outcome(source.path, source.participant, "failed")
        if is_complete(recipe, Outputs.of(source), identity):
            outcome = replace(outcome, state="unchanged", notes=own.notes)
        members.append(_Member(source, own, identity, outcome))
    return members


def _correct_by_grid(
    recipe: Recipe, members: Sequence[_Member]
) -> Iterator[tuple[_Member, Correction]]:
    """Correct the images of each grid together, unless all of them are done."""
    scans = _read_scans(recipe, members)
    for numbers in group_by_grid(scans):
        group = [(members[number], scans[number]) for number in numbers]
        if all(member.is_done for member, _ in group):
            continue
        yield from _correct_group(recipe, group)


def _correct_alike(
    recipe: Recipe, members: Sequence[_Member]
) -> Iterator[tuple[_Member, Correction]]:
    """Correct images with fields of their own, and with the settings that are chosen for all."""
    scans = _read_scans(recipe, members)
    companions = [member.companions for member in members]
    series: list[Estimate | None] = []
    for member, scan in zip(members, scans, strict=True):
        with _about(member.source):
            series.append(choose_volumes(recipe, scan, member.companions))
    clock = Clock()
    with computing, clock.step("N4"):
        choice = choose_for_all(recipe, scans, companions, series)
    alike = replace(recipe, settings=choice.settings, longitudinal=False)
    for member, scan in zip(members, scans, strict=True):
        if member.is_done:
            continue
        member.clock.seconds["N4"] = clock.seconds["N4"] / len(members)
        with _about(member.source):
            done = _correct_member(alike, member, scan)
        results = [result.amend(choice=choice) for result in done.done.results]
        yield member, replace(done, recipe=recipe, done=done.done._replace(results=results))


def _correct_member(recipe: Recipe, member: _Member, scan: Scan) -> Correction:
    return correct_alone(recipe, member.source, member.companions, scan, member.clock)


def _read_scans(recipe: Recipe, members: Sequence[_Member]) -> list[Scan]:
    scans: list[Scan] = []
    for member in members:
        with _about(member.source), member.clock.step("Read"):
            scans.append(read_scan(recipe.dataset / member.source.path))
    return scans


def group_by_grid(scans: Sequence[Scan]) -> list[list[int]]:
    """Put the volumes together that have one grid in one place; a series is by itself.

    Returns
    -------
    list of list of int
        The numbers of the scans of each group, in their order.
    """
    groups: list[list[int]] = []
    for number, scan in enumerate(scans):
        for group in groups:
            if _have_one_grid(scans[group[0]], scan):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _have_one_grid(one: Scan, other: Scan) -> bool:
    if one.image.shape != other.image.shape or one.volumes > 1:
        return False
    spaces = nifti.read_space(one.image), nifti.read_space(other.image)
    return spaces[1].describe_difference(spaces[0], OUR_TOLERANCE) is None


def _correct_group(
    recipe: Recipe, group: Sequence[tuple[_Member, Scan]]
) -> Iterator[tuple[_Member, Correction]]:
    """Correct images of one grid by one field."""
    members, scans = [member for member, _ in group], [scan for _, scan in group]
    if len(group) == 1:
        ((member, scan),) = group
        member.note = _SERIES if scan.volumes > 1 else _ALONE
        with _about(member.source):
            yield member, _correct_member(recipe, member, scan)
        return
    masks = [MaskChoice(member.companions.mask, above=recipe.mask_above) for member in members]
    weights = [member.companions.weights for member in members]
    clock = Clock()
    with computing, clock.step("N4"):
        run = Run(recipe.engine, recipe.threads)
        all_done = correct_scans(recipe.settings, scans, masks, weights=weights, run=run)
    for member, done in zip(members, all_done, strict=True):
        member.clock.seconds["N4"] = clock.seconds["N4"] / len(group)
        others = [(other.source, other.companions) for other in members if other is not member]
        yield (
            member,
            Correction(recipe, member.source, member.companions, done.scan, None, done, others),
        )
