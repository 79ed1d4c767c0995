"""Which images of a BIDS dataset are to be corrected, and what lies beside them.

References
----------
K. J. Gorgolewski et al., "The brain imaging data structure", Scientific Data 3, 2016,
doi:10.1038/sdata.2016.44.
"""

import glob
import json
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.compute
from bids2table import get_arrow_schema, index_dataset, parse_bids_entities

DEFAULT_SUFFIXES = ("T1w", "T2w", "FLAIR", "PDw", "inplane")
_SEVERAL = {"inplane": ("inplaneT1", "inplaneT2"), "boldref": ("boldref", "sbref")}
_IMAGES = (".nii.gz", ".nii")
_DATATYPES = ("anat", "dwi", "fmap", "func", "perf")
_DEEPEST = 2  # sub-01/ses-1, whose folders are looked into
_WORD = re.compile(r"\{(\w+)\}")
_NOT_INHERITED = ("datatype", "suffix", "ext")
_NOT_MAGNITUDE = ("phase", "real", "imag")
_BY_NAME = 50
"""Participants up to which they are looked up by their names, not by what these begin with."""
_AT_ONCE = 500
"""Participants that are looked up together: the index takes 10 kB a file while it is made."""

Filters = Mapping[str, Mapping[str, Any]]
"""By suffix: entities, and what they must be."""


@dataclass(frozen=True)
class Source:
    """An image of a dataset.

    Attributes
    ----------
    path
        From the dataset's folder, with forward slashes.
    entities
        By their short names, with ``datatype``, ``suffix`` and ``ext``.
    """

    path: str
    entities: Mapping[str, str]

    @classmethod
    def of(cls, path: str) -> "Source":
        """The source of a path from the dataset's folder."""
        return cls(path, parse_bids_entities(path))

    @property
    def participant(self) -> str:
        """The label of the participant in whose folder it is."""
        return PurePosixPath(self.path).parts[0].removeprefix("sub-")

    @property
    def session(self) -> str | None:
        """The label of the session in whose folder it is."""
        second = PurePosixPath(self.path).parts[1]
        return second.removeprefix("ses-") if second.startswith("ses-") else None

    @property
    def stem(self) -> str:
        """The file's name without its extension."""
        return PurePosixPath(self.path).name.removesuffix(self.entities["ext"])

    @property
    def folder(self) -> str:
        """The file's folder from the dataset's."""
        return str(PurePosixPath(self.path).parent)


def find_sources(
    dataset: Path,
    *,
    suffixes: Sequence[str] = DEFAULT_SUFFIXES,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    filters: Filters | None = None,
) -> list[Source]:
    """The images of a dataset that are to be corrected, sorted.

    Parameters
    ----------
    dataset
        Its folder, with a folder ``sub-<label>`` for each participant.
    suffixes
        Kinds of images; ``inplane`` stands for both of that name, ``boldref`` for the single-band
        references too.
    participants, sessions
        Labels, with ``sub-`` and ``ses-`` or without; none means all.
    filters
        As :func:`read_filters` gives them.

    Raises
    ------
    ValueError
        The folder has no participants, or one asked for is not there or has no such image.
    OSError
        A folder cannot be read.
    """
    wanted, there = _labels("sub", participants), _participants(dataset)
    everyone = sorted(wanted or there)
    missing = sorted(wanted - set(there))
    if missing:
        raise ValueError(
            f"{', '.join(missing)} is not in {dataset}: give labels of participants, such as "
            f"{there[0]}"
        )
    _check_readable(dataset, everyone)
    kinds = {kind for suffix in suffixes for kind in _SEVERAL.get(suffix, (suffix,))}
    chosen_sessions = {name.removeprefix("ses-") for name in _labels("ses", sessions)}
    sources = [
        source
        for source in map(Source.of, _paths(dataset, everyone, kinds))
        if (not chosen_sessions or source.session in chosen_sessions)
        and _passes(source.entities, filters or {})
    ]
    without = sorted(wanted - {f"sub-{source.participant}" for source in sources})
    if without:
        raise ValueError(
            f"{', '.join(without)} has no image of those asked for ({', '.join(sorted(kinds))}"
            f"{'; of some sessions' if sessions else ''}{'; by the filters' if filters else ''})"
        )
    return sorted(sources, key=lambda source: source.path)


