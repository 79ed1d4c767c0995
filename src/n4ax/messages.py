"""The messages of n4ax's programs: each in one line, or none if they are to be quiet."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from threading import Lock, RLock
from unicodedata import category

PROCESS_WIDE = RLock()
"""Held while something of the whole process is changed for a moment, in one of several threads: the
filters of warnings, or the locale."""

_changing = Lock()
_quiet_blocks = 0
_level_before = 0


def make_one_line(text: str) -> str:
    """Write a message in one line.

    Blanks within a line stay as they are, since names of files may have several.
    """
    parts = (line.strip() for line in text.splitlines())
    return escape_controls(" ".join(part for part in parts if part))


def give_reason(error: Exception) -> str:
    """The message of an error in one line, without the number of a system error."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__


def escape_controls(text: str) -> str:
    """Escape characters that control a terminal, and bytes of names that are no characters."""
    return "".join(
        letter.encode("unicode_escape").decode() if category(letter) in ("Cc", "Cs") else letter
        for letter in text
    )


def escape_what_cannot_be_printed() -> None:
    """Let standard output take any text: names of files may have bytes that are no characters.

    Only programs call this, when they start.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def silence_nibabel() -> Iterator[None]:
    """Keep nibabel from printing on standard error what it finds wrong with a header."""
    log = logging.getLogger("nibabel.global")
    with PROCESS_WIDE:
        before, log.disabled = log.disabled, True
        try:
            yield
        finally:
            log.disabled = before


@contextmanager
def hide_warnings() -> Iterator[None]:
    """Hide log messages up to warnings, of all libraries, while the block runs.

    Blocks may overlap in several threads: the level of before returns when the last one ends.
    """
    global _quiet_blocks, _level_before
    with _changing:
        if _quiet_blocks == 0:
            _level_before = logging.root.manager.disable
            logging.disable(max(_level_before, logging.WARNING))
        _quiet_blocks += 1
    try:
        yield
    finally:
        with _changing:
            _quiet_blocks -= 1
            if _quiet_blocks == 0:
                logging.disable(_level_before)
