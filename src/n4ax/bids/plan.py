"""Plan a study: check what the user asks for, and choose what the user has left open."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from n4ax.bids.capacity import WorkerChoice, find_shortage, plan_workers
from n4ax.bids.companions import find_file
from n4ax.bids.inputs import (
    DEFAULT_SUFFIXES,
    Source,
    describe_choice,
    find_sources,
    list_participants,
    list_suffixes,
    read_filters,
)
from n4ax.bids.need import find_largest
from n4ax.bids.outputs import Outputs, check_output, find_conflicts
from n4ax.bids.recipe import Recipe
from n4ax.bids.sharing import group_sources
from n4ax.bids.workers import Workers
from n4ax.errors import InputError


@dataclass(frozen=True)
class ImageChoice:
    """The images of a dataset that the user asks for.

    Attributes
    ----------
    suffixes
        Kinds of images; an empty sequence means the structural images.
    participants, sessions
        Labels, with or without ``sub-`` and ``ses-``; an empty sequence means all.
    filters
        A file for :func:`n4ax.bids.inputs.read_filters`.
    shared_field
        Which of the images share a field, as for :func:`n4ax.bids.sharing.group_sources`.
    """

    suffixes: Sequence[str] = ()
    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()
    filters: Path | None = None
    shared_field: Sequence[str] = ()


class StudyPlan(NamedTuple):
    """What a study will do.

    Attributes
    ----------
    groups
        The images, those together that are to share a field if they lie on one grid. A refused
        image is by itself.
    refused
        The reasons why some of the images cannot be corrected, by path.
    without_images
        Labels of participants that have none of the images, if all participants were asked for.
    recipe
        How the images are corrected.
    workers
        Where they are corrected.
    notes
        What the user should know about the workers before the work begins.
    """

    groups: list[tuple[Source, ...]]
    refused: Mapping[str, str]
    without_images: list[str]
    recipe: Recipe
    workers: Workers
    notes: Sequence[str] = ()

    @property
    def sources(self) -> list[Source]:
        """The images, sorted by path."""
        every = (source for group in self.groups for source in group)
        return sorted(every, key=lambda source: source.path)


class PlannedImage(NamedTuple):
    """What will be done with an image.

    Attributes
    ----------
    source, output
        Paths of the image and of the corrected image, relative to their folders.
    mask
        ``"otsu"``, ``"all"`` or the path of the mask.
    problem
        Why the image cannot be corrected; empty if nothing is known against it.
    others
        The images that it is to share its field with if they lie on one grid.
    """

    source: str
    output: str
    mask: str
    problem: str
    others: tuple[str, ...]


def plan_study(recipe: Recipe, images: ImageChoice, workers: WorkerChoice) -> StudyPlan:
    """Check everything that can be checked before the work, and choose what was left open.

    Parameters
    ----------
    recipe
        How to correct the images. ``threads`` and paths are completed.
    images
        The images to correct.
    workers
        The workers to use.

    Raises
    ------
    ValueError
        Something that was asked for is impossible.
    OSError
        A folder or a file cannot be read.
    """
    check_output(recipe.dataset, recipe.output)
    sources = _choose_sources(recipe.dataset, images)
    without: set[str] = set()
    if not images.participants:
        without = set(list_participants(recipe.dataset)) - {item.participant for item in sources}
    conflicts = find_conflicts(sources)
    groups = _choose_groups(recipe, images, sources, conflicts)
    need = find_largest(recipe, groups)
    chosen = plan_workers(workers, recipe.engine, len(groups), need.gigabytes)
    shortage = find_shortage(chosen, need)
    return StudyPlan(
        groups,
        {path: reason.with_options(recipe.names) for path, reason in conflicts.items()},
        sorted(without),
        _complete_recipe(recipe, workers, chosen),
        chosen,
        [] if shortage is None else [shortage.with_options(recipe.names)],
    )


def preview_study(plan: StudyPlan) -> Iterator[PlannedImage]:
    """Say what will be done with each image, and look for its mask."""
    recipe = plan.recipe
    groups = {source.path: group for group in plan.groups for source in group}
    for source in plan.sources:
        others = tuple(one.path for one in groups[source.path] if one is not source)
        mask, problem = recipe.mask, plan.refused.get(source.path, "")
        if not problem:
            try:
                if recipe.has_mask_files:
                    mask = str(find_file(recipe.dataset, source, mask, "mask"))
                for pattern in recipe.tissues:
                    find_file(recipe.dataset, source, pattern, "tissues")
            except InputError as error:
                problem = error.with_options(recipe.names)
        yield PlannedImage(source.path, Outputs.of(source).image, mask, problem, others)


def _choose_sources(dataset: Path, images: ImageChoice) -> list[Source]:
    suffixes = images.suffixes or DEFAULT_SUFFIXES
    filters = read_filters(images.filters) if images.filters else None
    sources = find_sources(
        dataset,
        suffixes=suffixes,
        participants=images.participants,
        sessions=images.sessions,
        filters=filters,
    )
    if not sources:
        asked = describe_choice(suffixes, images.sessions, filters)
        existing = ", ".join(list_suffixes(dataset)) or "no images"
        raise ValueError(f"{dataset} has none of the images asked for ({asked}); it has {existing}")
    return sources


def _choose_groups(
    recipe: Recipe,
    images: ImageChoice,
    sources: Sequence[Source],
    refused: Mapping[str, InputError],
) -> list[tuple[Source, ...]]:
    """Put the images together that are to share a field; those that are refused are alone."""
    if images.shared_field:
        recipe.settings.check_chosen("a field that several images share")
        if recipe.tissues:
            raise InputError("{tissues} are for one image with one field: leave out {shared_field}")
    if images.shared_field and recipe.settings.arithmetic == "itk":
        raise InputError(
            "{shared_field} is {0}, and {arithmetic} is 'itk': ITK has no field that several "
            "images share, so leave out one of them",
            " ".join(images.shared_field),
        )
    accepted = [source for source in sources if source.path not in refused]
    alone = [(source,) for source in sources if source.path in refused]
    return [*alone, *group_sources(accepted, images.shared_field)]


def _complete_recipe(recipe: Recipe, choice: WorkerChoice, workers: Workers) -> Recipe:
    """The recipe with what the workers need: whole paths, the engine and the number of threads."""
    engine = recipe.engine
    if workers.are_local and not workers.gpus:
        engine = engine or "cpu"  # otherwise all processes could use the same GPU
    return replace(
        recipe,
        dataset=recipe.dataset.absolute(),
        output=recipe.output.absolute(),
        engine=engine,
        # The processes of a running scheduler have their own number of cores.
        threads=choice.threads if workers.scheduler is not None else workers.threads,
    )
