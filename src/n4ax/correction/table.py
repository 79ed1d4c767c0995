"""The table of what was done: a file of TSV for people and programs, and one of JSON with it all.

The JSON file also is the memory of a folder: images are left as they are if it says that their
results were made from the same files with the same settings by the same version.
"""

import csv
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from n4ax.correction.outcome import Outcome
from n4ax.correction.recipe import Task
from n4ax.errors import InputError
from n4ax.files import write_file
from n4ax.images.names import NIFTI, find_suffix
from n4ax.images.signature import is_signed
from n4ax.paths import check_here, is_there
from n4ax.provenance import format_json
from n4ax.report.tables import guard_text
from n4ax.texts import read_json_file
from n4ax.version import __version__

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = "n4ax.tsv"
"""What the table is called in the folder of the results."""

_COLUMNS = (
    "image", "output", "state", "mask", "mask_voxels", "iterations", "stopped", "field_min",
    "field_max", "field_min_in_mask", "field_max_in_mask", "seconds", "notes", "reason",
)  # fmt: skip
_MISSING = "n/a"
_LARGEST = 1 << 32
"""Bytes of a table of a million images."""
_REST = 50
"""A long table is not written for so many times the time that writing takes."""


class Table:
    """The table of a run. Several runs may share one: each keeps what the others have entered.

    Parameters
    ----------
    path
        The file of TSV, whose name ends in ``.tsv``; the JSON file beside it has the same name with
        ``.json``. ``None`` keeps no table.
    command
        The command line, for the record.

    Raises
    ------
    InputError
        The name ends otherwise, or one of the files is not from n4ax.
    """

    def __init__(self, path: Path | None, command: Sequence[str] = ()) -> None:
        self.path = path
        self._command = list(command)
        self._own: dict[str, dict[str, Any]] = {}
        self._next = 0.0
        self._before = {} if path is None else _read(path)

    @property
    def paths(self) -> list[Path]:
        """The files of the table."""
        return [] if self.path is None else [self.path, _json_of(self.path)]

    @property
    def known_files(self) -> set[Path]:
        """The files that earlier runs have written.

        A run that was killed, or that could not write the table, may have written an image and not
        entered it yet. The header of NIfTI says so; of other formats, only the plan is known.
        """
        return {
            self._find(name)
            for output, entry in self._before.items()
            if entry.get("state") != "planned" or _may_be_ours(self._find(output))
            for name in entry.get("Files", {})
        }

    def start(self, tasks: Iterable[Task]) -> None:
        """Enter images before the work, so that the next run knows whose files theirs are."""
        for task in tasks:
            files = {self._name(path): None for path in task.outputs.files}
            entry = {"image": self._name(task.image), "state": "planned", "Files": files}
            self._own[self._name(task.outputs.output)] = self._before.get(
                self._name(task.outputs.output), entry
            )
        self.write()

    def is_complete(self, task: Task, stamp: str) -> bool:
        """Whether the results of an image are there, with the same stamp and their sizes."""
        entry = self._before.get(self._name(task.outputs.output), {})
        files = entry.get("Files", {})
        try:
            return (
                entry.get("Stamp") == stamp
                and set(files) == {self._name(path) for path in task.outputs.files}
                and all(self._find(name).stat().st_size == size for name, size in files.items())
            )
        except OSError:
            return False

    def is_suspicious(self, task: Task) -> bool:
        """Whether the run that made the results of an image had a serious note about them."""
        entry = self._before.get(self._name(task.outputs.output), {})
        notes = entry.get("Record", {}).get("Verdict", {}).get("Messages", [])
        return any(note.get("Serious") for note in notes)

    def add(self, outcome: Outcome) -> None:
        """Enter what became of an image. A long table is written now and then."""
        if outcome.state == "unchanged":
            return
        name = self._name(outcome.output)
        files = {self._name(path): size for path, size in outcome.files.items()}
        self._own[name] = _make_entry(outcome) | {
            "image": self._name(Path(outcome.source)),
            "Files": files or self._own.get(name, {}).get("Files", {}),
        }
        if time.monotonic() > self._next:
            self.write()

    def write(self) -> None:
        """Write both files, with what other runs have entered meanwhile.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        if self.path is None:
            return
        start = time.monotonic()
        with _lock(self.path.parent):
            entries = _read(self.path) | self._own
            listed = [{"output": name} | entries[name] for name in sorted(entries)]
            content = {"n4ax": __version__, "Command": self._command, "Images": listed}
            write_file(_json_of(self.path), format_json(content).encode())
            write_file(self.path, _write_rows(listed).encode(errors="backslashreplace"))
        end = time.monotonic()
        self._next = end + _REST * (end - start)

    def _name(self, path: Path) -> str:
        """A file as the table names it: from the folder of the table."""
        return str(path) if self.path is None else os.path.relpath(path, self.path.parent)

    def _find(self, name: str) -> Path:
        """The file of a name in the table, from the current folder."""
        assert self.path is not None
        return Path(os.path.normpath(self.path.parent / name))


def _may_be_ours(output: Path) -> bool:
    return find_suffix(output) not in NIFTI or is_signed(output)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep other runs from writing a table in this folder, where the system can do that."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _json_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of a table, by the names of the corrected images; none if there is no table.

    Raises
    ------
    InputError
        The name does not end in ``.tsv``, or one of its files is something else.
    ValueError
        git-annex has one of the files elsewhere.
    """
    if path.suffix.lower() != ".tsv":
        raise InputError("{table} {0}: expected a name ending in .tsv", path)
    record = _json_of(path)
    for file in (path, record):
        check_here(file)
    if not is_there(record):
        if is_there(path):
            raise InputError("{table} {0} is not from n4ax correct: choose another name", path)
        return {}
    try:
        entries = read_json_file(record, most=_LARGEST)["Images"]
        return {entry["output"]: _check_entry(entry) for entry in entries}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "{table} {0} is not from n4ax correct: choose another name", record
        ) from None


def _check_entry(entry: Any) -> dict[str, Any]:
    """An entry of a table, of which the parts that are looked at later are what they should be.

    Raises
    ------
    ValueError
        They are not.
    """
    names = [entry["output"], entry["image"], *entry.get("Files", {}).keys()]
    messages = entry.get("Record", {}).get("Verdict", {}).get("Messages", [])
    if not all(isinstance(name, str) and "\0" not in name for name in names):
        raise ValueError("a name is no name of a file")
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise ValueError("the verdict is none")
    return entry


def _make_entry(outcome: Outcome) -> dict[str, Any]:
    record = outcome.record
    known = {
        "state": outcome.state,
        "reason": outcome.reason or outcome.problem,
        "seconds": round(outcome.seconds, 3),
        "notes": ", ".join(note.code for note in outcome.notes),
    }
    if not record:
        return known
    (low, high), (inner, outer) = record["FieldRange"], record["FieldRangeInMask"]
    return known | {
        "mask": record["Mask"],
        "mask_voxels": record["MaskVoxels"],
        "iterations": _join(record["Iterations"]),
        "stopped": _join(record["Stopped"], ", "),
        "field_min": _round(low),
        "field_max": _round(high),
        "field_min_in_mask": _round(inner),
        "field_max_in_mask": _round(outer),
        "Record": record,
        "Stamp": outcome.stamp,
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


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
        writer.writerow([_write_cell(value) for value in values])
    return text.getvalue()


def _write_cell(value: Any) -> Any:
    return guard_text(value or _MISSING) if isinstance(value, str) else value
