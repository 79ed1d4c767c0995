"""Which images of a BIDS dataset are to be corrected, and what lies beside them.

References
----------
K. J. Gorgolewski et al., "The brain imaging data structure", Scientific Data 3, 2016,
doi:10.1038/sdata.2016.44.
"""

import json
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
        The folder has no participants, or a label asked for is not there.
    """
    wanted = _labels("sub", participants)
    there = {path.name for path in dataset.glob("sub-*") if path.is_dir()}
    if not there:
        raise ValueError(f"{dataset} has no folder sub-<label>; expected a BIDS dataset")
    missing = sorted(wanted - there)
    if missing:
        raise ValueError(
            f"{', '.join(missing)} is not in {dataset}: give labels of {len(there)} participants "
            f"such as {min(there)}"
        )
    kinds = {kind for suffix in suffixes for kind in _SEVERAL.get(suffix, (suffix,))}
    chosen_sessions = {name.removeprefix("ses-") for name in _labels("ses", sessions)}
    sources = [
        source
        for source in map(Source.of, _paths(dataset, sorted(wanted or there), kinds))
        if (not chosen_sessions or source.entities.get("ses") in chosen_sessions)
        and _passes(source.entities, filters or {})
    ]
    return sorted(sources, key=lambda source: source.path)


def read_filters(path: Path) -> Filters:
    """Filters of pybids' form, as ``--bids-filter-file`` of fMRIPrep takes them.

    Keys of the file are names of queries, such as ``t1w``; each is an object of entities (long or
    short names) and what they must be: a value, a list of values, or ``null`` for none.

    Raises
    ------
    ValueError
        It is not such a file; the message says where.
    """
    try:
        content = json.loads(path.read_text())
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
    try:
        path = pattern.format_map(words)
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(
            f"mask pattern {pattern} cannot be filled in for {source.path}: {error} is none of "
            f"{', '.join(words)}"
        ) from None
    start = Path(Path(path).anchor) if Path(path).is_absolute() else dataset
    inner = str(PurePosixPath(path).relative_to(start)) if Path(path).is_absolute() else path
    found = sorted(start.glob(inner)) if re.search(r"[*?[]", path) else [start / inner]
    found = [one for one in found if one.is_file()]
    if len(found) != 1:
        what = "no mask" if not found else f"{len(found)} masks"
        raise ValueError(f"{what} at {start / inner}; expected one")
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
            entities = parse_bids_entities(path.name)
            named = {k: v for k, v in entities.items() if k not in _NOT_INHERITED}
            if entities["suffix"] == source.entities["suffix"] and named.items() <= own.items():
                found.append(path)
    return found


def _longest(path: Path) -> tuple[int, str]:
    return -len(path.name), path.name


def _labels(entity: str, given: Iterable[str]) -> set[str]:
    return {f"{entity}-{label.removeprefix(f'{entity}-')}" for label in given}


def _paths(dataset: Path, participants: Sequence[str], kinds: set[str]) -> Iterator[str]:
    """Images of the kinds, some participants after the other."""
    wanted = set(participants)
    with _without_dots(dataset) as root:
        for pattern in _patterns(participants):
            table = index_dataset(root, include_subjects=pattern)
            field = pyarrow.compute.field
            chosen = field("suffix").isin(sorted(kinds)) & field("ext").isin(_IMAGES)
            for path in table.filter(chosen)["path"].to_pylist():
                if PurePosixPath(path).parts[0] in wanted:
                    yield PurePosixPath(path).as_posix()


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
    if wanted is None:
        return found is None
    if isinstance(wanted, str) and "Query." in wanted:
        word = wanted.rsplit("Query.", 1)[1].split(":")[0].rstrip(">").upper()
        return word == "OPTIONAL" or (found is None) == (word == "NONE")
    return any(
        found is value if None in (found, value) else _same(str(found), value)
        for value in _list(wanted)
    )


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
