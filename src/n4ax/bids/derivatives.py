"""Find files among the derivatives of a dataset by their entities, such as the masks of fMRIPrep.

References
----------
The Brain Imaging Data Structure specification, "BIDS Derivatives".
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bids2table import parse_bids_entities

from n4ax.bids.inputs import Source, find_short_names, have_same_value
from n4ax.errors import InputError

DEFAULT_MASK = "desc-brain_mask"
"""The mask that is looked for in derivatives if none is asked for."""

RAW = "raw"
"""The name of the source dataset in BIDS URIs."""

_QUERY = re.compile(r"(?:[A-Za-z]+-[A-Za-z0-9+]+)(?:_[A-Za-z]+-[A-Za-z0-9+]+)*(?:_[A-Za-z0-9]+)?")
_NAMED = re.compile(r"([A-Za-z0-9_-]+)=(.+)")
_SUFFIXES = {"mask": ("mask",), "tissues": ("probseg", "dseg")}
"""The suffixes that are looked for if a query names none, by parameter."""
_EXTENSIONS = (".nii.gz", ".nii")
_PLACES = ("space", "cohort", "res", "den", "hemi")
"""Entities without which a file lies on the grid of an image that does not have them either."""
_MOST_NAMES = 3


class NoFileError(InputError):
    """Nothing is found where a file of an image is looked for."""


class SeveralFilesError(InputError):
    """Several files are found, and none is more likely meant than the others."""


class Derivative(NamedTuple):
    """A derivative dataset.

    Attributes
    ----------
    name
        Its name in BIDS URIs.
    folder
        Its folder, a whole path.
    """

    name: str
    folder: Path


class Query(NamedTuple):
    """What the name of a file must have.

    Attributes
    ----------
    text
        What the user asked for, with the suffix.
    entities
        Values of entities, by their short names.
    suffixes
        The suffixes that it may have.
    """

    text: str
    entities: Mapping[str, str]
    suffixes: tuple[str, ...]


def read_derivatives(given: Sequence[str]) -> tuple[Derivative, ...]:
    """Read derivative datasets as ``DIR`` or as fMRIPrep does, ``NAME=DIR``.

    Without a name, a dataset has that of its folder.

    Raises
    ------
    InputError
        A folder does not exist, or two have one name.
    """
    found: dict[str, Derivative] = {}
    for text in given:
        named = None if Path(text).is_dir() else _NAMED.fullmatch(text)
        folder = Path(os.path.abspath(named[2] if named else text))
        if not text or not folder.is_dir():
            raise InputError(
                "{derivatives} {0}: there is no folder {1}; expected the folder of a derivative "
                "dataset, or NAME=DIR",
                text,
                folder,
            )
        name = named[1] if named else re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name)
        if name == RAW or found.get(name, (name, folder))[1] != folder:
            other = "the source dataset" if name == RAW else found[name].folder
            raise InputError(
                "{derivatives} {0}: {1} is also called {2!r}; give another name, as NAME=DIR",
                text,
                other,
                name,
            )
        found[name] = Derivative(name, folder)
    return tuple(found.values())


@cache
def read_query(text: str, name: str) -> Query | None:
    """Read a query such as ``desc-brain_mask``; ``None`` if the text is a pattern of paths.

    A query has no slash, no brace and no dot, and consists of entities with their values; a suffix
    may follow them.

    Parameters
    ----------
    text
        The text.
    name
        The parameter that it was given for.

    Raises
    ------
    InputError
        It has a name that is no entity, or no suffix where one is needed.
    """
    if _QUERY.fullmatch(text) is None:
        return None
    parts = text.split("_")
    suffixes = (parts.pop(),) if "-" not in parts[-1] else _SUFFIXES.get(name, ())
    if not suffixes:
        raise InputError(
            f"{{{name}}} is {{0!r}}, which has no suffix; expected one, as in {{0}}_probseg", text
        )
    known = find_short_names()
    entities: dict[str, str] = {}
    for part in parts:
        key, value = part.split("-")
        if key not in known:
            raise InputError(
                f"{{{name}}} is {{0!r}}, and {{1}} is no entity of BIDS; expected entities such as "
                "desc-brain_mask, or a pattern of paths with an extension",
                text,
                key,
            )
        entities[known[key]] = value
    return Query("_".join([*parts, " or ".join(suffixes)]), entities, suffixes)


def check_queries(patterns: Sequence[tuple[str, str]], derivatives: Sequence[Derivative]) -> None:
    """Check that entities are looked for where derivatives are given, and only there.

    Parameters
    ----------
    patterns
        Patterns of paths and queries, each with its parameter.
    derivatives
        The derivative datasets.

    Raises
    ------
    InputError
        There are queries without derivatives, or derivatives without queries; or a query is wrong.
    """
    queries = [(name, read_query(text, name)) for name, text in patterns]
    name, query = next(((name, query) for name, query in queries if query), ("", None))
    if query is not None and not derivatives:
        raise InputError(
            f"{{{name}}} is {{0!r}}, entities that are looked for in derivative datasets: name "
            "these with {derivatives}",
            query.text,
        )
    if derivatives and query is None:
        raise InputError(
            "{derivatives} {0}: no entities are looked for there; give {mask}, {weights} or "
            "{tissues} as entities such as {1}, or leave it out",
            derivatives[0].folder,
            DEFAULT_MASK,
        )


def find_in_derivatives(
    derivatives: Sequence[Derivative], source: Source, query: Query, name: str
) -> Path:
    """Find the file of an image that a query asks for.

    It is of the same participant, session and data type, and has all entities of the query. No
    other entity contradicts the image, and space and resolution are those of the image. Of several
    files, that with the session is taken, and then that which has most entities in common with the
    image.

    Parameters
    ----------
    derivatives
        The derivative datasets.
    source
        The image.
    query
        What to look for.
    name
        The parameter that the query was given for.

    Raises
    ------
    NoFileError, SeveralFilesError
        No file, or several that have equally much in common with the image.
    """
    ranked: dict[Path, tuple[bool, int]] = {}
    unfit: list[str] = []
    for path in _list_files(derivatives, source, query):
        entities = parse_bids_entities(path.name)
        if not all(_agree(key, entities.get(key), own) for key, own in query.entities.items()):
            continue
        rank = _rank(entities, source, query)
        if rank is None:
            unfit.append(path.name)
        else:
            ranked[path] = rank
    best = [path for path in ranked if ranked[path] == max(ranked.values())]
    if not best:
        raise _describe_nothing(derivatives, source, query, name, unfit)
    if len(best) > 1:
        raise SeveralFilesError(
            f"{{{name}}} is {{0!r}}, and {{1}} fit equally well: add entities that tell them apart",
            query.text,
            " and ".join(map(str, best[:2])),
        )
    return best[0]


def _describe_nothing(
    derivatives: Sequence[Derivative], source: Source, query: Query, name: str, unfit: list[str]
) -> NoFileError:
    """Say what was looked for and where, and which files there are of another space or run."""
    folders = [one.folder / f"sub-{source.participant}" for one in derivatives]
    only = f"; {', '.join(sorted(unfit)[:_MOST_NAMES])} is for another image or space"
    return NoFileError(
        f"{{{name}}} finds no {{0}} for this image in {{1}}{{2}}",
        query.text,
        " or ".join(map(str, folders)),
        only if unfit else "",
    )


def _list_files(derivatives: Sequence[Derivative], source: Source, query: Query) -> Iterator[Path]:
    """List the files of a participant that have the right suffix, in the order of their names."""
    endings = tuple(f"_{suffix}{ending}" for suffix in query.suffixes for ending in _EXTENSIONS)
    session = query.entities.get("ses", source.session)
    kind = source.entities.get("datatype", "")
    for derivative in derivatives:
        top = derivative.folder / f"sub-{source.participant}"
        places = [top, top / kind]
        if session is not None:
            places += [top / f"ses-{session}", top / f"ses-{session}" / kind]
        for place in places:
            for name in _list_names(place):
                if name.endswith(endings) and all("-" in part for part in name.split("_")[:-1]):
                    yield place / name


def _list_names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _rank(found: Mapping[str, str], source: Source, query: Query) -> tuple[bool, int] | None:
    """How much a file has in common with an image; ``None`` if it does not belong to it."""
    own = source.entities
    common = 0
    for key, value in found.items():
        if key in ("suffix", "ext", "datatype") or key in query.entities:
            continue
        if key not in own or not _agree(key, value, own[key]):
            return None
        common += 1
    if "sub" not in found or any(
        key in own and key not in found and key not in query.entities for key in _PLACES
    ):
        return None
    return "ses" in found, common


def _agree(key: str, found: str | None, own: str) -> bool:
    """Whether two values are one; 01 and 1 are two participants, but one run."""
    if found is None:
        return False
    return found == own if key in ("sub", "ses") else have_same_value(found, own)
