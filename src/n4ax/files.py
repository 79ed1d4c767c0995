"""Files that appear whole or not at all, and several files that appear together.

New content is written beside the old. It is synced to the disk as far as the file system can do
that, and only then do all files get their names. A link is never written through, since it may
lead into the store of git-annex, whose files must not change: the new file replaces the link.
"""

import errno
import os
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from n4ax.paths import is_there, name_errors, rename_error

_CANNOT_SYNC = {
    getattr(errno, name)
    for name in ("EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOTTY", "EPERM", "EACCES")
    if hasattr(errno, name)
}
"""What file systems answer that cannot sync a file. All other errors mean that data were lost."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers that mean that there is no space left."""

_PATIENCE = 5.0
"""Seconds that a program which is about to end waits for the renaming in another thread."""


@contextmanager
def replace_files(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Temporary files beside ``targets`` that replace all of them when the block ends well.

    After any error, including an interrupt, the temporary files are removed and every target is as
    it was before, also if the error comes when some of the targets have been replaced already. A
    temporary name keeps the suffixes of its target, because some writers choose the format by them.
    A target that is a symbolic link is replaced by a file, and what it points to stays as it is.

    Raises
    ------
    OSError
        A folder does not exist or cannot be written to, a target is no regular file, or the disk
        is full. The error names the target that failed, and nothing is left behind.
    """
    changes = [_Change.beside(target) for target in targets]
    with _all_or_none(changes) as exchange:
        for change in changes:
            change.create()
        yield [change.new for change in changes]
        for change in changes:
            change.finish()
        exchange.rename()


@contextmanager
def replace_file(target: Path) -> Iterator[Path]:
    """The same for one file.

    If ``target`` is itself a temporary file of :func:`replace_files`, it is written in place, and
    its own block gives it its name.
    """
    if any(target == change.new for exchange in list(_unfinished) for change in exchange.changes):
        with name_errors(target):
            yield target
    else:
        with replace_files([target]) as (temporary,):
            yield temporary


@contextmanager
def borrow_file(beside: Path, suffix: str) -> Iterator[Path]:
    """A temporary file in the folder of ``beside``, whose name ends in ``suffix``.

    It is removed when the block ends, and also when a signal ends the program.

    Raises
    ------
    OSError
        The folder does not exist or cannot be written to, or the disk is full. The error names
        ``beside``.
    """
    place = beside.absolute()
    change = _Change(place.with_name(f".n4ax-{_make_name()}{suffix}"), place, str(beside))
    with _all_or_none([change]):
        change.create()
        yield change.new


def write_file(target: Path, content: bytes) -> None:
    """Write a file whole or not at all. A file that has this content already is left alone.

    Raises
    ------
    OSError
        As for :func:`replace_files`.
    """
    with suppress(OSError):  # what cannot be read is replaced
        if target.is_file() and target.read_bytes() == content:
            return
    with replace_file(target) as temporary:
        temporary.write_bytes(content)


def write_pieces(target: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write the content of a file piece by piece, as it is made.

    The file may appear in part: :func:`replace_file` gives the name of one that does not matter.
    """
    with target.open("wb", buffering=0) as file:
        for piece in pieces:
            left = memoryview(piece)
            while len(left):  # the system may write less than it is given
                left = left[file.write(left) :]


def move_files(places: Mapping[Path, Path]) -> None:
    """Move finished files to their places on the same file system: all of them or none.

    Parameters
    ----------
    places
        The place of each file.

    Raises
    ------
    OSError
        A file cannot be moved. The error names its place, every place is as it was before, and
        the files are removed.
    """
    changes = [_Change(source, place, str(place)) for source, place in places.items()]
    with _all_or_none(changes) as exchange:
        exchange.rename()


def discard_unfinished() -> None:
    """Remove the temporary files of this process, which is about to end.

    If files are just being renamed, those that have been are put back.
    """
    waited = _renaming.acquire(timeout=_PATIENCE)
    try:
        for exchange in list(_unfinished):
            exchange.clear()
    finally:
        if waited:
            _renaming.release()


def check_writable(target: Path) -> None:
    """Check that a file can be put at ``target``.

    Raises
    ------
    OSError
        A folder or a device has that name, or the folder around it cannot be written to.
    """
    _check_kind(target)
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        error.filename = str(target.parent)
        raise


class _Change:
    """A new file, and the place that it is to take."""

    def __init__(self, new: Path, place: Path, name: str) -> None:
        self.new = new
        self.place = place
        self.name = name  # of the place, for messages
        self.old = new.with_name(f".n4ax-{_make_name()}")  # keeps the old file meanwhile
        self._replaces = False

    @classmethod
    def beside(cls, target: Path) -> "_Change":
        """A change by a temporary file in the same folder."""
        _check_kind(target)
        place = target.absolute()  # because the current folder may change
        suffix = "".join(place.suffixes[-2:])
        return cls(place.with_name(f".n4ax-{_make_name()}{suffix}"), place, str(target))

    def create(self) -> None:
        """Create the new file, empty, with the mode of the old one or of any file that is made."""
        mode = _read_mode(self.place)
        # The system applies the umask here; to ask for it, os.umask would have to change it.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with name_errors(self.place):
            os.close(os.open(self.new, flags, 0o666 if mode is None else mode | 0o600))

    def finish(self) -> None:
        """Make sure that the content is on the disk before the file gets its name."""
        sync(self.new)
        mode = _read_mode(self.place)
        if mode is not None:
            with suppress(OSError):  # some file systems have no modes
                self.new.chmod(mode)

    def keep_old(self) -> None:
        """Give the old file, if there is one, a second name; where that is impossible, another."""
        self._replaces = is_there(self.place)
        if self._replaces:
            try:
                os.link(self.place, self.old, follow_symlinks=False)
            except (OSError, NotImplementedError):
                os.replace(self.place, self.old)

    def undo(self) -> None:
        """Put the old file back; this may be called at any time after :meth:`keep_old`, twice."""
        if not self._replaces:
            if not is_there(self.new):
                self.place.unlink(missing_ok=True)
        elif is_there(self.old):
            os.replace(self.old, self.place)


class _Exchange:
    """Changes that are made together. A signal may end the program between any two of its lines."""

    def __init__(self, changes: Sequence[_Change]) -> None:
        self.changes = changes
        self._started = self._ended = False

    def rename(self) -> None:
        """Put all new files in their places. With the last of them the exchange is complete."""
        with _renaming:
            self._started = True
            for change in self.changes[:-1]:
                with name_errors(change.place):
                    change.keep_old()
            for change in self.changes:
                with name_errors(change.place):
                    os.replace(change.new, change.place)
            self._ended = True
        for folder in {change.place.parent for change in self.changes}:
            _sync_folder(folder)

    def clear(self) -> None:
        """Leave nothing behind, and put the old files back unless the exchange is complete."""
        lost: set[Path] = set()
        if self._started and not self._is_complete():
            for change in self.changes[:-1]:
                try:
                    change.undo()
                except OSError:
                    lost.add(change.old)  # better a file with a strange name than none
        for change in self.changes:
            for path in {change.new, change.old} - lost:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _is_complete(self) -> bool:
        """Whether the last file has its name, also if a signal came just after it got it."""
        try:
            return self._ended or not is_there(self.changes[-1].new)
        except OSError:
            return False


_unfinished: set[_Exchange] = set()
"""What this process has not yet put in its place."""

_renaming = threading.RLock()
"""Held while files are renamed, so that a program does not end in the middle of it."""


@contextmanager
def _all_or_none(changes: Sequence[_Change]) -> Iterator[_Exchange]:
    """Undo the exchange after an error, and let the error name the place and not the new file."""
    exchange = _Exchange(changes)
    _unfinished.add(exchange)  # before a file exists, since a signal may arrive at any moment
    try:
        yield exchange
    except OSError as error:
        for change in changes:
            own = {str(path) for path in (change.new, change.old, change.place)}
            if error.filename in own or (error.filename is None and len(changes) == 1):
                raise rename_error(error, change.name) from error
        raise
    finally:
        with _renaming:
            exchange.clear()
        _unfinished.discard(exchange)


def _make_name() -> str:
    return os.urandom(16).hex()


def _check_kind(target: Path) -> None:
    """Refuse what no file may replace, whether it is named itself or by a link."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected a file name", str(target))
    if target.exists() and not target.is_file():
        raise OSError(
            errno.EINVAL, "is not a regular file; expected the name of a file", str(target)
        )


def _read_mode(place: Path) -> int | None:
    """The mode of a file; ``None`` for a link and where there is no file."""
    try:
        found = place.lstat()
    except FileNotFoundError:
        return None
    return stat.S_IMODE(found.st_mode) & 0o777 if stat.S_ISREG(found.st_mode) else None


def sync(path: Path) -> None:
    """Bring the content of a file to the disk, unless the file system cannot say so."""
    with name_errors(path), path.open("r+b") as file:  # Windows syncs no file open for reading
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise


def _sync_folder(folder: Path) -> None:
    """Bring new names to the disk, on systems that can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
