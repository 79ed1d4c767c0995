"""Notes on many images: a line for each kind."""

from collections import defaultdict
from collections.abc import Iterable, Iterator


def list_notes(noted: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """List notes, those of a kind in one line with the text for the first image.

    Parameters
    ----------
    noted
        The kind of each note, its image and its text.
    """
    kinds = defaultdict[str, list[tuple[str, str]]](list)
    for kind, image, text in noted:
        kinds[kind].append((image, text))
    for _, notes in sorted(kinds.items()):
        (image, text), *others = sorted(notes)
        more = f" and {len(others)} more" if others else ""
        yield f"note: {image}{more}: {text}"
