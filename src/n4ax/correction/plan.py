"""Plan the correction of images: find them, name the results, and check it all before the work."""

import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import normpath, realpath
from pathlib import Path

from n4ax.correction.names import (
    fill_in,
    find_companion,
    find_images,
    has_words,
    leave_out_results,
    look_up,
    say_words,
    stands_for_many,
)
from n4ax.correction.recipe import Outputs, Recipe, Task
from n4ax.errors import InputError
from n4ax.files import check_writable
from n4ax.images.names import WRITTEN, find_files, find_stem, find_suffix, name_result
from n4ax.images.peek import read_shape
from n4ax.itk.space import drop_last_ones
from n4ax.mask_files import MaskChoice

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "output": WRITTEN,
    "bias": WRITTEN,
    "field": (".npz", ".nii.gz", ".nii"),
    "figure": (".png",),
    "mask_output": WRITTEN,
    "json": (".json",),
}
"""What the names of the results end with."""

_FILES = (".png", ".npz", ".json", ".tsv", ".txt")
"""Endings by which a name is that of a file, and not of a folder to be made."""

_MOST_NAMED = 3  # so many files are named in a message, and the rest are counted


@dataclass(frozen=True)
class Wish:
    """What is asked for on a command line.

    Attributes
    ----------
    images
        Names of images and folders, and patterns of them.
    output
        The corrected image, a folder, or a pattern; ``None`` writes it beside each image. A name
        that ends in a slash is that of a folder, which is made.
    suffix
        What follows the name of an image in the name of its result.
    weights
        The file with the confidence of each voxel, or a pattern.
    tissues
        The files of maps of tissues, or patterns.
    others
        The names of the other results, by the names in :class:`Outputs`; patterns for several
        images.
    overwrite
        Whether results that are there already may be replaced.
    """

    images: Sequence[str]
    output: str | None = None
    suffix: str = "_n4"
    weights: str | None = None
    tissues: Sequence[str] = ()
    others: Mapping[str, str | None] = field(default_factory=dict)
    overwrite: bool = False

    @property
    def is_list(self) -> bool:
        """Whether a list of images is asked for, which may have one entry."""
        return len(self.images) > 1 or any(map(stands_for_many, self.images))

    @property
    def into_folder(self) -> bool:
        """Whether the output is said to be a folder."""
        return self.output is not None and self.output.endswith(("/", os.sep))


def plan_tasks(wish: Wish, recipe: Recipe) -> list[Task]:
    """Find the images with their masks and weights, and name their results.

    All of it is checked but for what :func:`check_places` does.

    Raises
    ------
    InputError
        A file is missing, a mask does not fit its image, two results would have one name, or a
        result would replace an input.
    """
    found = choose_images(wish, recipe)
    if recipe.in_stages and wish.weights:
        raise InputError("{weights} and {weights_from} are both given: give only one of them")
    if recipe.has_many_fields and wish.others.get("field"):
        raise InputError(
            "{field} writes one field, but there is one for each volume or slice: use {bias}"
        )
    if wish.output is None and not wish.suffix:
        raise InputError(
            "{suffix} is empty, so that the result would have the name of an image: give {output}"
        )
    folder = find_folder(wish, len(found))
    # A field that all images share is written once, with the first of them.
    others = replace(wish, others={**wish.others, "field": None}) if recipe.shared_field else wish
    tasks = [
        _plan_one(image, wish if number == 0 else others, recipe, folder, len(found))
        for number, image in enumerate(found)
    ]
    for task in tasks:
        for option, path in task.outputs.items():
            _check_name(option, path)
        _check_grids(task)
    return tasks


def _plan_one(image: Path, wish: Wish, recipe: Recipe, folder: Path | None, count: int) -> Task:
    weights, shared = wish.weights, recipe.shared_field
    result = _name_output(image, wish, folder)
    others = {
        option: _name_other(
            option, name, image, result.parent, 1 if option == "field" and shared else count
        )
        for option, name in wish.others.items()
        if name is not None
    }
    return Task(
        image,
        _find_mask(recipe.mask, image),
        None if weights is None else find_companion("weights", weights, image),
        image.with_name(f"{find_stem(image)}.bval") if recipe.series == "b0" else None,
        Outputs(result, **others),
        tuple(find_companion("tissues", one, image) for one in wish.tissues),
    )


