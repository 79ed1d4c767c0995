"""Find the files that belong to an image: its mask, weights, tissues, metadata and gradients.

References
----------
The Brain Imaging Data Structure specification, "The Inheritance Principle".
"""

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bids2table import parse_bids_entities

from n4ax.bids.derivatives import (
    NoFileError,
    SeveralFilesError,
    find_in_derivatives,
    read_query,
)
from n4ax.bids.inputs import Source
from n4ax.bids.outputs import Outputs
from n4ax.bids.recipe import Recipe
from n4ax.errors import InputError
from n4ax.images.arguments import read_word
from n4ax.images.signature import is_signed
from n4ax.paths import check_here, is_elsewhere
from n4ax.texts import read_json_file
from n4ax.verdict.already import find_signs

_WORD = re.compile(r"\{(\w+)\}")
_NAMES = ("mask", "weights", "tissues")
_NOT_INHERITED = ("datatype", "suffix", "ext")


@dataclass(frozen=True)
class Companions:
    """The files that belong to an image.

    Attributes
    ----------
    mask
        ``"otsu"``, ``"all"`` or the path of the mask.
    metadata
        The entries of all JSON files that apply to the image.
    gradients
        Files with the gradients of a diffusion image, by extension.
    notes
        What could not be read.
    tissues
        Paths of the maps of tissues that settings are chosen by.
    weights
        Path of the confidence of each voxel.
    """

    mask: str
    metadata: Mapping[str, Any]
    gradients: Mapping[str, Path]
    notes: tuple[str, ...]
    tissues: tuple[Path, ...] = ()
    weights: Path | None = None

    @property
    def mask_file(self) -> Path | None:
        """The path of the mask, if it is read from a file."""
        return None if read_word(self.mask) else Path(self.mask)


def find_signs_of(recipe: Recipe, source: Source, companions: Companions) -> list[str]:
    """Find what says that an image was corrected before, in words."""
    return find_signs(companions.metadata, is_signed(recipe.dataset / source.path))


def find_companions(recipe: Recipe, source: Source) -> Companions:
    """Find the files that belong to an image, and read its metadata.

    Metadata that cannot be read are left out, with a note.

    Raises
    ------
    InputError
        A pattern of the recipe does not find exactly one file.
    """
    files = find_files(recipe, source)
    masks, weights, tissues = ([path for own, path in files if own == name] for name in _NAMES)
    notes: list[str] = []
    metadata: dict[str, Any] = {}
    for path in reversed(find_inherited(recipe.dataset, source, ".json")):
        try:
            check_here(path)
            metadata |= _read_metadata(path)
        except (OSError, ValueError) as error:
            notes.append(f"{path.relative_to(recipe.dataset)} was left out: {error}")
    gradients = find_gradients(recipe.dataset, source)
    mask = str(masks[0]) if masks else recipe.mask
    own = weights[0] if weights else None
    return Companions(mask, metadata, gradients, tuple(notes), tuple(tissues), own)


def find_files(recipe: Recipe, source: Source) -> list[tuple[str, Path]]:
    """Find the files that the patterns of a recipe name for an image, each with its parameter.

    Raises
    ------
    InputError
        A pattern does not find exactly one file.
    """
    return [(name, find_one(recipe, source, text, name)) for name, text in recipe.patterns]


def find_one(recipe: Recipe, source: Source, pattern: str, name: str) -> Path:
    """Find the file that a pattern of a recipe names for an image.

    Parameters
    ----------
    recipe
        How the image is corrected.
    source
        The image.
    pattern
        A pattern of paths, as for :func:`find_file`, or entities to look for among the
        derivatives, as for :func:`n4ax.bids.derivatives.read_query`.
    name
        The parameter that the pattern was given for.

    Raises
    ------
    InputError
        It does not find exactly one file.
    """
    query = read_query(pattern, name)
    if query is None:
        return find_file(recipe.dataset, source, pattern, name)
    return find_in_derivatives(recipe.derivatives, source, query, name)


def find_gradients(dataset: Path, source: Source) -> dict[str, Path]:
    """Find the files with the gradients of a diffusion image, by extension."""
    found = {kind: find_inherited(dataset, source, kind) for kind in Outputs.of(source).gradients}
    return {kind: paths[0] for kind, paths in found.items() if paths}


