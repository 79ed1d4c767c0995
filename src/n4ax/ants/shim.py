"""A program ``N4BiasFieldCorrection`` in a folder of the user's, for the front of PATH."""

import shlex
import sys
from pathlib import Path

from n4ax.files import replace_file

NAME = "N4BiasFieldCorrection"
_MARK = "# Written by n4ax; `n4ax shim --remove` takes it away."


def install(folder: Path) -> Path:
    """Write the program, which runs this installation of n4ax.

    Raises
    ------
    ValueError
        There is another program of that name.
    OSError
        The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / NAME
    if target.is_symlink() or (target.exists() and not _ours(target)):
        raise ValueError(f"{target} is there already, and not by n4ax: choose another folder")
    with replace_file(target) as temporary:
        python = shlex.quote(sys.executable)
        # -P: modules are not looked for in the folder that the program is called from.
        temporary.write_text(f'#!/bin/sh\n{_MARK}\nexec {python} -P -m n4ax.ants "$@"\n')
    target.chmod(0o755)
    return target


def remove(folder: Path) -> Path:
    """Take the program away again.

    Raises
    ------
    ValueError
        It is not there, or not by n4ax.
    """
    target = folder / NAME
    if not target.exists():
        raise ValueError(f"{target} does not exist: there is nothing to remove")
    if target.is_symlink() or not _ours(target):
        raise ValueError(f"{target} is not by n4ax: it stays")
    target.unlink()
    return target


def _ours(target: Path) -> bool:
    return target.is_file() and _MARK.encode() in target.read_bytes()[:500]