def known_participants(dataset: Path) -> list[str]:
    """Labels of the participants that have a folder, or a link to one that is not there."""
    return [name.removeprefix("sub-") for name in _participants(dataset)]


def known_suffixes(dataset: Path) -> list[str]:
    """What kinds of images a dataset has."""
    paths = _paths(dataset, _participants(dataset), None)
    return sorted({Source.of(path).entities["suffix"] for path in paths})


def read_filters(path: Path) -> Filters:
    """Filters of pybids' form, as ``--bids-filter-file`` of fMRIPrep takes them.

    Keys of the file are names of queries, such as ``t1w``; each is an object of entities (long or
    short names) and what they must be: a value, a list of values, ``null`` for none, ``"*"`` for
    any.

    Raises
    ------
    ValueError
        It is not such a file; the message says where.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f'{path} is not of the form {{"t1w": {{"acquisition": "mprage"}}}}')
    short = _short_names()
    filters = {}
    for query, entities in content.items():
        unknown = sorted(set(entities) - set(short))
        if unknown:
            raise ValueError(f"{path}: {query} has {', '.join(unknown)}, which is no BIDS entity")
        filters[query] = {short[name]: value for name, value in entities.items()}
    return filters


def find_mask(dataset: Path, source: Source, pattern: str) -> Path:
    """The mask of an image, by a pattern of paths.

    Parameters
    ----------
    pattern
        A path, from the dataset's folder unless it is absolute. ``{sub}`` and other entities,
        ``{folder}``, ``{stem}`` (the image's name), ``{name}`` (without its suffix), ``{suffix}``
        and ``{datatype}`` are filled in; ``*`` and ``?`` stand for anything.

    Raises
    ------
    ValueError
        There is none, or there are several; the message has the path that was looked for.
    """
    words = {
        **source.entities,
        "folder": source.folder,
        "stem": source.stem,
        "name": source.stem.removesuffix(f"_{source.entities['suffix']}"),
    }
    unknown = sorted(set(_WORD.findall(pattern)) - set(words))
    if unknown:
        raise ValueError(
            f"mask pattern {pattern}: {source.path} has no {', '.join(unknown)}; it has "
            f"{', '.join(words)}"
        )
    wild = re.search(r"[*?]", pattern) is not None
    path = _WORD.sub(
        lambda found: glob.escape(words[found[1]]) if wild else words[found[1]], pattern
    )
    names = glob.glob(path, root_dir=dataset, recursive=True) if wild else [path]
    found = [one for one in (dataset / name for name in sorted(names)) if one.is_file()]
    if len(found) != 1:
        what = "no mask" if not found else f"{len(found)} masks"
        raise ValueError(f"{what} at {dataset / path}; expected one")
    return found[0]


def inherited(dataset: Path, source: Source, ext: str) -> list[Path]:
    """Files that go with an image by the inheritance principle, the nearest first.

    Parameters
    ----------
    ext
        Their extension, such as ``.json`` or ``.bval``.
    """
    own = {key: value for key, value in source.entities.items() if key not in _NOT_INHERITED}
    found: list[Path] = []
    folder = PurePosixPath(source.path).parent
    for place in (folder, *folder.parents):
        beside = sorted((dataset / place).glob(f"*{source.entities['suffix']}{ext}"), key=_longest)
        for path in beside:
            if not all("-" in part for part in path.name.split("_")[:-1]):
                continue  # no name of BIDS
            entities = parse_bids_entities(path.name)
            named = {k: v for k, v in entities.items() if k not in _NOT_INHERITED}
            if entities["suffix"] == source.entities["suffix"] and named.items() <= own.items():
                found.append(path)
    return found


def _longest(path: Path) -> tuple[int, str]:
    return -len(path.name), path.name


def _labels(entity: str, given: Iterable[str]) -> set[str]:
    return {f"{entity}-{label.removeprefix(f'{entity}-')}" for label in given}


def _participants(dataset: Path) -> list[str]:
    """Folders of participants; links that lead nowhere too, or they would be missed silently."""
    found = sorted(
        path.name for path in dataset.glob("sub-*") if path.is_dir() or path.is_symlink()
    )
    if not found:
        raise ValueError(f"{dataset} has no folder sub-<label>; expected a BIDS dataset")
    return found


def _check_readable(dataset: Path, participants: Sequence[str]) -> None:
    """Refuse folders that may not be looked into, whose images would be missed silently."""
    for name in participants:
        folders = [dataset / name]
        for folder in folders:
            if folder.is_dir():
                with os.scandir(folder) as entries:
                    deeper = [Path(entry) for entry in entries if entry.is_dir()]
                folders += deeper if len(folder.relative_to(dataset).parts) < _DEEPEST else []


def _paths(dataset: Path, participants: Sequence[str], kinds: set[str] | None) -> Iterator[str]:
    """Images of the kinds (``None``: of all), some participants after the other."""
    wanted = set(participants)
    with _without_dots(dataset) as root:
        for pattern in _patterns(participants):
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
    """Whether an image is where BIDS has it: in a data type's folder, of a session if any."""
    sessions = folders[:-1]
    return (
        folders[-1:] != ()
        and folders[-1] in _DATATYPES
        and (sessions == () or (len(sessions) == 1 and sessions[0].startswith("ses-")))
    )


def _patterns(participants: Sequence[str]) -> list[str | list[str]]:
    """Names or glob patterns for all, each for not too many where the names allow it."""
    if len(participants) <= _BY_NAME:
        return [list(participants)]
    length = 0
    groups: dict[str, list[str]] = {"sub-": list(participants)}
    while max(map(len, groups.values())) > _AT_ONCE and length < max(map(len, participants)):
        length += 1
        groups = defaultdict(list)
        for name in participants:
            groups[name[:length]].append(name)
    return [names if len(names) == 1 else f"{start}*" for start, names in groups.items()]


@contextmanager
def _without_dots(dataset: Path) -> Iterator[Path]:
    """A path to the dataset that bids2table takes for one: a name with a dot it does not."""
    if not dataset.resolve().suffix:
        yield dataset.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="n4ax-") as folder:
        link = Path(folder) / "dataset"
        link.symlink_to(dataset.resolve(), target_is_directory=True)
        yield link


