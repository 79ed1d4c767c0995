"""The entries of a record, completed: older versions wrote fewer, and a file may lack some."""

from pathlib import Path
from typing import Any

from n4ax.report.values import (
    read_counts,
    read_known,
    read_list,
    read_number,
    read_numbers,
    read_object,
    read_pair,
    read_text,
)

_TEXTS = (
    "Output", "Mask", "Choice", "Engine", "Version", "Date", "Result", "SettingsHash",
)  # fmt: skip
_BOTH = ("Before", "After")
_NUMBERS = ("cjv_before", "cjv_after", "inu_med", "inu_range", "inu_p05", "inu_p95")


def complete(entries: dict[str, Any], path: Path) -> dict[str, Any]:
    """Complete the entries of a record, so that the pages need not ask what there is.

    Parameters
    ----------
    entries
        What the file has.
    path
        The file, ``sub-<label>/figures/<name>.json`` or ``sub-<label>/ses-<label>/figures/...``.
        What names the scan is taken from it if it is missing.

    Returns
    -------
    dict
        All entries of a record. A number that is missing or not finite is ``None``, as are texts
        and the histogram; lists are empty. ``Measures`` has all of its parts. ``Directions`` is
        ``None`` if it is not known.
    """
    stem, folder = path.name.removesuffix(".json"), path.parent.parent
    session = folder.name.removeprefix("ses-") if folder.name.startswith("ses-") else None
    names = {
        "Source": "_".join(part for part in stem.split("_") if not part.startswith("desc-")),
        "Subject": (folder if session is None else folder.parent).name.removeprefix("sub-"),
        "Session": session,
        "Suffix": stem.rsplit("_", 1)[-1],
    }
    return {
        **{name: read_text(entries.get(name)) or other for name, other in names.items()},
        **{name: read_text(entries.get(name)) for name in _TEXTS},
        "Shape": read_counts(entries.get("Shape")),
        "VoxelSize": read_known(entries.get("VoxelSize")),
        "SharedFieldWith": [str(path) for path in read_list(entries.get("SharedFieldWith"))],
        "Iterations": read_counts(entries.get("Iterations")),
        "Stopped": [str(reason) for reason in read_list(entries.get("Stopped"))],
        "Convergence": [read_numbers(level) for level in read_list(entries.get("Convergence"))],
        "Settings": read_object(entries.get("Settings")),
        "Exception": entries.get("Exception") is True,
        "Directions": _read_truth(entries.get("Directions")),
        "Messages": _complete_messages(read_list(entries.get("Messages"))),
        "Notes": [str(note) for note in read_list(entries.get("Notes"))],
        "Threshold": read_number(entries.get("Threshold")),
        "Seconds": {
            name: read_number(value) for name, value in read_object(entries.get("Seconds")).items()
        },
        "Measures": _complete_measures(read_object(entries.get("Measures"))),
    }


def _complete_measures(measures: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: read_pair(measures.get(name)) for name in ("FieldRange", "FieldWindow")},
        **{name: read_number(measures.get(name)) for name in _NUMBERS},
        "Histogram": _complete_histogram(read_object(measures.get("Histogram"))),
        "Planes": [str(name) for name in read_list(measures.get("Planes"))],
        "Profile": _complete_profile(read_object(measures.get("Profile"))),
    }


def _complete_histogram(found: dict[str, Any]) -> dict[str, Any] | None:
    counts = {when: read_known(found.get(when)) for when in _BOTH}
    if not all(counts.values()):
        return None
    return {"Range": read_pair(found.get("Range")), **counts}


def _complete_profile(found: dict[str, Any]) -> dict[str, Any] | None:
    """The profile; ``None`` if it has no positions, or not a value for each of them."""
    positions = read_known(found.get("Positions"))
    values = {when: read_numbers(found.get(when)) for when in _BOTH}
    lists = (found.get("Positions"), *values.values())
    if not positions or any(len(read_list(each)) != len(positions) for each in lists):
        return None
    texts = {name: read_text(found.get(name)) or "" for name in ("Axis", "Unit")}
    return {**texts, "Positions": positions, **values}


def _complete_messages(found: list[Any]) -> list[dict[str, Any]]:
    """The messages of the verdict that have a code; what is no object is left out."""
    messages = [read_object(message) for message in found]
    return [
        {
            "Code": read_text(message["Code"]),
            "Serious": message.get("Serious") is True,
            "Text": read_text(message.get("Text")) or read_text(message["Code"]),
        }
        for message in messages
        if read_text(message.get("Code"))
    ]


def _read_truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
