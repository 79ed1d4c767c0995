"""What is known of the study as a whole: the settings of the folder, and the runs."""

from pathlib import Path
from typing import Any, NamedTuple

from n4ax.paths import is_there
from n4ax.report.layout import STUDY
from n4ax.report.records import Record, read_json
from n4ax.report.values import read_list, read_number, read_object, read_text


class Run(NamedTuple):
    """A run that wrote to the folder; what is not known is ``None``."""

    date: str | None
    seconds: float | None
    version: str | None
    command: str | None
    machine: str | None
    counts: dict[str, int]


class Study(NamedTuple):
    """The settings of a folder, and the runs that wrote to it."""

    dataset: str | None
    """The name of the source dataset."""
    settings: dict[str, dict[str, Any]]
    """The settings of the folder, by suffix."""
    hashes: dict[str, str]
    """The hashes of these settings, by suffix."""
    rerun: str | None
    """The last command without the parameters of N4."""
    runs: list[Run]
    """Oldest first."""

    @property
    def last(self) -> Run | None:
        """The last run, if it is known."""
        return self.runs[-1] if self.runs else None


def read_study(output: Path) -> Study:
    """Read ``n4ax_study.json``; what is missing in it, or all of it, is empty.

    Raises
    ------
    ValueError
        The file is not JSON, or holds no object.
    """
    path = output / STUDY
    found = read_json(path) if is_there(path) else {}
    settings = read_object(found.get("Settings"))
    hashes = {
        suffix: read_text(value) for suffix, value in read_object(found.get("SettingsHash")).items()
    }
    return Study(
        dataset=read_text(found.get("Dataset")),
        settings={suffix: read_object(values) for suffix, values in settings.items()},
        hashes={suffix: value for suffix, value in hashes.items() if value is not None},
        rerun=read_text(found.get("Rerun")),
        runs=[_read_run(read_object(run)) for run in read_list(found.get("Runs"))],
    )


def has_earlier_settings(record: Record, study: Study) -> bool:
    """Whether a scan has other settings than those of the folder, and not on purpose."""
    entries = record.entries
    own, common = entries["SettingsHash"], study.hashes.get(entries["Suffix"])
    return not entries["Exception"] and None not in (own, common) and own != common


def _read_run(found: dict[str, Any]) -> Run:
    counts = {name: read_number(count) for name, count in read_object(found.get("Counts")).items()}
    return Run(
        date=read_text(found.get("Date")),
        seconds=read_number(found.get("Seconds")),
        version=read_text(found.get("Version")),
        command=read_text(found.get("Command")),
        machine=read_text(found.get("Machine")),
        counts={name: int(count) for name, count in counts.items() if count is not None},
    )
