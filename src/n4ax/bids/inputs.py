"""Find the images of a BIDS dataset that are to be corrected.

References
----------
K. J. Gorgolewski et al., "The brain imaging data structure", Scientific Data 3, 2016,
doi:10.1038/sdata.2016.44.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from bids2table import get_arrow_schema, parse_bids_entities

from n4ax.errors import InputError
from n4ax.texts import parse_json, read_text_file

DEFAULT_SUFFIXES = ("T1w", "T2w", "FLAIR", "PDw", "inplane")
_SEVERAL = {"inplane": ("inplaneT1", "inplaneT2"), "boldref": ("boldref", "sbref")}
_IMAGES = (".nii.gz", ".nii")
_PARTICIPANT = re.compile(r"sub-[A-Za-z0-9]+")
_DATATYPES = ("anat", "dwi", "fmap", "func", "perf")
_EMPTY = " (it is empty: if it is a subdataset, fetch its files' names: datalad get --no-data)"
_KINDS = {"bold": "func", "sbref": "func", "fmap": "fmap"}
"""The data types that fMRIPrep's queries mean by their names; a reference may also be of dwi."""
_NOT_MAGNITUDE = ("phase", "real", "imag")

Filters = Mapping[str, Mapping[str, Any]]
"""By suffix: entities, and the values that they must have."""


@dataclass(frozen=True)
class Source:
    """An image of a dataset.

    Attributes
    ----------
    path
        Path relative to the dataset's folder, with forward slashes.
    entities
        The entities of the file name by their short names, and ``datatype``, ``suffix`` and
        ``ext``.
    """

    path: str
    entities: Mapping[str, str]

    @classmethod
    def of(cls, path: str) -> "Source":
        """The source at a path relative to the dataset's folder."""
        return cls(path, parse_bids_entities(path))

    @property
    def participant(self) -> str:
        """The label of the participant, from the name of the folder."""
        return PurePosixPath(self.path).parts[0].removeprefix("sub-")

    @property
    def session(self) -> str | None:
        """The label of the session, from the name of the folder; ``None`` without sessions."""
        second = PurePosixPath(self.path).parts[1]
        return second.removeprefix("ses-") if second.startswith("ses-") else None

    @property
    def stem(self) -> str:
        """The file's name without its extension."""
        return PurePosixPath(self.path).name.removesuffix(self.entities["ext"])

    @property
    def folder(self) -> str:
        """The file's folder, relative to the dataset's."""
        return str(PurePosixPath(self.path).parent)


def find_sources(
    dataset: Path,
    *,
    suffixes: Sequence[str] = DEFAULT_SUFFIXES,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    filters: Filters | None = None,
) -> list[Source]:
    """Find the images of a dataset that are to be corrected, sorted by path.

    Parameters
    ----------
    dataset
        The dataset's folder, which has a folder ``sub-<label>`` for each participant.
    suffixes
        Kinds of images. ``inplane`` stands for ``inplaneT1`` and ``inplaneT2``; ``boldref`` also
        stands for ``sbref``, the single-band references.
    participants, sessions
        Labels, with or without ``sub-`` and ``ses-``; an empty sequence means all.
    filters
        Filters as :func:`read_filters` returns them.

    Raises
    ------
    InputError
        The folder has no participants, or a participant that was asked for does not exist or has
        no such image.
    OSError
        A folder cannot be read.
    """
    wanted, existing = _complete_labels("sub", participants), _find_participants(dataset)
    everyone = sorted(wanted or existing)
    missing = sorted(wanted - set(existing))
    if missing:
        raise InputError(
            "{0} was not found in {1}: give {participants} labels such as {2}",
            ", ".join(missing),
            dataset,
            existing[0],
        )
    kinds = {kind for suffix in suffixes for kind in _SEVERAL.get(suffix, (suffix,))}
    chosen_sessions = {name.removeprefix("ses-") for name in _complete_labels("ses", sessions)}
    sources = [
        source
        for source in map(Source.of, _find_paths(dataset, everyone, kinds))
        if (not chosen_sessions or source.session in chosen_sessions)
        and _passes(source.entities, filters or {})
    ]
    without = sorted(wanted - {f"sub-{source.participant}" for source in sources})
    if without:
        asked = describe_choice(sorted(kinds), sessions, filters)
        raise InputError("no image of {0} matches {1}", ", ".join(without), asked)
    return sorted(sources, key=lambda source: source.path)


def describe_choice(
    suffixes: Sequence[str], sessions: Sequence[str], filters: Filters | None
) -> str:
    """Say which images are asked for: ``"suffixes T1w, T2w; sessions 1; the filters"``."""
    asked = f"suffixes {', '.join(suffixes)}"
    if sessions:
        asked += f"; sessions {', '.join(sessions)}"
    return f"{asked}; the filters" if filters else asked


def list_participants(dataset: Path) -> list[str]:
    """List the labels of the participants that have a folder, or a link to a missing folder."""
    return [name.removeprefix("sub-") for name in _find_participants(dataset)]


def list_suffixes(dataset: Path) -> list[str]:
    """List the suffixes of all images of a dataset."""
    paths = _find_paths(dataset, _find_participants(dataset), None)
    return sorted({Source.of(path).entities["suffix"] for path in paths})


