"""Files that appear whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A temporary file beside ``target`` that takes its place when the block ends well.

    On any error, an interrupt included, the temporary file is removed and ``target`` is as it
    was. The name keeps the suffixes of ``target``, for writers that go by them.

    Raises
    ------
    OSError
        The folder does not exist, or cannot be written to; nothing is left behind.
    """
    suffix = "".join(target.suffixes[-2:])
    handle, name = tempfile.mkstemp(prefix=".n4ax-", suffix=suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _as_a_new_file(temporary, target)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(target: Path) -> None:
    """Raise ``OSError`` if a file could not be put in the folder of ``target``."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected a file name", str(target))
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        error.filename = str(target.parent)
        raise


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