def _find_mask(choice: MaskChoice, image: Path) -> MaskChoice:
    """The mask of an image, with its files."""
    pattern = choice.text
    text = fill_in(pattern, image)
    beside = has_words(pattern)
    try:
        expression = replace(choice, text=text).parse(
            lambda name: look_up("mask", name, image, beside=beside)
        )
    except InputError as error:
        hint = say_words(pattern)
        raise InputError(f"{{0}}{hint}", error) if hint else error from None
    return replace(choice, text=text, expression=expression)


def find_folder(wish: Wish, count: int) -> Path | None:
    """The folder for the results, if there is one for all.

    Raises
    ------
    InputError
        One file is named for several images.
    """
    if wish.output is None or has_words(wish.output):
        return None
    output = Path(wish.output)
    if output.is_dir() or wish.into_folder:
        return output
    if not wish.is_list:
        return None
    if output.exists() or find_suffix(output) or output.suffix in _FILES:
        if count == 1:
            return None
        raise InputError(
            "{output} {0} is one file for {1} images: give a folder, or a pattern such as {2}",
            output,
            count,
            "'{folder}/{stem}_n4.nii.gz'",
        )
    return output


def _name_output(image: Path, wish: Wish, folder: Path | None) -> Path:
    if folder is not None:
        return folder / name_result(image, wish.suffix).name
    if wish.output is None:
        return name_result(image, wish.suffix)
    return Path(fill_in(wish.output, image))


def _name_other(option: str, pattern: str, image: Path, folder: Path, count: int) -> Path:
    """The name of another result. Patterns without a folder name files beside the first one."""
    if has_words(pattern):
        filled = Path(fill_in(pattern, image))
        return filled if "{folder}" in pattern else folder / filled
    if count > 1:
        raise InputError(
            f"{{{option}}} {{0}} is one file for {{1}} images: give a pattern such as {{2}}",
            pattern,
            count,
            f"'{{stem}}_{option}{SUFFIXES[option][0]}'",
        )
    return Path(pattern)


def choose_images(wish: Wish, recipe: Recipe) -> list[Path]:
    """Find the images, without those that are masks, weights or results of others among them.

    Raises
    ------
    InputError
        There is no image.
    """
    found = find_images(wish.images)
    if not wish.is_list:
        return found
    belonging = {
        realpath(place)
        for image in found
        for place in (*_list_companions(wish, recipe, image), *_list_results(wish, image))
        if realpath(place) != realpath(image)
    }
    chosen = [image for image in found if realpath(image) not in belonging]
    chosen = leave_out_results(chosen, wish.suffix)
    if not chosen:
        raise InputError(
            "{images} {0}: there are only masks, weights and results of n4ax; name an image to "
            "correct a result once more",
            " ".join(wish.images),
        )
    return chosen


def _list_companions(wish: Wish, recipe: Recipe, image: Path) -> Iterator[Path]:
    """The places where the masks and the weights of an image may lie."""
    for pattern in (recipe.mask.text, wish.weights or "", *wish.tissues):
        for piece in _list_pieces(pattern):
            name = fill_in(piece, image)
            yield from (image.parent / name, Path(name))


def _list_results(wish: Wish, image: Path) -> Iterator[Path]:
    """The other results of an image that lie beside it, if they are asked for by patterns."""
    for option, pattern in wish.others.items():
        if pattern is not None and has_words(pattern):
            yield _name_other(option, pattern, image, image.parent, 2)


def count_left_out(wish: Wish, tasks: list[Task]) -> int:
    """The number of files that were named but are masks, weights or results of the others."""
    return len(find_images(wish.images)) - len(tasks)


def _list_pieces(pattern: str) -> Iterator[str]:
    """The names in an expression, and the expression itself, which may be a name."""
    yield pattern
    for piece in re.split(r"[+&|!()]", pattern):
        name = re.split(r"[=>]", piece, maxsplit=1)[0].strip()
        if name:
            yield name


