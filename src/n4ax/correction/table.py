"""The table of what was done: a file of TSV for people and programs, and one of JSON with it all.

The JSON file also is the memory of a folder: images are left as they are if it says that their
results were made from the same files with the same settings by the same version.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from n4ax.correction.outcome import Outcome
from n4ax.correction.recipe import Task
from n4ax.errors import InputError
from n4ax.files import write_file
from n4ax.provenance import format_json
from n4ax.version import __version__

NAME = "n4ax.tsv"
"""What the table is called in the folder of the results."""

_COLUMNS = (
    "image", "output", "state", "mask", "mask_voxels", "iterations", "stopped", "field_min",
    "field_max", "field_min_in_mask", "field_max_in_mask", "seconds", "reason",
)  # fmt: skip
_MISSING = "n/a"


class Table:
    """The table of a run.

    Parameters
    ----------
    path
        The file of TSV; the JSON file beside it has the same name with ``.json``. ``None`` keeps
        no table.
    command
        The command line, for the record.
    """

    def __init__(self, path: Path | None, command: Sequence[str] = ()) -> None:
        self.path = path
        self._command = list(command)
        self.known = {} if path is None else _read(_json_of(path))

    @property
    def paths(self) -> list[Path]:
        """The files of the table."""
        return [] if self.path is None else [self.path, _json_of(self.path)]

    def start(self, tasks: Iterable[Task]) -> None:
        """Enter images before the work, so that the next run knows whose files theirs are."""
        for task in tasks:
            entry = {"image": str(task.image), "state": "planned"}
            self.known.setdefault(_key(task.outputs.output), entry)
        self.write()

    def is_complete(self, task: Task, stamp: str) -> bool:
        """Whether the results of an image are there, with the same stamp and their sizes."""
        entry = self.known.get(_key(task.outputs.output), {})
        files = entry.get("Files", {})
        try:
            return (
                entry.get("Stamp") == stamp
                and set(files) == {str(path) for path in task.outputs.files}
                and all(Path(name).stat().st_size == size for name, size in files.items())
            )
        except OSError:
            return False

    def add(self, outcome: Outcome) -> None:
        """Enter what became of an image, and write the table."""
        if outcome.state == "unchanged":
            return
        self.known[_key(outcome.output)] = _make_entry(outcome)
        self.write()

    def write(self) -> None:
        """Write both files.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        if self.path is None:
            return
        entries = [self.known[key] | {"output": key} for key in sorted(self.known)]
        content = {"n4ax": __version__, "Command": self._command, "Images": entries}
        write_file(_json_of(self.path), format_json(content).encode())
        write_file(self.path, _write_rows(entries).encode())


def _key(output: Path) -> str:
    return str(output)


def _json_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of a table, by the names of the corrected images; none if there is no table.

    Raises
    ------
    InputError
        The file is something else.
    """
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["Images"]
        return {str(entry["output"]): dict(entry) for entry in entries}
    except (ValueError, KeyError, TypeError):
        raise InputError(
            "{table} {0} is not the table of n4ax correct: choose another name", path
        ) from None


def _make_entry(outcome: Outcome) -> dict[str, Any]:
    record = outcome.record
    known = {
        "image": outcome.source,
        "state": outcome.state,
        "reason": outcome.reason or outcome.problem,
        "seconds": round(outcome.seconds, 3),
    }
    if not record:
        return known
    (low, high), (inner, outer) = record["FieldRange"], record["FieldRangeInMask"]
    return known | {
        "mask": record["Mask"],
        "mask_voxels": record["MaskVoxels"],
        "iterations": _join(record["Iterations"]),
        "stopped": _join(record["Stopped"], ", "),
        "field_min": round(low, 6),
        "field_max": round(high, 6),
        "field_min_in_mask": round(inner, 6),
        "field_max_in_mask": round(outer, 6),
        "Record": record,
        "Stamp": outcome.stamp,
        "Files": outcome.files,
    }


def _join(values: list[Any], between: str = "x") -> str:
    """What belongs to the levels, as ``50x12``; that of several fields with ``; `` between them."""
    if values and isinstance(values[0], list):
        return "; ".join(_join(one, between) for one in values)
    return between.join(map(str, values))


def _write_rows(entries: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in entries:
        values = (entry.get(name, _MISSING) for name in _COLUMNS)
        writer.writerow([_MISSING if value == "" else value for value in values])
    return text.getvalue()
