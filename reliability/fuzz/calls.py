"""Programs of n4ax, called in this process, and what must hold for whatever they were given."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

UNFINISHED = ".n4ax-"
"""How names of files begin that are not whole yet."""


class Said(NamedTuple):
    """How a program ended, and what it printed."""

    status: int
    out: str
    err: str


def call_program(
    main: Callable[[Sequence[str]], int],
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    on_stdout: bool = False,
) -> Said:
    """Call a program in a folder, and check that it ended as a program should.

    ``on_stdout`` allows it to say on standard output why it failed, as one that lists problems.

    Raises
    ------
    AssertionError
        It printed a traceback, failed without a line on standard error, or left something that is
        not whole. An exception that leaves the program is raised as well.
    """
    out, err = StringIO(), StringIO()
    before = os.getcwd()
    os.chdir(folder)
    try:
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            patch.dict(os.environ, environment or {}),
        ):
            status = main(words)
    finally:
        os.chdir(before)
    said = Said(status, out.getvalue(), err.getvalue())
    assert "Traceback" not in said.out + said.err, said
    assert status in (0, 1, 2), said
    told = said.err + (said.out if on_stdout else "")
    assert status == 0 or told.strip(), f"status {status} without a word: {words}"
    assert not (left := list_unfinished(folder)), f"left {left}: {words}"
    return said


def list_unfinished(folder: Path) -> list[str]:
    """The files in a folder whose names say that they are not whole."""
    return [path.name for path in folder.rglob(f"{UNFINISHED}*")]
