"""Plan a study: check what the user asks for, and choose what the user has left open."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from n4ax.bids.capacity import WorkerChoice, find_shortage, plan_workers
from n4ax.bids.checks import Problem, find_problems, split_groups, spread_problems
from n4ax.bids.companions import find_files
from n4ax.bids.derivatives import check_queries
from n4ax.bids.headers import Progress, read_headers
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
from n4ax.bids.rated import select_rated
from n4ax.bids.recipe import Recipe
from n4ax.bids.sharing import group_participants, group_sources
from n4ax.bids.study_file import check_folder
from n4ax.bids.workers.description import Workers
from n4ax.errors import InputError
from n4ax.images.grids import Grid
from n4ax.messages import make_one_line


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
    rated
        How people must have rated the corrected images; an empty sequence means that it does not
        matter.
    """

    suffixes: Sequence[str] = ()
    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()
    filters: Path | None = None
    rated: Sequence[str] = ()


class StudyPlan(NamedTuple):
    """What a study will do.

    Attributes
    ----------
    groups
        The images, those together that are to share a field if they lie on one grid, or that are
        to share settings. A refused image is by itself.
    refused
        The reasons why some of the images cannot be corrected, by path.
    without_images
        Labels of participants that have none of the images, if all participants were asked for.
    recipe
        How the images are corrected.
    workers
        Where they are corrected.
    problems
        What was found when the images and their files were looked at, by path. All of these images
        are refused.
    notes
        What the user should know about the workers before the work begins.
    """

    groups: list[tuple[Source, ...]]
    refused: Mapping[str, str]
    without_images: list[str]
    recipe: Recipe
    workers: Workers
    problems: Mapping[str, Problem]
    notes: Sequence[str] = ()

    @property
    def sources(self) -> list[Source]:
        """The images, sorted by path."""
        every = (source for group in self.groups for source in group)
        return sorted(every, key=lambda source: source.path)

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Everything that is asked for, by suffix."""
        suffixes = sorted({source.entities["suffix"] for source in self.sources})
        return {suffix: self.recipe.describe(suffix) for suffix in suffixes}


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
        The images that it is to share its field with if they lie on one grid, or its settings.
    files
        The parameters and the paths of all files that belong to it, such as the mask.
    """

    source: str
    output: str
    mask: str
    problem: str
    others: tuple[str, ...]
    files: tuple[tuple[str, str], ...]


def plan_study(
    recipe: Recipe, images: ImageChoice, workers: WorkerChoice, progress: Progress | None = None
) -> StudyPlan:
    """Check everything that can be checked before the work, and choose what was left open.

    Parameters
    ----------
    recipe
        How to correct the images. ``threads`` and paths are completed.
    images
        The images to correct.
    workers
        The workers to use.
    progress
        Called while images and their files are looked at.

    Raises
    ------
    ValueError
        Something that was asked for is impossible.
    OSError
        A folder or a file cannot be read.
    """
    check_output(recipe.dataset, recipe.output, recipe.derivatives)
    check_queries(recipe.patterns, recipe.derivatives)
    sources = _choose_sources(recipe.dataset, images)
    if images.rated:
        sources = select_rated(recipe.output, sources, images.rated)
    without: set[str] = set()
    if not (images.participants or images.rated):
        without = set(list_participants(recipe.dataset)) - {item.participant for item in sources}
    conflicts = find_conflicts(sources)
    groups = _choose_groups(recipe, sources, conflicts)
    headers = _read_headers(recipe, sources, conflicts, progress)
    problems = _find_problems(recipe, groups, headers, progress)
    groups = split_groups(groups, problems)
    need = find_largest(recipe, groups, headers)
    chosen = plan_workers(workers, recipe.engine, len(groups), need.gigabytes)
    shortage = find_shortage(chosen, need)
    recipe = _complete_recipe(recipe, workers, chosen)
    refused = {
        path: make_one_line(reason.with_options(recipe.names)) for path, reason in conflicts.items()
    }
    refused |= {path: problem.reason for path, problem in problems.items()}
    notes = [] if shortage is None else [shortage.with_options(recipe.names)]
    plan = StudyPlan(groups, refused, sorted(without), recipe, chosen, problems, notes)
    own = check_folder(recipe.output, plan.settings, recipe.output_settings)
    return plan._replace(recipe=replace(recipe, own_settings=own))