def read_filters(path: Path) -> Filters:
    """Read filters in the form of pybids, which ``--bids-filter-file`` of fMRIPrep takes.

    The keys of the file are names of queries, such as ``t1w``, ``sbref`` or ``fmap``. Each query
    maps entities, with long or short names, to what they must be: a value, a list of values,
    ``null`` for an entity that must be absent, or ``"*"`` for any value. It is about the suffix of
    its name, ``bold`` and ``sbref`` about these among ``func``, and ``fmap`` about its data type,
    unless it has ``suffix`` or ``datatype``.

    Raises
    ------
    ValueError
        The file is not of this form; the message says where.
    """
    try:
        content = parse_json(read_text_file(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f'{path} is not of the form {{"t1w": {{"acquisition": "mprage"}}}}')
    short = find_short_names()
    filters = {}
    for query, entities in content.items():
        unknown = sorted(set(entities) - set(short))
        if unknown:
            names = ", ".join(unknown)
            raise ValueError(f"{path}: {query} has names that are not BIDS entities: {names}")
        filters[query] = {short[name]: value for name, value in entities.items()}
    return filters


def _complete_labels(entity: str, given: Iterable[str]) -> set[str]:
    return {f"{entity}-{label.removeprefix(f'{entity}-')}" for label in given}


def _find_participants(dataset: Path) -> list[str]:
    """The names of the participants' folders. Broken links count, so that they are reported."""
    found = sorted(
        path.name for path in dataset.glob("sub-*") if path.is_dir() or path.is_symlink()
    )
    if not found:
        raise InputError(
            "{dataset} {0} has no folder sub-<label>; expected a BIDS dataset{1}",
            dataset,
            "" if any(dataset.iterdir()) else _EMPTY,
        )
    return found


def _find_paths(
    dataset: Path, participants: Sequence[str], kinds: set[str] | None
) -> Iterator[str]:
    """Find the images of some kinds (``None`` for all) where BIDS puts them.

    That is in the folder of a data type, maybe of a session. Nothing else is looked at: links lead
    anywhere, and those that lead upwards would be followed for ever.
    """
    for participant in filter(_PARTICIPANT.fullmatch, participants):
        inner = _list_names(dataset / participant)
        sessions = [f"{participant}/{name}" for name in inner if name.startswith("ses-")]
        for folder in (participant, *sessions):
            for datatype in sorted({*_DATATYPES} & {*_list_names(dataset / folder)}):
                for name in _list_names(dataset / folder / datatype):
                    if _is_image(name, kinds):
                        yield f"{folder}/{datatype}/{name}"


def _is_image(name: str, kinds: set[str] | None) -> bool:
    """Whether a file's name is that of an image of some kinds; its content is not looked at."""
    if not (name.startswith("sub-") and name.endswith(_IMAGES)):
        return False
    entities = parse_bids_entities(name)
    suffix = entities.get("suffix")
    return bool(suffix) and entities["ext"] in _IMAGES and (kinds is None or suffix in kinds)


def _list_names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none if it is no folder.

    A folder that cannot be read is an error: its images would be missed without a message.
    """
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def _passes(entities: Mapping[str, str], filters: Filters) -> bool:
    """Whether an image has magnitudes and passes the filters for its suffix, if there are any."""
    if entities.get("part") in _NOT_MAGNITUDE:
        return False
    queries = [query for name, query in filters.items() if _is_about(name, query, entities)]
    return not queries or any(
        all(_matches(entities.get(key), value) for key, value in query.items()) for query in queries
    )


def _is_about(name: str, query: Mapping[str, Any], entities: Mapping[str, str]) -> bool:
    """Whether a query is about images of this kind, by its name if it does not say it."""
    kind = _KINDS.get(name.casefold(), "") if "datatype" not in query else ""
    if kind and entities.get("datatype") != kind:
        return False
    if name.casefold() == "fmap" and "suffix" not in query:
        return entities.get("datatype") == "fmap"
    suffix = entities["suffix"].casefold()
    return suffix in {str(value).casefold() for value in _as_list(query.get("suffix", name))}


def _matches(found: str | None, wanted: Any) -> bool:
    """Whether an entity has a wanted value; pybids' words for any value and none count too."""
    if isinstance(wanted, list):
        return any(_matches(found, value) for value in wanted)
    if wanted is None:
        return found is None
    if isinstance(wanted, str) and (wanted == "*" or "Query." in wanted):
        word = wanted.rsplit("Query.", 1)[-1].split(":")[0].rstrip(">").upper()
        return word == "OPTIONAL" or (found is None) == (word == "NONE")
    return found is not None and have_same_value(found, wanted)


def have_same_value(found: str, wanted: Any) -> bool:
    """Whether two values are equal. Leading zeros of numbers and dots of extensions are ignored."""
    text = str(wanted)
    if found.isdecimal() and text.isdecimal():
        return found.lstrip("0") == text.lstrip("0")
    return found.removeprefix(".") == text.removeprefix(".")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@cache
def find_short_names() -> Mapping[str, str]:
    """The short names of all entities, by their long names and by their short names."""
    names = {"datatype": "datatype", "suffix": "suffix", "extension": "ext", "ext": "ext"}
    for field in get_arrow_schema():
        entity = (field.metadata or {}).get(b"entity")
        if entity:
            names |= {entity.decode(): field.name, field.name: field.name}
    return names
