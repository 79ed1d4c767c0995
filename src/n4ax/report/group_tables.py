"""The tables of the group, ``group_<suffix>.tsv``: a row per scan, as those of MRIQC.

References
----------
O. Esteban and others, "MRIQC: Advancing the automatic prediction of image quality in MRI from
unseen sites", PLoS ONE 12(9), 2017: the names of the columns where it has the same.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from n4ax.files import write_file
from n4ax.paths import is_elsewhere
from n4ax.report.layout import GROUP_TABLE, GROUP_TABLES
from n4ax.report.rows import Row
from n4ax.report.tables import write_table

_AXES = ("x", "y", "z", "t")
_DESCRIPTIONS = {
    "bids_name": "Name of the image without its extension",
    "subject_id": "Participant",
    "session_id": "Session",
    "cjv": "Coefficient of joint variation of two classes of voxels, after correction",
    "cjv_before": "The same of the same voxels, before correction",
    "field_min": "Lowest value of the field in the mask",
    "field_max": "Highest value of the field in the mask",
    "inu_med": "Median of the field in the mask",
    "inu_p05": "5th percentile of the field in the mask",
    "inu_p95": "95th percentile of the field in the mask",
    "inu_range": "Distance of the 5th and the 95th percentile of the field in the mask",
    "iterations": "Iterations of all levels",
    "seconds": "Time that the correction took",
    **{f"size_{axis}": f"Voxels along axis {axis}" for axis in _AXES},
    **{f"spacing_{axis}": f"Voxel size along axis {axis} in mm" for axis in _AXES[:3]},
    "verdict": "Codes of what is to be said of the correction, with commas between them",
    "state": "corrected, or failed: then any numbers are those of an earlier result",
    "reason": "Why the image could not be corrected",
    "outlier": "Columns whose values lie far from those of the other scans, and on which side",
    "rating": "The newest rating: accept, unsure or reject",
    "rating_note": "The note of the newest rating",
    "settings_hash": "Names the settings of the scan: those with equal settings have equal hashes",
    "exception": "Whether the scan has settings of its own on purpose",
    "source": "Path of the image in the source dataset",
}  # fmt: skip
_NAMES = ("bids_name", "subject_id", "session_id")
_OF_RECORDS = (
    "inu_med", "inu_range", "iterations", "seconds", *(f"size_{axis}" for axis in _AXES),
    *(f"spacing_{axis}" for axis in _AXES[:3]), "verdict", "settings_hash", "exception",
)  # fmt: skip
_LONGEST = 1 << 16
"""Letters of a table's first line that are looked at."""
_OWN = "settings_hash"
"""A column by which our own tables are told from those of other programs."""


def list_values(row: Row) -> dict[str, Any]:
    """What the tables and the page of the group say of a scan, by the name of the column."""
    record = row.record
    return {
        "bids_name": "_".join(row.name_parts),
        "subject_id": row.subject,
        "session_id": row.session,
        **{name: _shorten(value) for name, value in row.numbers.items()},
        **(dict.fromkeys(_OF_RECORDS) if record is None else _list_of_record(record.entries)),
        "state": "corrected" if row.reason is None else "failed",
        "reason": row.reason,
        "outlier": ",".join(f"{name} {flag.side}" for name, flag in row.flags.items()) or None,
        "rating": row.rating.rating if row.rating else None,
        "rating_note": (row.rating.note or None) if row.rating else None,
        "source": row.source,
    }


def write_tables(output: Path, rows: Sequence[Row]) -> list[Path]:
    """Write a table and its description for each suffix, and remove those of other suffixes.

    Parameters
    ----------
    output : Path
        The folder.
    rows : sequence of Row
        All scans.

    Returns
    -------
    list of Path
        The tables.

    Raises
    ------
    OSError
        A file cannot be written or removed.
    """
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(name_table(row.suffix), []).append(row)
    for path in list_tables(output):
        if path.name not in members:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
    for name in sorted(members):
        _write_table(output / name, members[name])
    return [output / name for name in sorted(members)]


def list_tables(output: Path) -> list[Path]:
    """List the tables of an output folder, without those of other programs."""
    return sorted(path for path in output.glob(GROUP_TABLES) if _is_own(path))


def name_table(suffix: str) -> str:
    """The name of the file for a suffix; what cannot stand in a name is replaced."""
    return GROUP_TABLE.format(suffix=re.sub(r"[^0-9A-Za-z]+", "-", suffix))


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    names = {name: f"{name}_id" for row in rows for name in row.entities}
    further = {name: column for name, column in names.items() if column not in _DESCRIPTIONS}
    cells = [
        list_values(row) | {column: row.entities.get(name) for name, column in further.items()}
        for row in rows
    ]
    descriptions = (
        {name: _DESCRIPTIONS[name] for name in _NAMES}
        | {column: f"Entity {name}" for name, column in further.items()}
        | _DESCRIPTIONS
    )
    if all(values["size_t"] is None for values in cells):
        del descriptions["size_t"]
    about = {name: {"Description": text} for name, text in descriptions.items()}
    write_file(path.with_suffix(".json"), (json.dumps(about, indent=2) + "\n").encode())
    write_file(path, write_table(list(descriptions), cells))


def _list_of_record(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the columns of ``_OF_RECORDS``."""
    measures, shape, sizes = entries["Measures"], entries["Shape"], entries["VoxelSize"]
    return {
        "inu_med": _shorten(measures["inu_med"]),
        "inu_range": _shorten(measures["inu_range"]),
        "iterations": sum(entries["Iterations"]) if entries["Iterations"] else None,
        "seconds": _shorten(entries["Seconds"].get("Total")),
        **_spread("size", _AXES, shape),
        **_spread("spacing", _AXES[:3], [_shorten(size) for size in sizes]),
        "verdict": ",".join(message["Code"] for message in entries["Messages"]) or None,
        "settings_hash": entries["SettingsHash"],
        "exception": entries["Exception"],
    }


def _spread(name: str, axes: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """A value for each axis, ``None`` where there is none."""
    return {f"{name}_{axis}": value for axis, value in zip_longest(axes, values[: len(axes)])}


def _shorten(value: float | None) -> float | None:
    """A number with six digits, which are more than it is known to."""
    return None if value is None else float(f"{value:.6g}")


def _is_own(path: Path) -> bool:
    if is_elsewhere(path) or not path.is_file():
        return False  # whose it is cannot be seen
    with path.open(encoding="utf-8", errors="replace") as file:
        return _OWN in file.readline(_LONGEST).rstrip("\n").split("\t")
