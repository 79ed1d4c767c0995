"""Files that appear whole or not at all."""

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_unfinished: set[Path] = set()
"""The temporary files of this process that have not yet been renamed."""


@contextmanager
def replace_file(target: Path) -> Iterator[Path]:
    """A temporary file beside ``target`` that replaces it when the block ends without an error.

    After any error, including an interrupt, the temporary file is removed and ``target`` is
    unchanged. The temporary name keeps the suffixes of ``target``, because some writers choose the
    format by them. If ``target`` is a symbolic link, the file that it points to is replaced.

    Raises
    ------
    OSError
        The folder does not exist or cannot be written to, or the disk is full. The error names
        ``target``, and nothing is left behind.
    """
    place = _follow_links(target)
    suffix = "".join(place.suffixes[-2:])
    temporary = place.with_name(f".n4ax-{uuid.uuid4().hex}{suffix}")
    _unfinished.add(temporary)  # before the file exists, since a signal may arrive at any moment
    try:
        temporary.touch(mode=0o600, exist_ok=False)
        yield temporary
        _set_mode(temporary, place)
        _flush_to_disk(temporary)
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
    """Check that a file can be put at ``target``.

    Raises
    ------
    OSError
        A folder or a device has that name, or the folder around it cannot be written to.
    """
    place = _follow_links(target)
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected a file name", str(target))
    if place.exists() and not place.is_file():
        raise OSError(
            errno.EINVAL, "is not a regular file; expected the name of a file", str(target)
        )
    try:
        with tempfile.TemporaryFile(dir=place.parent):
            pass
    except OSError as error:
        error.filename = str(place.parent)
        raise


def _follow_links(target: Path) -> Path:
    """The path with all symbolic links resolved, whether or not the file exists."""
    return Path(os.path.realpath(target))


def _set_mode(temporary: Path, target: Path) -> None:
    """Give the file the mode that ``target`` has, or that a newly created file would have."""
    if target.exists():
        mode = target.stat().st_mode & 0o777
    else:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    temporary.chmod(mode)


def _flush_to_disk(path: Path) -> None:
    """Make sure that the content is on the disk before the file gets its name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
