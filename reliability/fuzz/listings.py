"""What a folder holds, so that it can be seen what a program changed."""

import os
import stat
from pathlib import Path

Listing = dict[str, tuple[str, bytes]]
"""By path: what it is, and the content or the place that a link leads to."""


def list_folder(folder: Path) -> Listing:
    """All files, links and folders under a folder. Links are not followed."""
    found: Listing = {}
    _add(os.fspath(folder), "", found)
    return found


def _add(folder: str, start: str, found: Listing) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{start}{entry.name}"
            if entry.is_symlink():
                found[name] = "link", os.fsencode(os.readlink(entry.path))
            elif entry.is_dir():
                found[name] = "folder", b""
                _add(entry.path, f"{name}/", found)
            elif entry.is_file():
                with open(entry.path, "rb") as file:
                    found[name] = "file", file.read()
            else:
                kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
                found[name] = f"other {kind:o}", b""


def find_changes(before: Listing, after: Listing) -> list[str]:
    """The paths that are new, gone, or something else than before."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def check_only_inside(before: Listing, after: Listing, inside: str) -> None:
    """Check that nothing changed but what lies in one folder.

    Raises
    ------
    AssertionError
        Something else did.
    """
    outside = [
        name
        for name in find_changes(before, after)
        if name != inside and not name.startswith(f"{inside}/")
    ]
    assert not outside, f"changed outside of {inside}: {outside}"
