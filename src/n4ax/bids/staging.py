"""How files appear in the output: whole, all files of an image at once, one run at a time."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from n4ax.files import move_files, replace_file, replace_files, sync, write_file
from n4ax.paths import is_elsewhere, name_errors, read_bytes
from n4ax.pools import ThreadPool

PRIVATE = ".n4ax"
"""Folder in the output for unfinished files, locks and the records of failures."""

FAILED = "failed"
"""Folder in ``PRIVATE`` for the records of failures, which alone are worth keeping."""

_NOT_SAVED = f"""\
# git and DataLad save the records of failures alone: all else is of runs that are working.
/*
!/{FAILED}/
"""


def make_private(output: Path) -> Path:
    """Make the folder for what is not part of the dataset, and give its path."""
    private = output / PRIVATE
    private.mkdir(parents=True, exist_ok=True)
    write_text(private / ".gitignore", _NOT_SAVED)
    return private


def make_temporary(folder: Path) -> None:
    """Make a folder of which git and DataLad save nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / ".gitignore", "*\n")


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all. A file that has this text already is left alone."""
    write_file(path, text.encode())


def append_text(path: Path, text: str) -> None:
    """Append to a file, which need not exist.

    If the file is a link, has a second name or is write-protected, a new file with all of the text
    takes its place, because the old one may be saved history. If git-annex has the text elsewhere,
    the file begins anew.

    Raises
    ------
    OSError
        The file cannot be written, or is a folder, a pipe or a device.
    """
    if _may_change(path):
        _append(path, text.encode())
        return
    is_known = path.is_file() and not is_elsewhere(path)
    before = read_bytes(path) if is_known else b""
    with replace_file(path) as temporary:
        temporary.write_bytes(before + text.encode())


@contextmanager
def hold_lock(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock on a file inside the block. The file is made if it does not exist.

    git-annex turns saved files into links, which cannot be locked: a link is removed.

    Raises
    ------
    Timeout
        Another process holds the lock.
    OSError
        The file system cannot lock the file. The error names it.
    """
    if path.is_symlink():
        path.unlink(missing_ok=True)
    holder = FileLock(path, timeout=timeout)
    try:
        holder.acquire()
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:  # the latter for a system without locks
        number = getattr(error, "errno", None) or errno.ENOLCK
        raise OSError(number, os.strerror(number), str(path)) from error
    try:
        yield
    finally:
        with name_errors(path):
            holder.release()


class BusyError(Exception):
    """Another run is working on the same image."""


@contextmanager
def reserve(output: Path, name: str, *, wait: bool) -> Iterator[Path]:
    """Keep all other processes, on this machine and on others, from working on the same image.

    Parameters
    ----------
    output
        The output folder.
    name
        A name for the image that can be a file name.
    wait
        Whether to wait until another process has finished the image.

    Yields
    ------
    Path
        An empty folder in the output for the new files. It is removed after the block.

    Raises
    ------
    BusyError
        Another process is working on the image, and ``wait`` is false.
    """
    with _lock(output, name, wait=wait):
        staging = output / PRIVATE / "unfinished" / name
        _remove(staging)  # a run that was killed may have left it
        staging.mkdir(parents=True)
        try:
            yield staging
        finally:
            _remove(staging)


def _remove(folder: Path) -> None:
    """Remove a folder, or what is in its place, such as a pipe, which rmtree would wait for."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)


@contextmanager
def stage(staging: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Give places for new files of an image, which get their names when the block ends.

    Parameters
    ----------
    staging
        The folder for the new files.
    names
        Their paths in it.
    """
    targets = [staging / name for name in names]
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
    with replace_files(targets) as places:
        yield places


@contextmanager
def sync_meanwhile(paths: Sequence[Path]) -> Iterator[None]:
    """Bring finished files to the disk while the block runs, all at the same time.

    A file system brings several files to the disk almost as fast as one.
    """
    with ThreadPool(len(paths)) as pool:
        syncs = [pool.submit(sync, path) for path in paths]
        yield
    for done in syncs:
        done.result()


def stage_files(staging: Path, contents: Mapping[str, bytes]) -> None:
    """Write small files of an image, by their paths in ``staging``."""
    with stage(staging, list(contents)) as places:
        for place, content in zip(places, contents.values(), strict=True):
            with name_errors(place):
                place.write_bytes(content)
        with sync_meanwhile(places):
            pass


def put_in_place(staging: Path, output: Path, sidecar: str) -> None:
    """Move all files from ``staging`` to the same paths in ``output``, or none of them.

    The sidecar marks its image as complete. The old sidecar is therefore removed first, and the new
    one is moved last: if the power fails meanwhile, the image counts as not done.
    """
    last = output / sidecar
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    places = {path: output / path.relative_to(staging) for path in files}
    places = dict(sorted(places.items(), key=lambda pair: pair[1] == last))
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    with _put_back_after_errors(last, staging / "before.json"):
        move_files(places)


def discard_leftovers(output: Path) -> None:
    """Remove the unfinished files of runs that were killed, but not those of a running process."""
    for staging in (output / PRIVATE / "unfinished").glob("*"):
        with suppress(BusyError, OSError), reserve(output, staging.name, wait=False):
            pass


def _open_no_link(name: str, flags: int) -> int:
    """Open a file for :func:`open`, but no link that has taken its place meanwhile."""
    return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _append(path: Path, content: bytes) -> None:
    """Append to a file; after an error it ends where it ended before."""
    with name_errors(path), open(path, "ab", buffering=0, opener=_open_no_link) as file:
        end = file.seek(0, os.SEEK_END)
        left = memoryview(content)
        try:
            while len(left):  # the system may write less than it is given
                left = left[file.write(left) :]
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise


def _may_change(path: Path) -> bool:
    """Whether a file may be written to as it is, or does not exist."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or is_elsewhere(path):
        return False
    return bool(found.st_mode & stat.S_IWUSR) and os.access(path, os.W_OK)


@contextmanager
def _put_back_after_errors(path: Path, aside: Path) -> Iterator[None]:
    """Take a file away, and put it back if the block ends with an error."""
    with suppress(FileNotFoundError):
        os.replace(path, aside)
    try:
        yield
    except BaseException:
        with suppress(FileNotFoundError):
            os.replace(aside, path)
        raise


@contextmanager
def _lock(output: Path, name: str, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a name.

    The lock file is never removed: two processes could then hold the lock at the same time.
    """
    place = output / PRIVATE / "locks"
    place.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(hold_lock(place / f"{name}.lock", timeout=-1 if wait else 0))
        except Timeout:
            raise BusyError(name) from None
        yield
