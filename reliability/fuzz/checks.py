"""What must hold for the programs: one line for an error, and nothing touched after it."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reliability.fuzz.calls import Said, call_program
from reliability.fuzz.listings import find_changes, list_folder

LONGEST_LINE = 4000
"""Letters of a line on standard error, besides the words that were given."""


OF_PYTHON = (
    "Exceeds the limit", "invalid literal", "could not convert", "ambiguous", "unhashable",
    "NoneType", "codec can't", "math domain", "index out of range", "not iterable", "broadcast",
    "<class '", "object has no", "must be str", "recursion", "Errno", "operands", "dtype('",
)  # fmt: skip


class Call:
    """A program that was called in a folder, with what was there before and after."""

    def __init__(
        self,
        main: Callable[[Sequence[str]], int],
        words: Sequence[str],
        place: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.words = list(words)
        self.folder = place.parent
        before = list_folder(self.folder)
        self.said: Said = call_program(
            main, words, place, environment, on_stdout="--dry-run" in words
        )
        self.after = list_folder(self.folder)
        self.names = find_changes(before, self.after)
        self.changed = [f"{self.folder}/{name}" for name in self.names]
        self.check_lines()
        self.check_words()

    def check_lines(self) -> None:
        """Check that errors and warnings are lines that can be read, and that memory sufficed."""
        given = sum(map(len, self.words))
        for line in self.said.err.splitlines():
            assert len(line) <= LONGEST_LINE + 8 * given, f"{len(line)} letters: {line[:300]}…"
        assert "not enough memory" not in self.said.err, f"{self.words}: {self.said.err}"

    def check_words(self) -> None:
        """Check that no words of Python or NumPy are passed on to the user."""
        told = self.said.err
        for word in filter(None, self.words):
            told = told.replace(word, "")
        found = [words for words in OF_PYTHON if words in told]
        assert not found, f"{self.words}: {self.said.err}"

    def check_refusal(self, start: str) -> None:
        """Check that the last line is the error, that it is one line, and that no file changed."""
        lines = self.said.err.splitlines()
        assert lines[-1].startswith(start), f"{self.words}: {self.said.err}"
        assert sum("error:" in line[: len(start)] for line in lines) == 1, self.said.err
        assert not self.changed, f"{self.words} changed {self.changed}"

    def summarise(self) -> str:
        """What was said and what was written, as text that is the same on repetition."""
        written = [
            f"{name}:{zlib.crc32(content)} {kind}"
            for name in self.names
            for kind, content in (self.after.get(name, ("gone", b"")),)
        ]
        return f"{self.said} {written}"
