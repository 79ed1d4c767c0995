"""Where an image comes from: whether it was corrected before, by what lies beside it."""

from pathlib import Path
from typing import Any

from n4ax.correction.outcome import Outcome
from n4ax.correction.recipe import Recipe, Task
from n4ax.images.names import find_stem
from n4ax.images.signature import is_signed
from n4ax.texts import read_json_file
from n4ax.verdict.already import find_signs
from n4ax.verdict.judgement import tell_corrected

_LARGEST = 1 << 24
"""Bytes of a JSON file beyond which it is no metadata of an image."""


def find_signs_beside(image: Path) -> list[str]:
    """Find what says that an image was corrected before: its header, and the JSON file beside it.

    A JSON file that cannot be read says nothing.
    """
    return find_signs(_read_metadata(image.parent / f"{find_stem(image)}.json"), is_signed(image))


def leave_out(recipe: Recipe, task: Task) -> Outcome | None:
    """The outcome of an image that is to be left out, since it was corrected before."""
    signs = find_signs_beside(task.image) if recipe.already == "skip" else []
    if not signs:
        return None
    note = tell_corrected(signs)
    summary = f"{task.image} was left out: {', '.join(signs)}; no file was written."
    return Outcome(str(task.image), task.outputs.output, "skipped", summary=summary, notes=(note,))


def _read_metadata(path: Path) -> dict[str, Any]:
    try:
        found = read_json_file(path, "utf-8-sig", _LARGEST)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
