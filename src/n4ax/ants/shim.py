"""A program ``N4BiasFieldCorrection`` that runs n4ax, in a folder to be put first on PATH."""

import errno
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path

from n4ax.files import replace_file

NAME = "N4BiasFieldCorrection"
# Programs are recognised by this text, those written by earlier versions too: it must not change.
_MARK = "# Written by n4ax; `n4ax shim --remove` takes it away."


def install(folder: Path) -> Path:
    """Write the program, which runs this installation of n4ax, and return its path.

    Raises
    ------
    ValueError
        The folder has another program with that name.
    OSError
        The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, text = _make_program()
    target = folder / name
    if target.is_symlink() or (target.exists() and not _is_shim(target)):
        raise ValueError(
            f"{target} already exists and was not written by n4ax: choose another folder"
        )
    with replace_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with suppress(OSError):  # on some file systems all files can be run, on others none
        target.chmod(0o755)
    if not os.access(target, os.X_OK):
        reason = "was written, but files in this folder cannot be run: choose another folder"
        raise OSError(errno.EPERM, reason, str(target))
    return target


def remove(folder: Path) -> Path:
    """Remove the program again, and return its path.

    Raises
    ------
    ValueError
        There is no such program, or it was not written by n4ax.
    """
    target = folder / _make_program()[0]
    if not target.exists():
        raise ValueError(f"{target} does not exist: there is nothing to remove")
    if target.is_symlink() or not _is_shim(target):
        raise ValueError(f"{target} was not written by n4ax, so it is not removed")
    target.unlink()
    return target


def _make_program() -> tuple[str, str]:
    """The name and the text of the program on this system.

    With ``-P``, Python does not import modules from the folder that the program is called from.
    """
    if sys.platform == "win32":
        return f"{NAME}.bat", f'@rem {_MARK}\n@"{sys.executable}" -P -m n4ax.ants %*\n'
    python = shlex.quote(sys.executable)
    return NAME, f'#!/bin/sh\n{_MARK}\nexec {python} -P -m n4ax.ants "$@"\n'


def _is_shim(target: Path) -> bool:
    return target.is_file() and _MARK.encode() in target.read_bytes()[:500]
