"""Which images of a dataset are to share one field, or one setting.

The user names entities: images that differ in nothing but these share a field, such as the echoes
of one acquisition with ``echo``. Their grids are compared when they are read.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence

from n4ax.bids.inputs import Source, find_short_names
from n4ax.errors import InputError

SESSION = "session"
"""The word for all images of a session, or of a participant without sessions."""

_NEVER = ("sub", "ses", "ext")
"""Images of several participants or sessions never share a field."""


def group_sources(
    sources: Sequence[Source], shared_field: Sequence[str]
) -> list[tuple[Source, ...]]:
    """Put images together that are to share a field, in the order in which they are given.

    Parameters
    ----------
    sources
        The images.
    shared_field
        ``"session"``, or entities by their long or short names, such as ``"echo"``, and
        ``"suffix"``. An empty sequence gives each image a field of its own.

    Raises
    ------
    InputError
        Something is neither the word nor such an entity.
    """
    if not shared_field:
        return [(source,) for source in sources]
    differing = _read_entities(shared_field)
    groups: defaultdict[Hashable, list[Source]] = defaultdict(list)
    for source in sources:
        groups[_find_key(source, differing)].append(source)
    return [tuple(group) for group in groups.values()]


def group_participants(sources: Sequence[Source]) -> list[tuple[Source, ...]]:
    """Put all images of a participant together that have one suffix, in the order given."""
    groups: defaultdict[Hashable, list[Source]] = defaultdict(list)
    for source in sources:
        groups[source.participant, source.entities["suffix"]].append(source)
    return [tuple(group) for group in groups.values()]


def _read_entities(shared_field: Sequence[str]) -> set[str] | None:
    """Find the short names of entities; ``None`` for the word that stands for all."""
    if SESSION in shared_field:
        if len(shared_field) > 1:
            raise InputError(
                "{shared_field} is {0}; session stands for everything: leave out the others",
                " ".join(shared_field),
            )
        return None
    known = {name: short for name, short in find_short_names().items() if short not in _NEVER}
    unknown = [name for name in shared_field if name not in known]
    if unknown:
        raise InputError(
            "{shared_field} is {0}; expected session, or entities in which images of one field "
            "may differ, such as echo, inv or suffix",
            " ".join(unknown),
        )
    return {known[name] for name in shared_field}


def _find_key(source: Source, differing: set[str] | None) -> Hashable:
    """Find what images have in common that share a field with this one."""
    own = source.participant, source.session
    if differing is None:
        return own
    left_out = {"ext", *differing}
    common = {name: value for name, value in source.entities.items() if name not in left_out}
    return (*own, *sorted(common.items()))