def _passes(entities: Mapping[str, str], filters: Filters) -> bool:
    """Whether an image has magnitudes, and is wanted by the filters for its suffix, if any."""
    if entities.get("part") in _NOT_MAGNITUDE:
        return False
    suffix = entities["suffix"].casefold()
    mine = [
        query
        for name, query in filters.items()
        if suffix in {str(value).casefold() for value in _list(query.get("suffix", name))}
    ]
    return not mine or any(
        all(_matches(entities.get(key), value) for key, value in query.items()) for query in mine
    )


def _matches(found: str | None, wanted: Any) -> bool:
    """Whether an entity is as a filter wants it, pybids' words for any and none included."""
    if isinstance(wanted, list):
        return any(_matches(found, value) for value in wanted)
    if wanted is None:
        return found is None
    if isinstance(wanted, str) and (wanted == "*" or "Query." in wanted):
        word = wanted.rsplit("Query.", 1)[-1].split(":")[0].rstrip(">").upper()
        return word == "OPTIONAL" or (found is None) == (word == "NONE")
    return found is not None and _same(found, wanted)


def _same(found: str, wanted: Any) -> bool:
    """Whether two values are equal; numbers may have zeros in front, extensions a dot."""
    text = str(wanted)
    if found.isdecimal() and text.isdecimal():
        return int(found) == int(text)
    return found.removeprefix(".") == text.removeprefix(".")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _short_names() -> dict[str, str]:
    """Entities by their long and their short names."""
    names = {"datatype": "datatype", "suffix": "suffix", "extension": "ext", "ext": "ext"}
    for field in get_arrow_schema():
        entity = (field.metadata or {}).get(b"entity")
        if entity:
            names |= {entity.decode(): field.name, field.name: field.name}
    return names
