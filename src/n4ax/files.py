"""Files that appear whole or not at all."""

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_unfinished: set[Path] = set()
"""Temporary files of this process that have not got their names yet."""


@contextmanager
def replace_file(target: Path) -> Iterator[Path]:
    """A temporary file beside ``target`` that takes its place when the block ends well.

    On any error, an interrupt included, the temporary file is removed and ``target`` is as it
    was. The name keeps the suffixes of ``target``, for writers that go by them. Where ``target``
    is a symbolic link, the file that it leads to is replaced.

    Raises
    ------
    OSError
        The folder does not exist, cannot be written to, or the disk is full; it names
        ``target``, and nothing is left behind.
    """
    place = _real(target)
    suffix = "".join(place.suffixes[-2:])
    temporary = place.with_name(f".n4ax-{uuid.uuid4().hex}{suffix}")
    _unfinished.add(temporary)  # before it exists: a signal may come at any moment
    try:
        temporary.touch(mode=0o600, exist_ok=False)
        yield temporary
        _as_a_new_file(temporary, place)
        os.replace(temporary, place)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, reason, str(target)) from error
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def discard_unfinished() -> None:
    """Remove the temporary files of this process, which is about to end."""
    for temporary in list(_unfinished):
        temporary.unlink(missing_ok=True)


def check_writable(target: Path) -> None:
    """Raise ``OSError`` if a file could not be put at ``target``.

    Raises
    ------
    OSError
        There is a folder or a device of that name, or its folder cannot be written to.
    """
    place = _real(target)
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected a file name", str(target))
    if place.exists() and not place.is_file():
        raise OSError(errno.EINVAL, "is not a regular file", str(target))
    try:
        with tempfile.TemporaryFile(dir=place.parent):
            pass
    except OSError as error:
        error.filename = str(place.parent)
        raise


def _real(target: Path) -> Path:
    """The path with symbolic links followed, as far as there are any."""
    return Path(os.path.realpath(target))


def _as_a_new_file(temporary: Path, target: Path) -> None:
    """Give the file the mode that it would have had, had it been opened in place."""
    if target.exists():
        mode = target.stat().st_mode & 0o777
    else:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    temporary.chmod(mode)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
