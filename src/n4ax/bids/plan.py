"""Plan a study: check what the user asks for, and choose what the user has left open."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

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
from n4ax.bids.outputs import Outputs, check_output, find_conflicts
from n4ax.bids.recipe import Recipe
from n4ax.bids.sharing import group_sources
from n4ax.bids.workers import Cluster, Workers, count_gpus
from n4ax.errors import InputError
from n4ax.files import check_here
from n4ax.settings import EngineName

_GB_PER_PROCESS = 2.0
"""Memory that a process may need: a 1 mm head takes half of it, 40 million voxels take all."""


_GB_PER_OTHER = 1.0
"""Memory for each further image that shares the field."""


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


@dataclass(frozen=True)
class WorkerChoice:
    """The workers that the user asks for, as far as the user asks for any.

    Attributes
    ----------
    processes, threads
        As for :class:`n4ax.bids.workers.Workers`; ``None`` leaves the choice to n4ax.
    memory_gb, cluster, scheduler, jobs, queue, walltime, account
        As for :class:`n4ax.bids.workers.Workers`.
    options
        A JSON file with the ``options`` of :class:`n4ax.bids.workers.Workers`.
    """

    processes: int | None = None
    threads: int | None = None
    memory_gb: float | None = None
    cluster: Cluster = "local"
    scheduler: str | None = None
    jobs: int = 1
    queue: str | None = None
    walltime: str | None = None
    account: str | None = None
    options: Path | None = None


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
    """

    groups: list[tuple[Source, ...]]
    refused: Mapping[str, str]
    without_images: list[str]
    recipe: Recipe
    workers: Workers

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
    chosen = plan_workers(workers, recipe.engine, len(groups), max(map(len, groups)))
    return StudyPlan(
        groups,
        {path: reason.with_options(recipe.names) for path, reason in conflicts.items()},
        sorted(without),
        _complete_recipe(recipe, workers, chosen),
        chosen,
    )


def plan_workers(
    choice: WorkerChoice, engine: EngineName | None, tasks: int, largest: int = 1
) -> Workers:
    """The workers that the user asks for, with the rest chosen by the resources of this machine.

    Parameters
    ----------
    choice
        What the user asks for.
    engine
        The engine that the user asks for; GPUs are not used for ``"cpu"``.
    tasks
        The number of images, or of groups of them; more processes than that are not started.
    largest
        The most images of a group.

    Raises
    ------
    InputError
        A value is out of range, or ``options`` is not a JSON file.
    """
    from dask.system import CPU_COUNT  # in a container, only the cores that it may use

    is_here = choice.cluster == "local" and choice.scheduler is None
    if is_here and choice.memory_gb is not None:
        _check_memory(choice.memory_gb)
    processes = choice.processes or (
        _count_processes(choice, tasks, CPU_COUNT, _GB_PER_PROCESS + (largest - 1) * _GB_PER_OTHER)
        if is_here
        else 1
    )
    cores = CPU_COUNT if is_here else processes
    return Workers(
        cluster=choice.cluster,
        scheduler=choice.scheduler,
        processes=processes,
        threads=choice.threads or max(1, cores // processes),
        memory_gb=choice.memory_gb,
        jobs=choice.jobs,
        queue=choice.queue,
        walltime=choice.walltime,
        account=choice.account,
        options=_read_options(choice.options),
        gpus=count_gpus() if is_here and engine != "cpu" and find_spec("jax_plugins") else 0,
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
                check_here(recipe.dataset / source.path)
                if recipe.has_mask_files:
                    mask = str(find_file(recipe.dataset, source, mask, "mask"))
                for pattern in recipe.tissues:
                    find_file(recipe.dataset, source, pattern, "tissues")
            except InputError as error:
                problem = error.with_options(recipe.names)
            except ValueError as error:
                problem = str(error)
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


def _count_processes(choice: WorkerChoice, tasks: int, cores: int, gigabytes: float) -> int:
    """How many tasks at a time this machine has room for."""
    room = choice.memory_gb or _free_gigabytes()
    return max(1, min(cores, tasks, int(room / gigabytes)))


def _check_memory(memory_gb: float) -> None:
    total = _total_gigabytes()
    if memory_gb > total:
        raise InputError(
            "{memory_gb} {0:g} is more than the {1:.0f} GB of this machine; expected a number of "
            "GB, or a number with a unit such as 16000MB",
            memory_gb,
            total,
        )


def _free_gigabytes() -> float:
    import psutil

    return min(psutil.virtual_memory().available / 1e9, _total_gigabytes())


def _total_gigabytes() -> float:
    """Memory of this machine in GB; in a container, only what it may use."""
    from distributed.system import MEMORY_LIMIT

    return MEMORY_LIMIT / 1e9


def _read_options(path: Path | None) -> Any:
    """Read the options of a cluster. The workers check that they are an object of JSON."""
    if path is None:
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("{options} {0} is not JSON: {1}", path, error) from None