def check_names(tasks: list[Task], recipe: Recipe, table: list[Path]) -> None:
    """Refuse results that would replace something that is needed, or each other.

    Parameters
    ----------
    tasks
        The images.
    recipe
        How they are corrected.
    table
        The files of the table.

    Raises
    ------
    InputError
        A result or the table would replace an input, or two of them have one name.
    """
    inputs = {realpath(file): path for task in tasks
              for paths in task.list_inputs(recipe).values() for path in paths
              for file in find_files(path)}  # fmt: skip
    taken = {realpath(path): Path("the table") for path in table}
    for path in table:
        if realpath(path) in inputs:
            raise InputError("{table} {0} would overwrite an input: choose another name", path)
    for task in tasks:
        own = [realpath(file) for file in task.outputs.files]
        for option, path in task.outputs.items():
            for place in map(realpath, find_files(path)):
                _check_place(task, option, path, inputs.get(place), taken.get(place))
                if own.count(place) > 1:
                    raise InputError(
                        "{0} is given for two outputs: choose another name for one", path
                    )
        taken |= dict.fromkeys(own, task.image)


def _check_place(
    task: Task, option: str, path: Path, source: Path | None, other: Path | None
) -> None:
    """Refuse a result that is an input, or the result of another image."""
    if source is not None:
        raise InputError(
            f"{{{option}}} {{0}} would overwrite the input {{1}}: choose another name",
            path,
            source,
        )
    if other is not None:
        raise InputError(
            f"{{{option}}} {{0}} would be the result of {{1}} and of {{2}}: give a pattern such as "
            "{3}, or correct them one after the other",
            path,
            other,
            task.image,
            "'{folder}/{stem}_n4.nii.gz'",
        )


def _check_name(option: str, path: Path) -> None:
    suffixes = SUFFIXES[option]
    if not path.name.lower().endswith(suffixes):
        raise InputError(
            f"{{{option}}} {{0}}: expected a name ending in {{1}}{{2}}",
            path,
            " or ".join(suffixes),
            f"; for a folder write {path}/" if option == "output" and not path.suffix else "",
        )
    if find_suffix(path):
        from n4ax.images.formats import need_library

        need_library(path)


def check_places(tasks: list[Task], others: list[Path], *, make: bool) -> None:
    """Check that the results and ``others`` can be written, and then ``make`` missing folders.

    Raises
    ------
    OSError
        A folder is missing or cannot be written to.
    """
    results = [file for task in tasks for file in task.outputs.files]
    folders = {path.parent for path in results} if make else set[Path]()
    missing = {folder for folder in folders if not folder.exists()}
    for path in (*others, *results):
        if path.parent not in missing:
            check_writable(path)
    for folder in missing:
        folder.mkdir(parents=True, exist_ok=True)


def check_overwriting(tasks: list[Task], known: Container[Path], overwrite: bool) -> None:
    """Refuse to replace files that no earlier run with the same table wrote.

    Parameters
    ----------
    tasks
        The images.
    known
        The files that earlier runs have written.
    overwrite
        Whether others may be replaced.
    """
    files = [path for task in tasks for path in task.outputs.files]
    there = [path for path in files if path.exists() and Path(normpath(path)) not in known]
    if there and not overwrite:
        rest = len(there) - _MOST_NAMED
        more = f" and {rest} other{'s' * (rest > 1)}" if rest > 0 else ""
        raise InputError(
            "{0}{1} exist{2} already: give {overwrite} to replace {3}, or {table} FILE to remember "
            "what is done and go on where a run stopped",
            ", ".join(map(str, there[:_MOST_NAMED])),
            more,
            "" if len(there) > 1 else "s",
            "them" if len(there) > 1 else "it",
        )


def _check_grids(task: Task) -> None:
    """Check that masks and weights have the shape of their image, as far as headers say it."""
    shape = read_shape(task.image)
    named = [("mask", path) for path in task.masks]
    named += [("weights", path) for path in [task.weights] if path is not None]
    named += [("tissues", path) for path in task.tissues]
    for option, path in named:
        theirs = read_shape(path)
        if shape is None or theirs is None:
            continue
        if drop_last_ones(theirs)[:3] != drop_last_ones(shape)[:3]:
            raise InputError(
                f"{{{option}}} {{0}} has shape {{1}} and {{2}} has shape {{3}}: resample one onto "
                "the other first",
                path,
                theirs,
                task.image,
                shape,
            )