def preview_study(plan: StudyPlan) -> Iterator[PlannedImage]:
    """Say what will be done with each image, and which files belong to it."""
    recipe = plan.recipe
    groups = {source.path: group for group in plan.groups for source in group}
    for source in plan.sources:
        others = tuple(one.path for one in groups[source.path] if one is not source)
        problem = plan.refused.get(source.path, "")
        found = [] if problem else find_files(recipe, source)
        files = tuple((name, _name_file(recipe, path)) for name, path in found)
        mask = dict(files).get("mask", recipe.mask)
        yield PlannedImage(source.path, Outputs.of(source).image, mask, problem, others, files)


def _name_file(recipe: Recipe, path: Path) -> str:
    """The path of a file in its dataset, with the name of the dataset if it is a derivative."""
    for name, folder in recipe.derivatives:
        if path.is_relative_to(folder):
            return f"{name}: {path.relative_to(folder)}"
    return str(path.relative_to(recipe.dataset) if path.is_relative_to(recipe.dataset) else path)


def _read_headers(
    recipe: Recipe,
    sources: Sequence[Source],
    refused: Mapping[str, InputError],
    progress: Progress | None,
) -> dict[str, Grid | Exception]:
    """Read the headers of the images that are not refused."""
    accepted = [source for source in sources if source.path not in refused]
    return read_headers(recipe.dataset.absolute(), accepted, progress)


def _find_problems(
    recipe: Recipe,
    groups: Sequence[tuple[Source, ...]],
    headers: Mapping[str, Grid | Exception],
    progress: Progress | None,
) -> dict[str, Problem]:
    """Look at the images whose headers were read, and at the files that belong to them."""
    recipe = replace(recipe, dataset=recipe.dataset.absolute(), output=recipe.output.absolute())
    accepted = [source for group in groups for source in group if source.path in headers]
    return spread_problems(recipe, groups, find_problems(recipe, accepted, headers, progress))


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
    sources: Sequence[Source],
    refused: Mapping[str, InputError],
) -> list[tuple[Source, ...]]:
    """Put the images together that are to share a field; those that are refused are alone."""
    _check_sharing(recipe)
    accepted = [source for source in sources if source.path not in refused]
    alone = [(source,) for source in sources if source.path in refused]
    if recipe.longitudinal:
        return [*alone, *group_participants(accepted)]
    return [*alone, *group_sources(accepted, recipe.shared_field)]


def _check_sharing(recipe: Recipe) -> None:
    """Refuse what cannot be combined with a field or with settings that images share."""
    shared, longitudinal = recipe.shared_field, recipe.longitudinal
    if longitudinal and not recipe.settings.adapt:
        raise InputError(
            '{longitudinal} chooses one setting for each participant, which needs {preset:"auto"}: '
            "with other settings, all images have the same anyway"
        )
    if longitudinal and shared:
        raise InputError("{longitudinal} and {shared_field} are both given: give only one of them")
    if (longitudinal or shared) and recipe.output_settings == "exception":
        raise InputError(
            '{output_settings:"exception"} is for images by themselves: leave out '
            f"{{{'longitudinal' if longitudinal else 'shared_field'}}}"
        )
    if not shared:
        return
    recipe.settings.check_chosen("a field that several images share")
    if recipe.tissues:
        raise InputError("{tissues} are for one image with one field: leave out {shared_field}")
    if recipe.settings.arithmetic == "itk":
        raise InputError(
            "{shared_field} is {0}, and {arithmetic} is 'itk': ITK has no field that several "
            "images share, so leave out one of them",
            " ".join(shared),
        )


def _complete_recipe(recipe: Recipe, choice: WorkerChoice, workers: Workers) -> Recipe:
    """The recipe with what the workers need: whole paths, the engine and the number of threads."""
    # All workers must take the same engine, or else results would differ by rounding.
    engine = recipe.engine or ("xla" if workers.gpus else "cpu")
    return replace(
        recipe,
        dataset=recipe.dataset.absolute(),
        output=recipe.output.absolute(),
        engine=engine,
        # The processes of a running scheduler have their own number of cores.
        threads=choice.threads if workers.scheduler is not None else workers.threads,
    )
