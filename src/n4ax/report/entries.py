"""The entries of a record, completed: older versions wrote fewer, and a file may lack some."""

from math import isfinite
from pathlib import Path
from typing import Any

_TEXTS = ("Output", "Mask", "Choice", "Engine", "Version")
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
        and the histogram; lists are empty. ``Measures`` has all of its parts.
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
        **{name: _read_text(entries.get(name)) or other for name, other in names.items()},
        **{name: _read_text(entries.get(name)) for name in _TEXTS},
        "Shape": _read_counts(entries.get("Shape")),
        "VoxelSize": _read_known(entries.get("VoxelSize")),
        "SharedFieldWith": [str(path) for path in _read_list(entries.get("SharedFieldWith"))],
        "Iterations": _read_counts(entries.get("Iterations")),
        "Stopped": [str(reason) for reason in _read_list(entries.get("Stopped"))],
        "Convergence": [_read_numbers(level) for level in _read_list(entries.get("Convergence"))],
        "Notes": [str(note) for note in _read_list(entries.get("Notes"))],
        "Threshold": _read_number(entries.get("Threshold")),
        "Seconds": {
            name: _read_number(value)
            for name, value in _read_object(entries.get("Seconds")).items()
        },
        "Measures": _complete_measures(_read_object(entries.get("Measures"))),
    }


def _complete_measures(measures: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: _read_pair(measures.get(name)) for name in ("FieldRange", "FieldWindow")},
        **{name: _read_number(measures.get(name)) for name in _NUMBERS},
        "Histogram": _complete_histogram(_read_object(measures.get("Histogram"))),
    }


def _complete_histogram(found: dict[str, Any]) -> dict[str, Any] | None:
    counts = {when: _read_known(found.get(when)) for when in _BOTH}
    if not all(counts.values()):
        return None
    return {"Range": _read_pair(found.get("Range")), **counts}


def _read_text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def _read_number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and isfinite(value) else None


def _read_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_numbers(value: Any) -> list[float | None]:
    return [_read_number(item) for item in _read_list(value)]


def _read_known(value: Any) -> list[float]:
    return [number for number in _read_numbers(value) if number is not None]


def _read_counts(value: Any) -> list[int]:
    return [int(number) for number in _read_known(value)]


def _read_pair(value: Any) -> list[float | None]:
    return [*_read_numbers(value), None, None][:2]
