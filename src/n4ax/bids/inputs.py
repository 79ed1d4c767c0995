"""Find the images of a BIDS dataset that are to be corrected.

References
----------
K. J. Gorgolewski et al., "The brain imaging data structure", Scientific Data 3, 2016,
doi:10.1038/sdata.2016.44.
"""

import glob
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.compute
from bids2table import get_arrow_schema, index_dataset, parse_bids_entities

from n4ax.errors import InputError

DEFAULT_SUFFIXES = ("T1w", "T2w", "FLAIR", "PDw", "inplane")
_SEVERAL = {"inplane": ("inplaneT1", "inplaneT2"), "boldref": ("boldref", "sbref")}
_IMAGES = (".nii.gz", ".nii")
_DATATYPES = ("anat", "dwi", "fmap", "func", "perf")
_EMPTY = " (it is empty: if it is a subdataset, fetch its files' names: datalad get --no-data)"
_MAX_DEPTH = 2  # sub-01/ses-1: the deepest folders whose subfolders are listed
_KINDS = {"bold": "func", "sbref": "func", "fmap": "fmap"}
"""The data types that fMRIPrep's queries mean by their names; a reference may also be of dwi."""
_NOT_MAGNITUDE = ("phase", "real", "imag")
_MAX_NAMES = 50
"""Up to this many participants are looked up by name; more are looked up by common prefixes."""
_MAX_GROUP = 500
"""Participants that are looked up together: the index needs 10 kB per file while it is made."""

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
    _check_readable(dataset, everyone)
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
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {_tell(error)}") from None
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


def _check_readable(dataset: Path, participants: Sequence[str]) -> None:
    """Refuse folders that cannot be listed: their images would be missed without a message."""
    for name in participants:
        folders = [dataset / name]
        for folder in folders:
            if folder.is_dir():
                with os.scandir(folder) as entries:
                    deeper = [Path(entry) for entry in entries if entry.is_dir()]
                folders += deeper if len(folder.relative_to(dataset).parts) < _MAX_DEPTH else []


def _find_paths(
    dataset: Path, participants: Sequence[str], kinds: set[str] | None
) -> Iterator[str]:
    """Find the images of some kinds (``None`` for all), one group of participants at a time."""
    wanted = set(participants)
    with _hide_odd_letters(dataset) as root:
        for pattern in _group_participants(participants):
            table = index_dataset(root, include_subjects=pattern)
            field = pyarrow.compute.field
            chosen = field("ext").isin(_IMAGES)
            if kinds is not None:
                chosen = chosen & field("suffix").isin(sorted(kinds))
            for path in table.filter(chosen)["path"].to_pylist():
                parts = PurePosixPath(path).parts
                if parts[0] in wanted and _is_in_place(parts[1:-1]):
                    yield PurePosixPath(path).as_posix()


def _is_in_place(folders: tuple[str, ...]) -> bool:
    """Whether an image is where BIDS puts it: in the folder of a data type, maybe of a session."""
    sessions = folders[:-1]
    return (
        folders[-1:] != ()
        and folders[-1] in _DATATYPES
        and (sessions == () or (len(sessions) == 1 and sessions[0].startswith("ses-")))
    )


def _group_participants(participants: Sequence[str]) -> list[str | list[str]]:
    """Names or glob patterns that together match all participants, few each if possible."""
    if len(participants) <= _MAX_NAMES:
        return [list(participants)]
    length = 0
    groups: dict[str, list[str]] = {"sub-": list(participants)}
    while max(map(len, groups.values())) > _MAX_GROUP and length < max(map(len, participants)):
        length += 1
        groups = defaultdict(list)
        for name in participants:
            groups[name[:length]].append(name)
    return [names if len(names) == 1 else f"{start}*" for start, names in groups.items()]


@contextmanager
def _hide_odd_letters(dataset: Path) -> Iterator[Path]:
    """Give a path to the dataset that bids2table accepts: no dot in its name, and no ``[*?``."""
    place = str(dataset.resolve())
    if not dataset.resolve().suffix and glob.escape(place) == place:
        yield dataset.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="n4ax-") as folder:
        link = Path(folder) / "dataset"
        try:
            link.symlink_to(dataset.resolve(), target_is_directory=True)
        except OSError as error:  # Windows allows links to few users
            reason = "its name has a dot, or one of *?[, and no link to it can be made: rename it"
            raise OSError(error.errno, reason, str(dataset)) from error
        yield link


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
        return int(found) == int(text)
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


def _tell(error: Exception) -> str:
    """What is wrong with a text that should be JSON."""
    return "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
