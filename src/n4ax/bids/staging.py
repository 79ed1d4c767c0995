"""How files appear in the output: whole, all files of an image at once, one run at a time."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from n4ax.files import replace_file

PRIVATE = ".n4ax"
"""Folder in the output for unfinished files, locks and the records of failures."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers that mean that there is no space left."""


def format_json(content: Any) -> str:
    """JSON with line breaks and indents, which people can read.

    What is no character, such as half of a surrogate pair, stays the escape that it was in JSON.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace").decode()


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all. A file that has this text already is left alone."""
    if not (path.is_file() and path.read_bytes() == text.encode()):
        with replace_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


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
        shutil.rmtree(staging, ignore_errors=True)  # a run that was killed may have left it
        staging.mkdir(parents=True)
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def put_in_place(staging: Path, output: Path, sidecar: str) -> None:
    """Move all files from ``staging`` to the same paths in ``output``.

    The sidecar marks its image as complete. The old sidecar is therefore removed first, and the new
    one is moved last: if this function is interrupted, the image counts as not done.
    """
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    targets = {path: output / path.relative_to(staging) for path in files}
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    last = output / sidecar
    last.unlink(missing_ok=True)
    for path, target in sorted(targets.items(), key=lambda pair: pair[1] == last):
        os.replace(path, target)


def discard_leftovers(output: Path) -> None:
    """Remove the unfinished files of runs that were killed, but not those of a running process."""
    for staging in (output / PRIVATE / "unfinished").glob("*"):
        with suppress(BusyError, OSError), reserve(output, staging.name, wait=False):
            pass


@contextmanager
def _lock(output: Path, name: str, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a name.

    The lock file is never removed: two processes could then hold the lock at the same time.
    """
    place = output / PRIVATE / "locks"
    place.mkdir(parents=True, exist_ok=True)
    holder = FileLock(place / f"{name}.lock", timeout=-1 if wait else 0)
    try:
        holder.acquire()
    except Timeout:
        raise BusyError(name) from None
    try:
        yield
    finally:
        holder.release()
