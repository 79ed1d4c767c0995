"""Programs named as those of ANTs and FreeSurfer that run n4ax, in a folder to be first on PATH."""

import errno
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path

from n4ax.files import replace_files
from n4ax.paths import is_there

PROGRAMS = {
    "N4BiasFieldCorrection": "n4ax.ants",
    "AntsN4BiasFieldCorrectionFs": "n4ax.ants.freesurfer",
}
"""The names of the programs, and the modules that they run."""

# Programs are recognised by this text, those written by earlier versions too: it must not change.
_MARK = "# Written by n4ax; `n4ax shim --remove` takes it away."


def install(folder: Path) -> list[Path]:
    """Write the programs, which run this installation of n4ax, and return their paths.

    Raises
    ------
    ValueError
        The folder has another program with one of the names. Nothing is written.
    OSError
        The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    programs = {_find_place(folder, name): _make_text(module) for name, module in PROGRAMS.items()}
    for target in programs:
        if target.is_symlink() or (target.exists() and not _is_shim(target)):
            raise ValueError(
                f"{target} already exists and was not written by n4ax: choose another folder"
            )
    with replace_files(list(programs)) as places:
        for place, text in zip(places, programs.values(), strict=True):
            place.write_text(text, encoding="utf-8")
    for target in programs:
        with suppress(OSError):  # on some file systems all files can be run, on others none
            target.chmod(0o755)
        if not os.access(target, os.X_OK):
            reason = "was written, but files in this folder cannot be run: choose another folder"
            raise OSError(errno.EPERM, reason, str(target))
    return list(programs)


def remove(folder: Path) -> list[Path]:
    """Remove the programs again, and return their paths; other programs are left alone.

    Raises
    ------
    ValueError
        There are no such programs, or they were not written by n4ax.
    """
    targets = [_find_place(folder, name) for name in PROGRAMS]
    there = [target for target in targets if is_there(target)]
    if not there:
        raise ValueError(f"{targets[0]} does not exist: there is nothing to remove")
    ours = [target for target in there if not target.is_symlink() and _is_shim(target)]
    if not ours:
        raise ValueError(f"{there[0]} was not written by n4ax, so it is not removed")
    for target in ours:
        target.unlink()
    return ours


def _find_place(folder: Path, name: str) -> Path:
    return folder / (f"{name}.bat" if sys.platform == "win32" else name)


def _make_text(module: str) -> str:
    """The text of a program on this system.

    With ``-P``, Python does not import modules from the folder that the program is called from.
    """
    if sys.platform == "win32":
        return f'@rem {_MARK}\n@"{sys.executable}" -P -m {module} %*\n'
    python = shlex.quote(sys.executable)
    return f'#!/bin/sh\n{_MARK}\nexec {python} -P -m {module} "$@"\n'


def _is_shim(target: Path) -> bool:
    return target.is_file() and _MARK.encode() in target.read_bytes()[:500]
