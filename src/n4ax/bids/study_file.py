"""The file ``n4ax_study.json``: which settings an output folder has, and which runs wrote to it.

Results with different settings cannot be compared, so that a folder has one setting. The parameters
of N4, the engine and the voxel type are the same for all its images. What belongs to a kind of
image, such as its mask, is the same for all images with one suffix.
"""

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from n4ax.bids.outputs import read_name, read_object
from n4ax.bids.recipe import OF_A_SUFFIX, OutputSettings
from n4ax.bids.staging import PRIVATE, hold_lock, write_text
from n4ax.errors import InputError
from n4ax.provenance import format_json, hash_settings
from n4ax.report.layout import STUDY
from n4ax.report.records import has_records
from n4ax.version import __version__

Settings = Mapping[str, Any]
"""Everything that is asked for, by name: see :meth:`n4ax.bids.recipe.Recipe.describe`."""

_MOST_RUNS = 100
"""So many of the most recent runs are kept."""
_MOST_NAMED = 6
"""So many differences are named in an error."""


class Call(NamedTuple):
    """How a run was called.

    Attributes
    ----------
    command
        The full command.
    rerun
        The command without the parameters of N4, to which others can be added.
    """

    command: str
    rerun: str


def check_folder(output: Path, wanted: Mapping[str, Settings], policy: OutputSettings) -> bool:
    """Compare the settings that are asked for with those of the output folder.

    Parameters
    ----------
    output
        The folder of the corrected images.
    wanted
        The settings that are asked for, by suffix.
    policy
        What becomes of a folder that has others, as in :class:`n4ax.bids.recipe.Recipe`.

    Returns
    -------
    bool
        Whether the images get settings other than the folder's.

    Raises
    ------
    InputError
        The folder has other settings, and ``policy`` is ``"error"``.
    """
    return _decide(output, read_object(output / STUDY), wanted, policy)


def take_folder(
    dataset: Path,
    output: Path,
    wanted: Mapping[str, Settings],
    policy: OutputSettings,
    rerun: str = "",
) -> None:
    """Make the wanted settings those of the output folder, unless it is to keep its own.

    Parameters
    ----------
    dataset
        The folder of the dataset.
    output, wanted, policy
        As for :func:`check_folder`.
    rerun
        The command without the parameters of N4; pages complete it.

    Raises
    ------
    InputError
        Another run has given the folder other settings meanwhile.
    OSError
        The folder cannot be written to.
    """
    with _change(output) as content:
        if _decide(output, content, wanted, policy):
            return
        settings = _merge(_read_settings(output, content), wanted)
        content["Dataset"] = read_name(dataset)
        content["Rerun"] = rerun
        content["Settings"] = settings
        content["SettingsHash"] = {suffix: hash_settings(own) for suffix, own in settings.items()}


def add_run(output: Path, command: str, seconds: float, counts: Mapping[str, int]) -> None:
    """Add a run that has ended to the file.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    run = {
        "Date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "Seconds": round(seconds, 1),
        "Version": __version__,
        "Command": command,
        "Machine": _describe_machine(),
        "Counts": dict(counts),
    }
    with _change(output) as content:
        before = content.get("Runs")
        runs = before if isinstance(before, list) else []
        content["Runs"] = [*runs, run][-_MOST_RUNS:]


def _decide(
    output: Path,
    content: Mapping[str, Any],
    wanted: Mapping[str, Settings],
    policy: OutputSettings,
) -> bool:
    """Whether the folder has other settings and keeps them."""
    differences = _find_differences(_read_settings(output, content), wanted)
    if differences and policy == "error":
        raise _refuse(output, differences)
    return bool(differences) and policy == "exception"


def _find_differences(
    known: Mapping[str, Settings], wanted: Mapping[str, Settings]
) -> dict[str, tuple[Any, Any]]:
    """What differs, by name: the folder's value and the wanted one."""
    found: dict[str, tuple[Any, Any]] = {}
    for suffix, asked in wanted.items():
        for other, own in known.items():
            for name in {*asked, *own}:
                if other != suffix and name in OF_A_SUFFIX:
                    continue
                pair = own.get(name), asked.get(name)
                if pair[0] != pair[1]:
                    found[name] = pair
    return dict(sorted(found.items()))


def _merge(
    known: Mapping[str, Settings], wanted: Mapping[str, Settings]
) -> dict[str, dict[str, Any]]:
    """The settings of the folder by suffix, of which those of all images are the wanted ones."""
    shared = {
        name: value
        for asked in wanted.values()
        for name, value in asked.items()
        if name not in OF_A_SUFFIX
    }
    others = {
        suffix: {**shared, **{name: own[name] for name in own if name in OF_A_SUFFIX}}
        for suffix, own in known.items()
    }
    merged = {**others, **{suffix: dict(asked) for suffix, asked in wanted.items()}}
    return dict(sorted(merged.items()))


def _refuse(output: Path, differences: Mapping[str, tuple[Any, Any]]) -> InputError:
    named = [
        f"{name} is {_write(own)} there and {_write(asked)} here"
        for name, (own, asked) in differences.items()
    ]
    more = f", and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return InputError(
        "{output} {0} holds images with other settings ({1}{2}): choose another folder, or correct "
        'the images of this one anew with {output_settings:"replace"}, or give these images '
        'settings of their own with {output_settings:"exception"}',
        output,
        "; ".join(named[:_MOST_NAMED]),
        more,
    )


def _write(value: Any) -> str:
    return "not given" if value is None else json.dumps(value, ensure_ascii=False)


@contextmanager
def _change(output: Path) -> Iterator[dict[str, Any]]:
    """Change the content of the file, which no other run changes meanwhile."""
    private = output / PRIVATE
    private.mkdir(parents=True, exist_ok=True)
    with hold_lock(private / "study.lock"):
        content = dict(read_object(output / STUDY))
        yield content
        write_text(output / STUDY, format_json(content))


def _read_settings(output: Path, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of the folder, by suffix; it has none while it has no image."""
    if not has_records(output):
        return {}
    found = content.get("Settings")
    known = found if isinstance(found, dict) else {}
    return {str(suffix): own for suffix, own in known.items() if isinstance(own, dict)}


def _describe_machine() -> str:
    from dask.system import CPU_COUNT

    cores = f"{CPU_COUNT} core{'s' * (CPU_COUNT != 1)}"
    return f"{platform.node() or 'unnamed'}, {platform.system()} {platform.machine()}, {cores}"
