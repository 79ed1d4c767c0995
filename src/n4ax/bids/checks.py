"""Check all images before the work: that each can be read, and has its mask and its other files.

Whatever is refused here would fail in the same way later, and for the reason that is given here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from n4ax.bids.companions import find_gradients, find_one
from n4ax.bids.derivatives import NoFileError, SeveralFilesError, read_query
from n4ax.bids.headers import Progress, map_files, read_file_header
from n4ax.bids.image import Outcome, choose_estimate, describe_failure, leave_out
from n4ax.bids.inputs import Source
from n4ax.bids.recipe import Recipe
from n4ax.errors import InputError
from n4ax.images.grids import Grid, check_kind, check_same_grid
from n4ax.images.volumes import SPATIAL
from n4ax.messages import make_one_line

_MOST_NAMES = 3
"""Images that are named for each reason; the others are counted."""


class Problem(NamedTuple):
    """Why an image cannot be corrected.

    Attributes
    ----------
    kind
        What many images may have in common, which completes "12 of 200 images ...".
    reason
        What it is for this image.
    lacks_file
        Whether one of the files that were asked for is missing or unusable, such as the mask.
    kind_is_all
        Whether the kind says as much as the reason.
    """

    kind: str
    reason: str
    lacks_file: bool = True
    kind_is_all: bool = False


class _ProblemError(Exception):
    """An image cannot be corrected, for a reason of some kind."""

    def __init__(
        self, kind: str, error: Exception, *, lacks_file: bool = True, kind_is_all: bool = False
    ) -> None:
        super().__init__(kind)
        self.kind, self.error = kind, error
        self.lacks_file, self.kind_is_all = lacks_file, kind_is_all


def find_problems(
    recipe: Recipe,
    sources: Sequence[Source],
    headers: Mapping[str, Grid | Exception],
    progress: Progress | None = None,
) -> dict[str, Problem]:
    """Find the images that cannot be corrected, as far as headers and names of files say it.

    Parameters
    ----------
    recipe
        How the images are corrected.
    sources
        The images.
    headers
        What :func:`n4ax.bids.headers.read_headers` finds.
    progress
        Called after each image.

    Returns
    -------
    dict
        The problems by the path of the image.
    """

    def check(source: Source) -> Problem | None:
        try:
            _check(recipe, source, headers[source.path])
        except _ProblemError as problem:
            if leave_out(recipe, source) is not None:
                return None
            failed = Outcome(source.path, source.participant, "failed")
            reason = describe_failure(recipe, problem.error, failed).reason
            return Problem(problem.kind, reason, problem.lacks_file, problem.kind_is_all)
        return None

    found = zip(sources, map_files(check, sources, progress), strict=True)
    return {source.path: problem for source, problem in found if problem is not None}


def spread_problems(
    recipe: Recipe, groups: Sequence[tuple[Source, ...]], problems: Mapping[str, Problem]
) -> dict[str, Problem]:
    """Add the images that are corrected together with one that has a problem: all would fail."""
    what = "settings are chosen" if recipe.longitudinal else "field is shared"
    kind = "cannot be corrected, since an image with which they would be cannot"
    every = dict(problems)
    for group in groups:
        bad = [source.path for source in group if source.path in problems]
        for source in group if bad else ():
            reason = f"its {what} with {bad[0]}, which failed: {problems[bad[0]].reason}"
            problem = Problem(kind, make_one_line(reason), kind_is_all=True)
            every.setdefault(source.path, problem)
    return every


def split_groups(
    groups: Sequence[tuple[Source, ...]], problems: Mapping[str, Problem]
) -> list[tuple[Source, ...]]:
    """Put the images that have a problem by themselves."""
    bad = [group for group in groups if group[0].path in problems]
    good = [group for group in groups if group[0].path not in problems]
    return [*((source,) for group in bad for source in group), *good]


def lack_files(problems: Mapping[str, Problem], total: int) -> bool:
    """Whether no image is left to correct, and some lack a file that was asked for."""
    return len(problems) == total and any(one.lacks_file for one in problems.values())


def describe_problems(problems: Mapping[str, Problem], total: int) -> list[str]:
    """Say what is wrong with images, each kind of problem once.

    Parameters
    ----------
    problems
        The problems by the path of the image.
    total
        The number of all images.

    Returns
    -------
    list of str
        ``12 of 200 images have no mask: nothing at masks/{name}.nii.gz: sub-01/... and 9 more``.
    """
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for path, problem in sorted(problems.items()):
        kinds[problem.kind].append(path)
    return [_describe_kind(kind, problems, paths, total) for kind, paths in kinds.items()]


def _describe_kind(
    kind: str, problems: Mapping[str, Problem], paths: Sequence[str], total: int
) -> str:
    number, rest = len(paths), len(paths) - _MOST_NAMES
    if number == 1:
        kind = kind.replace("have ", "has ", 1)
    images = "image" if total == 1 else "images"
    names = ", ".join(paths[:_MOST_NAMES]) + (f", and {rest} more" if rest > 0 else "")
    first = problems[paths[0]]
    because = "" if first.kind_is_all else f" ({'the first: ' * (number > 1)}{first.reason})"
    return f"{number} of {total} {images} {kind}: {names}{because}"


def _check(recipe: Recipe, source: Source, header: Grid | Exception) -> None:
    """Check an image in the order in which it would fail."""
    files = [(name, _find(recipe, source, text, name)) for name, text in recipe.patterns]
    path = recipe.dataset / source.path
    if isinstance(header, Exception):
        raise _ProblemError("cannot be read", header, lacks_file=False)
    grid = _find_estimated(recipe, source, header)
    for name, file in files:
        _check_file(name, file, path, grid)


def _find_estimated(recipe: Recipe, source: Source, header: Grid) -> Grid:
    """The grid that the field is estimated on: of a series that of a volume."""
    if len(header.shape) <= SPATIAL:
        return header
    gradients = find_gradients(recipe.dataset, source)
    try:
        estimate = choose_estimate(recipe, recipe.dataset / source.path, header.shape, gradients)
    except (OSError, ValueError) as error:
        kind = (
            "have gradients that cannot be used" if ".bval" in gradients else "have no .bval file"
        )
        raise _ProblemError(kind, error) from None
    return header if estimate is None else header.take_volume()


def _find(recipe: Recipe, source: Source, text: str, name: str) -> Path:
    """Find a file that belongs to an image."""
    try:
        return find_one(recipe, source, text, name)
    except NoFileError as error:
        kind = f"have no {name}: {_describe_place(recipe, text, name)}"
        raise _ProblemError(kind, error, kind_is_all=True) from None
    except SeveralFilesError as error:
        option = recipe.names.get(name, name)
        raise _ProblemError(f"have more than one file for {option} {text}", error) from None
    except InputError as error:
        raise _ProblemError(f"have no {name} by {text}", error) from None


def _describe_place(recipe: Recipe, text: str, name: str) -> str:
    """Where nothing is found, for all images alike."""
    query = read_query(text, name)
    if query is None:
        return f"nothing at {text}"
    return f"no {query.text} in {' or '.join(one.name for one in recipe.derivatives)}"


def _check_file(name: str, file: Path, path: Path, grid: Grid) -> None:
    """Check that a file of an image can be read, and lies on its grid."""
    what = name if name in ("weights", "tissues") else f"a {name}"
    try:
        own = read_file_header(file)
    except Exception as error:  # files are damaged in many ways
        raise _ProblemError(f"have {what} that cannot be read", error) from None
    if own is None:
        return
    try:
        check_same_grid(file, own, path, grid)
    except ValueError as error:
        raise _ProblemError(f"have {what} on another grid", error) from None
    try:
        check_kind(own.kind, file)
    except ValueError as error:
        raise _ProblemError(f"have {what} without numbers", error) from None