def find_file(dataset: Path, source: Source, pattern: str, name: str) -> Path:
    """Find the mask of an image, or another file that belongs to it, by a pattern of paths.

    Parameters
    ----------
    dataset
        The dataset's folder.
    source
        The image.
    pattern
        A path, relative to the dataset's folder unless it is absolute. ``{sub}`` and the other
        entities, ``{folder}``, ``{stem}`` (the image's name), ``{name}`` (the same without its
        suffix), ``{suffix}`` and ``{datatype}`` are filled in. ``*`` and ``?`` stand for any text
        and any character.
    name
        The parameter that the pattern was given for.

    Raises
    ------
    InputError
        The pattern finds no file or several files; the message has the path that was looked for.
    """
    words = {
        **source.entities,
        "folder": source.folder,
        "stem": source.stem,
        "name": source.stem.removesuffix(f"_{source.entities['suffix']}"),
    }
    unknown = sorted(set(_WORD.findall(pattern)) - set(words))
    if unknown:
        raise InputError(
            f"{{{name}}} is the pattern {{0}}, but {{1}} has no {{2}}; it has {{3}}",
            pattern,
            source.path,
            ", ".join(unknown),
            ", ".join(words),
        )
    has_wildcards = re.search(r"[*?]", pattern) is not None
    path = _WORD.sub(lambda found: words[found[1]], pattern)
    searched = _WORD.sub(lambda found: glob.escape(words[found[1]]), pattern.replace("[", "[[]"))
    names = _match(dataset, searched) if has_wildcards else [path]
    found = [file for file in (dataset / one for one in sorted(names)) if _is_there(file)]
    if len(found) != 1:
        what = "mask" if name == "mask" else "file"
        count = f"{len(found)} {what}s" if found else f"no {what}"
        kind = SeveralFilesError if found else NoFileError
        raise kind(f"{{{name}}} finds {{0}} at {{1}}; expected one", count, dataset / path)
    return found[0]


def _match(dataset: Path, pattern: str) -> list[str]:
    """The paths that a pattern matches; ``**`` goes into no hidden folder, and follows no link.

    :func:`glob.glob` would follow a link to an upper folder, or to ``/``, for ever.
    """
    first, mark, rest = pattern.partition("**")
    if not mark:
        return glob.glob(pattern, root_dir=dataset)
    tops = glob.glob(first, root_dir=dataset) if first else [""]
    return [
        str(Path(top) / path.relative_to(dataset / top))
        for top in tops
        for path in (dataset / top).glob(mark + rest)
        if not any(part.startswith(".") for part in path.relative_to(dataset / top).parts)
    ]


def _is_there(file: Path) -> bool:
    """Whether a file exists, here or where git-annex has it."""
    return file.is_file() or is_elsewhere(file)


def find_inherited(dataset: Path, source: Source, extension: str) -> list[Path]:
    """Find the files that apply to an image by the inheritance principle, the nearest first.

    Parameters
    ----------
    dataset
        The dataset's folder.
    source
        The image.
    extension
        The extension of the files, such as ``.json`` or ``.bval``.
    """
    suffix = source.entities["suffix"]
    own = _select_inherited(source.entities)
    found: list[Path] = []
    folder = PurePosixPath(source.path).parent
    for place in (folder, *folder.parents):
        candidates = (dataset / place).glob(f"*{suffix}{extension}")
        for path in sorted(candidates, key=lambda path: (-len(path.name), path.name)):
            if not all("-" in part for part in path.name.split("_")[:-1]):
                continue  # this is not a name of BIDS
            entities = parse_bids_entities(path.name)
            if entities["suffix"] == suffix and _select_inherited(entities).items() <= own.items():
                found.append(path)
    return found


def _select_inherited(entities: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in entities.items() if name not in _NOT_INHERITED}


def _read_metadata(path: Path) -> dict[str, Any]:
    """Read the entries of a sidecar, without those that JSON cannot hold (NaN, 1e999)."""
    try:
        content = read_json_file(path, "utf-8-sig")
    except ValueError as error:
        raise ValueError(f"it cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError("it is JSON, but not an object")
    return {name: value for name, value in content.items() if value is not None}
