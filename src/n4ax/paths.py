"""What lies at a path, found out and read so that an error names the file."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_POINTER = b"/annex/objects/"
"""So begins a file that git-annex puts in the place of content that it has elsewhere."""

_LONGEST_POINTER = 32 * 1024


def is_file(path: Path) -> bool:
    """Whether there is a file of this name; what is too long for a name is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name; what is too long for a name is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_elsewhere(path: Path) -> bool:
    """Whether git-annex has the content of a file elsewhere: a broken link, or a pointer to it.

    A file that does not exist is not elsewhere, nor is one that cannot be read.
    """
    try:
        if path.stat().st_size > _LONGEST_POINTER or not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except FileNotFoundError:
        return path.is_symlink()
    except OSError:
        return False


def resolve_links(path: Path) -> Path:
    """The whole path of what a path leads to. A loop of links is an error when it is opened."""
    return Path(os.path.realpath(path))  # Path.resolve of Python 3.12 raises RuntimeError


def check_here(path: Path) -> None:
    """Refuse a file whose content git-annex has elsewhere, and a pipe, which could be waited for.

    Raises
    ------
    ValueError
        The message says how to fetch the content, or that it is no file.
    """
    if is_elsewhere(path):
        raise ValueError(f"{path} only points to a file that is not here: fetch it (datalad get)")
    with suppress(OSError):  # what cannot be looked at cannot be opened either, which says why
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise ValueError(f"{path} is a pipe or a device; expected a file")


@contextmanager
def name_errors(path: Path) -> Iterator[None]:
    """Let errors name this file if they name none, as those of reading, writing and syncing."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise rename_error(error, str(path)) from error


def read_bytes(path: Path) -> bytes:
    """Read a file. An error names the file, also if it comes after the file was opened.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not here, or is no file, as :func:`check_here` says.
    """
    check_here(path)
    with name_errors(path):
        return path.read_bytes()


_NEVER_THERE = (errno.ELOOP, errno.ENAMETOOLONG)
"""A link on the way leads to itself, and no file has so long a name."""


def is_there(path: Path) -> bool:
    """Whether something has this name; an ``OSError`` if that cannot be found out."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno in _NEVER_THERE:
            return False
        raise
    return True


def rename_error(error: OSError, name: str) -> OSError:
    """The same error, about a file of another name."""
    return OSError(error.errno or errno.EIO, error.strerror or str(error), name)
